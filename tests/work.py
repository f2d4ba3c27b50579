# SPDX-License-Identifier: Apache-2.0
"""What a piece of code costs, in measures that no machine's speed and load can change.

Calls are counted by the interpreter itself: of functions in Python and of those in C. Memory is
what is allocated at the peak beyond what was there before.
"""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, Final

from keyfob.errors import KeyfobError
from keyfob.tokens.json_strict import JsonError

__all__ = [
    "BASE_BYTES",
    "BASE_CALLS",
    "BYTES_PER_BYTE",
    "CALLS_PER_BYTE",
    "calls",
    "peak_bytes",
    "stays_within",
]

# The bound that docs/security.md states for everything that reads what strangers send. The worst
# case known needs three quarters; interpreters differ a little in what they count.
BASE_CALLS: Final = 1_000
CALLS_PER_BYTE: Final = 10
BASE_BYTES: Final = 262_144
BYTES_PER_BYTE: Final = 96


def calls(action: Callable[[], object]) -> int:
    """Count the calls that an action makes; that it is refused with an error of ours is fine."""
    counted = 0

    def count(_: FrameType, event: str, __: Any) -> None:
        nonlocal counted
        counted += event in {"call", "c_call"}

    before = sys.getprofile()
    with _no_collection():
        sys.setprofile(count)
        try:
            _tried(action)
        finally:
            sys.setprofile(before)
    return counted


def stays_within(action: Callable[[], object], length: int, *, more_calls: int = 0) -> None:
    """Assert the bound for an input of ``length`` bytes, on top of what is fixed.

    Args:
        action: Reads the input.
        length: Its bytes.
        more_calls: What is allowed beyond, for work that depends on a count and not on a length.
    """
    made = calls(action)
    assert made <= BASE_CALLS + more_calls + CALLS_PER_BYTE * length, f"{made} calls"
    peak = peak_bytes(action)
    assert peak <= BASE_BYTES + BYTES_PER_BYTE * length, f"{peak} bytes"


def peak_bytes(action: Callable[[], object]) -> int:
    """Measure the bytes allocated at the peak of an action."""
    tracemalloc.start()
    try:
        with _no_collection():
            before, _ = tracemalloc.get_traced_memory()
            tracemalloc.reset_peak()
            _tried(action)
            return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keep garbage of others, and its finalizers, out of what is measured."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _tried(action: Callable[[], object]) -> None:
    with suppress(KeyfobError, JsonError):
        action()
