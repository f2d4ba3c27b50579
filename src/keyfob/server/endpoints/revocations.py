# SPDX-License-Identifier: Apache-2.0
"""``GET /oauth2/revocations``: what guards have to know beyond a token's own ``exp``.

A reader begins with ``cursor=0`` and gets everything that still matters, page by page; each page's
``cursor`` asks for the next. With ``wait`` the answer is held back until there is something to say,
for so many seconds: one request in flight is a subscription.

A row means the tokens of ``subject`` that were issued up to ``issued_before``. Where it has a
``token_id`` it means only the one of them with this ``jti``; a reader that does not know that
member yet refuses more than it has to, and nothing less.

A cursor that this database never gave out comes from another one (it was restored from a copy):
such a reader gets everything from the start, rather than nothing for a long time.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable
from typing import Final, Protocol

from starlette.requests import Request
from starlette.responses import Response

from keyfob.http.json_response import NO_STORE, json_response
from keyfob.server.admission import Admission, Asked
from keyfob.server.clients import GUARD_SCOPE
from keyfob.server.oauth_errors import OAuthError, invalid_request
from keyfob.server.stores.store import StoredRevocation

__all__ = ["MAX_WAIT", "PAGE", "RevocationsEndpoint"]

PAGE: Final = 1_000
MAX_WAIT: Final = 30.0
# How often a waiting reader looks whether another process committed something.
_POLL: Final = 0.1
_MAX_CURSOR: Final = 2**63 - 1


class RevocationStore(Protocol):
    """What the feed needs of the register."""

    async def revocations_after(
        self, cursor: int, *, now: float, limit: int
    ) -> tuple[StoredRevocation, ...]:
        """Return the revocations after a cursor that still matter, oldest first."""

    async def last_cursor(self) -> int:
        """Return the newest cursor ever given out; 0 for none."""

    async def change_counter(self) -> int:
        """Return a number that changes whenever another connection commits."""


class RevocationsEndpoint:
    """The feed.

    Args:
        admission: Lets in who may ask.
        store: The register.
        clock: Unix seconds.
        stopping: Set when the server wants to end; nobody is made to wait then.
    """

    def __init__(
        self,
        *,
        admission: Admission,
        store: RevocationStore,
        clock: Callable[[], float],
        stopping: asyncio.Event,
    ) -> None:
        self._admission = admission
        self._store = store
        self._clock = clock
        self._stopping = stopping

    async def get(self, request: Request) -> Response:
        """Answer a guard; anybody else is refused."""
        asked = Asked.of(request, "revocations")
        try:
            await self._admit(request, asked)
            cursor, wait = _cursor(request), _wait(request)
        except OAuthError as error:
            return await self._admission.refuse(asked, error)
        if cursor > (last := await self._store.last_cursor()):
            rows, cursor = await self._page(0), last
        else:
            rows = await self._page_after(cursor, wait)
        page = rows[:PAGE]
        document = {
            "revocations": [_row(revocation) for revocation in page],
            "cursor": page[-1].cursor if page else cursor,
            "more": len(rows) > PAGE,
        }
        return json_response(document, headers=NO_STORE)

    async def _admit(self, request: Request, asked: Asked) -> None:
        client, _ = await self._admission.prove(request, {}, asked)
        if GUARD_SCOPE not in client.scopes:
            raise OAuthError(
                "insufficient_scope", f"needs the scope {GUARD_SCOPE}", reason="not_a_guard"
            )

    async def _page(self, cursor: int) -> tuple[StoredRevocation, ...]:
        return await self._store.revocations_after(cursor, now=self._clock(), limit=PAGE + 1)

    async def _page_after(self, cursor: int, wait: float) -> tuple[StoredRevocation, ...]:
        loop = asyncio.get_running_loop()
        end = loop.time() + wait

        def over() -> bool:
            return loop.time() >= end or self._stopping.is_set()

        while True:
            # The counter before the rows: what is committed in between changes it afterwards.
            seen = await self._store.change_counter()
            rows = await self._page(cursor)
            if rows or over():
                return rows
            while not over() and await self._store.change_counter() == seen:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), _POLL)


def _row(revocation: StoredRevocation) -> dict[str, object]:
    row: dict[str, object] = {
        "cursor": revocation.cursor,
        "subject": revocation.subject,
        "issued_before": revocation.issued_before,
        "until": revocation.until,
        "reason": revocation.reason,
    }
    return row if revocation.token_id is None else {**row, "token_id": revocation.token_id}


def _cursor(request: Request) -> int:
    text = _single(request, "cursor")
    if not (text.isascii() and text.isdigit() and len(text) <= 19 and int(text) <= _MAX_CURSOR):
        raise invalid_request("cursor is a whole number", reason="cursor_invalid")
    return int(text)


def _wait(request: Request) -> float:
    try:
        seconds = float(_single(request, "wait"))
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise invalid_request("wait is a number of seconds", reason="wait_invalid")
    return min(seconds, MAX_WAIT)


def _single(request: Request, name: str) -> str:
    values = request.query_params.getlist(name)
    if len(values) > 1:
        raise invalid_request("a parameter is repeated", reason="parameter_repeated")
    return values[0] if values and values[0] else "0"
