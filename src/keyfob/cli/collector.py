# SPDX-License-Identifier: Apache-2.0
"""Tells Python's garbage collector that this process keeps what it makes.

A guard holds sessions and verified tokens by the ten thousand, a server what each device has used
up of its limits, in no cycles: reference counting frees them. The collector walks them all the
same, a tenth of a decision's cost at its defaults, and a sixth of a token's in a large fleet.
"""

from __future__ import annotations

import gc
from typing import Final

__all__ = ["calm_collector"]

_THRESHOLDS: Final = (50_000, 20, 50)


def calm_collector() -> None:
    """Leave alone what is there now, and look at the rest less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
