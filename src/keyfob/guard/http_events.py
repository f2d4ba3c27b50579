# SPDX-License-Identifier: Apache-2.0
"""``POST /events``: where issuers push security event tokens (RFC 8935).

202 is the acknowledgement; 400 says that the token is wrong, 503 that it is to be sent again.
"""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from keyfob.guard.events import (
    RETRY_AFTER,
    EventReceiver,
    EventRefusedError,
    EventUnavailableError,
)
from keyfob.http.body import BODY_SECONDS, BodyError, read_body
from keyfob.http.json_response import NO_STORE, json_response

__all__ = ["MAX_BODY_BYTES", "EventsEndpoint"]

MAX_BODY_BYTES: Final = 65_536
"""Four times the longest token that is read, so that one somewhat too long is told so."""

_MEDIA_TYPE: Final = "application/secevent+jwt"


class EventsEndpoint:
    """The endpoint that events are pushed to.

    Args:
        receiver: Takes them in.
        body_seconds: How long a transmitter may take to send one.
    """

    def __init__(self, receiver: EventReceiver, *, body_seconds: float = BODY_SECONDS) -> None:
        self._receiver = receiver
        self._body_seconds = body_seconds

    async def post(self, request: Request) -> Response:
        """Answer a push."""
        credential = _credential(request)
        peer = request.client.host if request.client else ""
        try:
            self._receiver.admit(credential, peer)
            if _media_type(request) != _MEDIA_TYPE:
                return _error(415, "invalid_request", f"the content type has to be {_MEDIA_TYPE}")
            body = await read_body(request, limit=MAX_BODY_BYTES, seconds=self._body_seconds)
            await self._receiver.receive(body, credential=credential, peer=peer)
        except BodyError as error:
            return _error(error.status, "invalid_request", error.message)
        except EventRefusedError as error:
            status = 401 if error.secret else 400
            return _error(status, error.err, error.description)
        except EventUnavailableError:
            return Response(status_code=503, headers={**NO_STORE, "Retry-After": str(RETRY_AFTER)})
        return Response(status_code=202, headers=dict(NO_STORE))


def _error(status: int, err: str, description: str) -> Response:
    headers = {**NO_STORE, "Content-Language": "en"}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"  # RFC 9110 section 11.6.1
    return json_response({"err": err, "description": description}, headers=headers, status=status)


def _credential(request: Request) -> str:
    """Return what stands behind ``Authorization: Bearer`` (RFC 6750 section 2.1), if that does."""
    values = request.headers.getlist("authorization")
    scheme, _, credential = values[0].partition(" ") if len(values) == 1 else ("", "", "")
    return credential.strip() if scheme.lower() == "bearer" else ""


def _media_type(request: Request) -> str:
    values = request.headers.getlist("content-type")
    return values[0].partition(";")[0].strip().lower() if len(values) == 1 else ""
