# SPDX-License-Identifier: Apache-2.0
"""An input that has several parts, such as two topic filters, as one value of bytes.

It is a JSON array of texts and lists, so that a failing input can be read as it is.
"""

from __future__ import annotations

import json
from typing import Any

__all__ = ["pack", "unpack"]


def pack(*parts: object) -> bytes:
    """Return the parts, texts and numbers or lists of them, as one input."""
    return json.dumps(parts).encode("ascii")


def unpack(data: bytes) -> Any:  # noqa: ANN401 - the target that packed it knows what it is
    """Return the parts of an input that ``pack`` made."""
    return json.loads(data)
