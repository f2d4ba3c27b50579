# SPDX-License-Identifier: Apache-2.0
"""The limits of several servers together, counted in their PostgreSQL database.

A request costs one round trip: whoever was known when he asked is not made known again. Time is the
database's own, so that servers whose clocks differ count alike.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from keyfob.errors import UpstreamError
from keyfob.server.clients import ClientKind
from keyfob.server.limits import LimitSettings, Refusal
from keyfob.server.oauth_errors import OAuthError, unavailable
from keyfob.server.stores.reads import Reads
from keyfob.server.stores.store import Store

__all__ = ["PostgresqlLimits"]

_K = TypeVar("_K")
_T = TypeVar("_T")
# How long a refusal that goes on is not told again, as in limits_in_memory.
_QUIET_SECONDS: Final = 60.0
_TRIM_SECONDS: Final = 60.0
_MOMENT: Final = "coalesce(CAST(:now AS float8), extract(epoch FROM clock_timestamp())::float8)"
_ADMIT: Final = f"""
SELECT reason, seconds, is_known FROM admit_request(:name, :network, :rate, :most, {_MOMENT})
"""  # noqa: S608 - no input in it
_PROVEN: Final = f"""
INSERT INTO allowance (kind, whom, rate, most, remaining, at)
VALUES ('known', :whom, :rate, :most, :most, {_MOMENT}) ON CONFLICT (kind, whom) DO NOTHING
"""  # noqa: S608
_FAILED: Final = (
    f"SELECT note_failure(:name, :network, :rate, :most, :address_rate, :address_most, {_MOMENT})"
)
_NAMELESS: Final = f"SELECT allowance_take('mistakes', :network, :rate, :most, {_MOMENT})"
_TRIM: Final = f"SELECT trim_allowances(:most, {_MOMENT})"


class PostgresqlLimits:
    """A ``LimitStore``.

    Args:
        settings: The numbers.
        reads: Threads with connections; each count is one statement, which commits by itself.
        clock: Seconds instead of the database's, for tests.
    """

    def __init__(
        self, settings: LimitSettings, reads: Reads, clock: Callable[[], float] | None = None
    ) -> None:
        self._settings = settings
        self._reads = reads
        self._clock = clock
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._told: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._refusals: Counter[str] = Counter()
        self._trimmed = time.monotonic()
        self._trimming: asyncio.Task[None] | None = None

    @property
    def refusals(self) -> Mapping[str, int]:
        """How often somebody was refused by this process, by reason."""
        return self._refusals

    async def admit(self, name: str, network: str) -> Refusal | None:
        """Spend a request of a pair that is about to prove itself; None lets it try."""
        made = self._settings
        reason, seconds, known = await self._row(
            _ADMIT,
            {
                "name": name,
                "network": network,
                "rate": made.address_rate,
                "most": made.address_burst,
            },
        )
        self._remember(self._known, (name, network), known)
        self._trim_sometimes()
        if seconds <= 0:
            return None
        whom = network if reason.startswith("limit_address") else f"{name} {network}"
        return self._refuse(reason, whom, seconds)

    async def proven(self, name: str, network: str, kind: ClientKind) -> None:
        """Make a pair known."""
        if (name, network) in self._known:
            return
        made = self._settings
        rate, most = (made.client_rate, made.client_burst)
        if kind is not ClientKind.DEVICE:
            rate, most = (made.service_rate, made.service_burst)
        values = {"whom": f"{name} {network}", "rate": rate, "most": most}
        await self._run(lambda store: store.connection.execute(_PROVEN, self._at(values)))
        self._remember(self._known, (name, network), True)

    async def failed(self, name: str, network: str) -> None:
        """Spend a mistake of a pair, and one of its network unless the pair is known."""
        made = self._settings
        await self._row(
            _FAILED,
            {
                "name": name,
                "network": network,
                "rate": made.failure_rate,
                "most": made.failure_burst,
                "address_rate": made.address_failure_rate,
                "address_most": made.address_failure_burst,
            },
        )

    async def nameless(self, network: str) -> Refusal | None:
        """Spend a mistake of a network by a request that names nobody."""
        made = self._settings
        (seconds,) = await self._row(
            _NAMELESS,
            {
                "network": network,
                "rate": made.address_failure_rate,
                "most": made.address_failure_burst,
            },
        )
        return self._refuse("limit_address_failures", network, seconds) if seconds > 0 else None

    async def trim(self) -> None:
        """Forget what says nothing any more, and the oldest of what is too much."""
        await self._row(_TRIM, {"most": self._settings.tracked})

    async def _row(self, statement: str, values: Mapping[str, Any]) -> Any:  # noqa: ANN401 - a row
        given = self._at(values)

        def work(store: Store) -> Any:  # noqa: ANN401 - a row
            return store.connection.execute(statement, given).fetchone()

        return await self._run(work)

    async def _run(self, work: Callable[[Store], _T]) -> _T:
        try:
            return await self._reads.run(work)
        except UpstreamError as error:
            raise unavailable() from error

    def _at(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**values, "now": None if self._clock is None else self._clock()}

    def _trim_sometimes(self) -> None:
        now = time.monotonic()
        if now - self._trimmed >= _TRIM_SECONDS:
            self._trimmed = now
            self._trimming = asyncio.create_task(self._trim_if_possible())

    async def _trim_if_possible(self) -> None:
        try:
            await self.trim()
        except (OAuthError, RuntimeError):  # RuntimeError: the threads are closed
            return  # in a minute again

    def _refuse(self, reason: str, whom: str, seconds: float) -> Refusal:
        self._refusals[reason] += 1
        now, before = (self._clock or time.monotonic)(), self._told.get((reason, whom))
        told = before is None or now - before >= _QUIET_SECONDS
        if told:
            self._told[reason, whom] = now
            self._bound(self._told)
        return Refusal(reason=reason, seconds=seconds, told=told)

    def _remember(
        self, known: OrderedDict[tuple[str, str], None], pair: tuple[str, str], is_known: bool
    ) -> None:
        known.pop(pair, None)
        if is_known:
            known[pair] = None
            self._bound(known)

    def _bound(self, values: OrderedDict[_K, Any]) -> None:
        if len(values) > self._settings.tracked:
            values.popitem(last=False)
