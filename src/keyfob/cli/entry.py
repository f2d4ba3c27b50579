# SPDX-License-Identifier: Apache-2.0
"""Where ``keyfob`` begins: nothing is loaded yet, and Ctrl-C ends it as it does later."""

from __future__ import annotations

import sys
from typing import Final

__all__ = ["main"]

_INTERRUPTED: Final = 130
"""As ``keyfob.cli.failures`` has it, which is not there yet."""


def main() -> None:
    """Run the command line."""
    try:
        from keyfob.cli.main import run  # noqa: PLC0415 - people are quicker than all its imports
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    sys.exit(run())
