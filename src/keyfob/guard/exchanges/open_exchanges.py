# SPDX-License-Identifier: Apache-2.0
"""Authentications in progress: bounded in number and time, each of one connection.

A client that never answers leaves nothing behind: its exchange goes when its time is over or newer
ones need its place. Whoever answers too late is unknown, however often it was asked before.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from keyfob.errors import TokenError
from keyfob.guard.exchanges.exchange import (
    Challenge,
    Exchange,
    ExchangeContext,
    Method,
    Presented,
)

__all__ = ["LONGEST", "MAX_OPEN", "MAX_STEPS", "OpenExchanges"]

MAX_OPEN: Final = 4096
"""Exchanges of one link that wait for their client; about 4 MB. The oldest gives way."""

LONGEST: Final = 60.0
"""Seconds that an exchange may take in all: the longest that a plugin lets a client have."""

MAX_STEPS: Final = 8
"""Packets of a client in one exchange; the methods here need two."""

C = TypeVar("C")


@dataclass(slots=True, eq=False)
class _Open(Generic[C]):
    exchange: Exchange
    case: C
    until: float
    steps: int = 0


class OpenExchanges(Generic[C]):
    """The exchanges of one link, by the epoch of their connection.

    Args:
        methods: The configured methods by their names.
        monotonic: A clock that never steps, in seconds.
        size: How many there may be.
    """

    def __init__(
        self,
        methods: Mapping[str, Method],
        *,
        monotonic: Callable[[], float] = time.monotonic,
        size: int = MAX_OPEN,
    ) -> None:
        self._methods = methods
        self._monotonic = monotonic
        self._size = size
        # In the order of their beginnings, which is that of their ends: who is asked once more
        # keeps its place.
        self._open: OrderedDict[int, _Open[C]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._open)

    def knows(self, method: str) -> bool:
        """Tell whether a method is configured."""
        return method in self._methods

    def begin(
        self, epoch: int, method: str, data: bytes, context: ExchangeContext, case: C
    ) -> Challenge | Presented:
        """Begin an exchange, in the place of what its connection had begun before.

        Args:
            epoch: The connection.
            method: One that is known.
            data: What the client sent first.
            context: What there is to know.
            case: What is to be known again at its end.

        Raises:
            TokenError: It is over.
        """
        self._open.pop(epoch, None)
        exchange = self._methods[method].begin(context)
        begun = _Open(exchange, case, self._monotonic() + LONGEST)
        step = _step(begun, data)
        if isinstance(step, Challenge):
            self._sweep()
            self._open[epoch] = begun
            if len(self._open) > self._size:
                self._open.popitem(last=False)
        return step

    def proceed(
        self, epoch: int, data: bytes
    ) -> tuple[C, Challenge | Presented | TokenError] | None:
        """Take the client's answer; None: nothing was asked on this connection, or too long ago."""
        self._sweep()
        found = self._open.get(epoch)
        if found is None:
            return None
        try:
            step: Challenge | Presented | TokenError = _step(found, data)
        except TokenError as error:
            step = error
        if not isinstance(step, Challenge):
            del self._open[epoch]
        return found.case, step

    def forget(self, epoch: int) -> None:
        """Drop the exchange of a connection that is gone."""
        self._open.pop(epoch, None)

    def _sweep(self) -> None:
        now = self._monotonic()
        while self._open:
            epoch, oldest = next(iter(self._open.items()))
            if oldest.until > now:
                return
            del self._open[epoch]


def _step(each: _Open[C], data: bytes) -> Challenge | Presented:
    each.steps += 1
    step = each.exchange.step(data)
    if isinstance(step, Challenge) and each.steps >= MAX_STEPS:
        raise TokenError("the exchange does not come to an end", code="token_missing")
    return step
