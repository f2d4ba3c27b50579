# SPDX-License-Identifier: Apache-2.0
"""``GET /healthz``: whether the server can do its work; says nothing else to anybody."""

from __future__ import annotations

import sqlite3
from typing import Protocol

from starlette.requests import Request
from starlette.responses import Response

from keyfob.http.json_response import NO_STORE, json_response

__all__ = ["HealthEndpoint"]


class ReadableStore(Protocol):
    """Something whose being readable is the health of the server."""

    async def last_cursor(self) -> int:
        """Read anything."""


class HealthEndpoint:
    """Looks into the register.

    Args:
        store: The register.
    """

    def __init__(self, store: ReadableStore) -> None:
        self._store = store

    async def get(self, request: Request) -> Response:  # noqa: ARG002 - the same for everybody
        """Answer 200, or 503 where the register cannot be read."""
        try:
            await self._store.last_cursor()
        except sqlite3.Error:
            return json_response({"status": "unavailable"}, headers=NO_STORE, status=503)
        return json_response({"status": "ok"}, headers=NO_STORE)
