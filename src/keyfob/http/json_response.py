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
    return Response(
        msgspec.json.encode(document),
        status_code=status,
        media_type="application/json",
        headers=dict(headers),
    )
