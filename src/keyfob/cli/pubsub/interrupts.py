# SPDX-License-Identifier: Apache-2.0
"""SIGINT and SIGTERM, as a command that talks to a broker takes them."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NoReturn

__all__ = ["Interrupted", "on_interrupt", "raise_on_interrupt"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(BaseException):
    """Somebody ended the command.

    Args:
        number: By which signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.code = 128 + number
        """What shells say of a program that a signal ended."""


@contextlib.contextmanager
def on_interrupt(call: Callable[[int], object]) -> Iterator[None]:
    """Have a function called, in the main thread between two of its instructions."""
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    for number in _SIGNALS:
        signal.signal(number, lambda got, _: call(got))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def raise_on_interrupt() -> Iterator[None]:
    """Have ``Interrupted`` raised, wherever the main thread is."""

    def end(number: int, _: FrameType | None = None) -> NoReturn:
        raise Interrupted(number)

    with on_interrupt(end):
        yield
