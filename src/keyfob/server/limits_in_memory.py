# SPDX-License-Identifier: Apache-2.0
"""The limits of one server process, in bounded memory.

Known pairs, mistaken pairs and networks are kept apart, each the most recent so many: whoever can
make up names and addresses pushes out what was made up before, and never a pair that was proven.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Mapping
from typing import Final, Generic, TypeVar

from keyfob.http.allowance import Allowance
from keyfob.server.clients import ClientKind
from keyfob.server.limits import LimitSettings, Refusal

__all__ = ["InMemoryLimits"]

# How long a refusal that goes on is not told again.
_QUIET_SECONDS: Final = 60.0

_K = TypeVar("_K", bound=Hashable)
_V = TypeVar("_V")
_Pair = tuple[str, str]


class InMemoryLimits:
    """A ``LimitStore``.

    Args:
        settings: The numbers.
        clock: Seconds that never step back.
    """

    def __init__(self, settings: LimitSettings, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._clock = clock
        most = settings.tracked
        self._known: _Recent[_Pair, Allowance] = _Recent(most)
        self._failures: _Recent[_Pair, Allowance] = _Recent(most)
        self._requests: _Recent[str, Allowance] = _Recent(most)
        self._network_failures: _Recent[str, Allowance] = _Recent(most)
        self._told: _Recent[_Pair, float] = _Recent(most)
        self._refusals: Counter[str] = Counter()

    @property
    def refusals(self) -> Mapping[str, int]:
        """How often somebody was refused, by reason."""
        return self._refusals

    @property
    def size(self) -> int:
        """How many things are remembered."""
        return (
            len(self._known)
            + len(self._failures)
            + len(self._requests)
            + len(self._network_failures)
            + len(self._told)
        )

    async def admit(self, name: str, network: str) -> Refusal | None:
        """Spend a request of a pair that is about to prove itself; None lets it try."""
        now, pair = self._clock(), (name, network)
        failures = self._failures.get(pair)
        if failures is not None and (wait := failures.wait(now)):
            return self._refuse("limit_failures", f"{name} {network}", wait, now)
        known = self._known.get(pair)
        if known is not None:
            if known.take(now):
                return None
            return self._refuse("limit_client", f"{name} {network}", known.wait(now), now)
        mistakes = self._network_failures.get(network)
        if mistakes is not None and (wait := mistakes.wait(now)):
            return self._refuse("limit_address_failures", network, wait, now)
        requests = self._requests.get(network) or self._requests.put(
            network,
            Allowance(rate=self._settings.address_rate, most=self._settings.address_burst),
        )
        if requests.take(now):
            return None
        return self._refuse("limit_address", network, requests.wait(now), now)

    async def proven(self, name: str, network: str, kind: ClientKind) -> None:
        """Make a pair known."""
        pair, made = (name, network), self._settings
        if self._known.get(pair) is None:
            rate, most = (made.client_rate, made.client_burst)
            if kind is not ClientKind.DEVICE:
                rate, most = (made.service_rate, made.service_burst)
            self._known.put(pair, Allowance(rate=rate, most=most))

    async def failed(self, name: str, network: str) -> None:
        """Spend a mistake of a pair, and one of its network unless the pair is known."""
        now, pair, made = self._clock(), (name, network), self._settings
        failures = self._failures.get(pair) or self._failures.put(
            pair, Allowance(rate=made.failure_rate, most=made.failure_burst)
        )
        failures.take(now)
        if self._known.get(pair) is None:
            self._mistakes(network).take(now)

    async def nameless(self, network: str) -> Refusal | None:
        """Spend a mistake of a network by a request that names nobody."""
        now, mistakes = self._clock(), self._mistakes(network)
        if mistakes.take(now):
            return None
        return self._refuse("limit_address_failures", network, mistakes.wait(now), now)

    def _mistakes(self, network: str) -> Allowance:
        return self._network_failures.get(network) or self._network_failures.put(
            network,
            Allowance(
                rate=self._settings.address_failure_rate, most=self._settings.address_failure_burst
            ),
        )

    def _refuse(self, reason: str, whom: str, seconds: float, now: float) -> Refusal:
        self._refusals[reason] += 1
        before = self._told.get((reason, whom))
        told = before is None or now - before >= _QUIET_SECONDS
        if told:
            self._told.put((reason, whom), now)
        return Refusal(reason=reason, seconds=seconds, told=told)


class _Recent(Generic[_K, _V]):
    """The so many values that were last asked for or put."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: OrderedDict[_K, _V] = OrderedDict()

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: _K) -> _V | None:
        value = self._values.get(key)
        if value is not None:
            self._values.move_to_end(key)
        return value

    def put(self, key: _K, value: _V) -> _V:
        self._values[key] = value
        self._values.move_to_end(key)
        if len(self._values) > self._most:
            self._values.popitem(last=False)
        return value
