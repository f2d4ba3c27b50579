# SPDX-License-Identifier: Apache-2.0
"""A failing input cut down to a short one that fails in the same way."""

from __future__ import annotations

import time
from typing import Final

from fuzz.campaign import Failure, examine
from fuzz.target import Check

__all__ = ["reduced"]

_SECONDS: Final = 5.0


def reduced(check: Check, failure: Failure) -> Failure:
    """Leave pieces out, halves first, for as long as what remains fails alike; a few seconds.

    What failed for being slow stays as it is: shorter inputs are quicker.
    """
    if failure.kind == "slow":
        return failure
    ends = time.monotonic() + _SECONDS
    piece = len(failure.data) // 2
    while piece:
        at = 0
        while at < len(failure.data) and time.monotonic() < ends:
            shorter = examine(check, failure.data[:at] + failure.data[at + piece :])
            if isinstance(shorter, Failure) and shorter.kind == failure.kind:
                failure = shorter
            else:
                at += piece
        piece //= 2
    return failure
