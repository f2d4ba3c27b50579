# SPDX-License-Identifier: Apache-2.0
"""``/healthz`` and ``/readyz``: whether the process lives, and whether it can issue tokens."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from keyfob.http.json_response import NO_STORE, json_response
from keyfob.server.readiness import Readiness

__all__ = ["HealthEndpoints"]


class HealthEndpoints:
    """Answers for a server.

    Args:
        readiness: Looks whether it can work.
    """

    def __init__(self, readiness: Readiness) -> None:
        self._readiness = readiness

    async def healthz(self, request: Request) -> Response:  # noqa: ARG002 - same for everybody
        """Answer at all: the process lives and its event loop turns."""
        return json_response({"status": "ok"}, headers=NO_STORE)

    async def readyz(self, request: Request) -> Response:  # noqa: ARG002 - same for everybody
        """Answer 200, or 503 and what is wrong."""
        faults = await self._readiness.faults()
        if faults:
            document = {"status": "unavailable", "reasons": faults}
            return json_response(document, headers={**NO_STORE, "Retry-After": "5"}, status=503)
        return json_response({"status": "ok"}, headers=NO_STORE)
