# SPDX-License-Identifier: Apache-2.0
"""``/healthz`` and ``/readyz``: whether the guard runs, and whether its decisions are sound."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from keyfob.guard.health import GuardHealth
from keyfob.http.json_response import NO_STORE, json_response

__all__ = ["HealthEndpoints", "NotReady", "not_ready"]


class NotReady(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that keeps a guard from being ready.

    Attributes:
        reason: ``keys_missing``, ``revocations_missing``, ``storage_failing`` or
            ``workers_missing``.
        issuer: Whose keys or revocations; empty where it is nobody's.
    """

    reason: str
    issuer: str = ""


def not_ready(health: GuardHealth) -> tuple[NotReady, ...]:
    """Tell what keeps a guard from being ready.

    Ready means: every issuer's keys and present revocations have been read since the start, and
    the file follows. An issuer that fails later changes nothing: its last keys stay in use.
    """
    reasons = [
        NotReady(reason="keys_missing", issuer=issuer)
        for issuer, keys in health.keys.items()
        if keys.age is None
    ]
    reasons += [
        NotReady(reason="revocations_missing", issuer=issuer)
        for issuer, feed in health.feeds.items()
        if not feed.ready
    ]
    if health.storage_failure:
        reasons.append(NotReady(reason="storage_failing"))
    if health.missing_workers:
        reasons.append(NotReady(reason="workers_missing"))
    return tuple(reasons)


class HealthEndpoints:
    """Answers for a guard.

    Args:
        health: Tells its state.
        refresh: Called first, where the state has to be asked for.
    """

    def __init__(
        self, health: Callable[[], GuardHealth], refresh: Callable[[], Awaitable[None]]
    ) -> None:
        self._health = health
        self._refresh = refresh

    async def healthz(self, request: Request) -> Response:  # noqa: ARG002 - same for everybody
        """Answer at all: the process lives and its event loop turns."""
        return json_response({"status": "ok"}, headers=NO_STORE)

    async def readyz(self, request: Request) -> Response:  # noqa: ARG002 - same for everybody
        """Answer 200, or 503 and what is missing."""
        await self._refresh()
        reasons = not_ready(self._health())
        if reasons:
            document = {"status": "unavailable", "reasons": reasons}
            return json_response(document, headers=NO_STORE, status=503)
        return json_response({"status": "ok"}, headers=NO_STORE)
