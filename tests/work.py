# SPDX-License-Identifier: Apache-2.0
"""What a piece of code costs, in measures that no machine's speed and load can change.

Calls are counted by the interpreter itself: of functions in Python and of those in C. Memory is
what is allocated at the peak beyond what was there before.
"""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections.abc import Callable
from types import FrameType
from typing import Any

from keyfob.errors import KeyfobError

__all__ = ["calls", "peak_bytes"]


def calls(action: Callable[[], object]) -> int:
    """Count the calls that an action makes; that it is refused with an error of ours is fine."""
    counted = 0

    def count(_: FrameType, event: str, __: Any) -> None:
        nonlocal counted
        counted += event in {"call", "c_call"}

    # Finalizers of others' garbage are no work of the action's.
    gc.collect()
    gc.disable()
    before = sys.getprofile()
    sys.setprofile(count)
    try:
        _tried(action)
    finally:
        sys.setprofile(before)
        gc.enable()
    return counted


def peak_bytes(action: Callable[[], object]) -> int:
    """Measure the bytes allocated at the peak of an action."""
    gc.collect()
    tracing = tracemalloc.is_tracing()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        _tried(action)
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        if not tracing:
            tracemalloc.stop()


def _tried(action: Callable[[], object]) -> None:
    try:
        action()
    except KeyfobError:
        return
