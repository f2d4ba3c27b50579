# SPDX-License-Identifier: Apache-2.0
"""JSON documents as HTTP answers."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import msgspec
from starlette.responses import Response

__all__ = ["NO_STORE", "json_response"]

# RFC 6749 section 5.1: both, on every answer that holds a token, a credential or what is near one.
NO_STORE: Final[Mapping[str, str]] = MappingProxyType(
    {"Cache-Control": "no-store", "Pragma": "no-cache"}
)


def json_response(document: object, *, headers: Mapping[str, str], status: int = 200) -> Response:
    """Answer with a JSON document; every caller decides whether it may be cached."""
    return _JsonResponse(msgspec.json.encode(document), status_code=status, headers=headers)


class _JsonResponse(Response):
    """A ``Response`` whose headers are written at once, without a look at which there are."""

    media_type = "application/json"

    def init_headers(self, headers: Mapping[str, str] | None = None) -> None:
        self.raw_headers = [
            (name.lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in (headers or {}).items()
        ]
        length = str(len(self.body)).encode("ascii")
        self.raw_headers += ((b"content-type", b"application/json"), (b"content-length", length))
