# SPDX-License-Identifier: Apache-2.0
"""Fuzzes ``jws.parse_compact``: a token taken apart."""

from __future__ import annotations

import json
from typing import Final

from fuzz.target import Target, demand
from fuzz.token_texts import changed, decoded, encoded
from keyfob.errors import TokenError
from keyfob.tokens.jws import MAX_TOKEN_BYTES, CompactJws, parse_compact

__all__ = ["TARGET"]

_INVARIANT: Final = (
    "jws.parse_compact takes bytes and text alike, and returns parts that spell the token "
    "again or raises TokenError."
)


def _parsed(token: str | bytes) -> CompactJws | str:
    try:
        return parse_compact(token)
    except TokenError as error:
        return error.code


def check(data: bytes) -> str:
    """Parse one token twice, and take what comes apart again."""
    parsed = _parsed(data)
    demand(_parsed(data.decode("latin-1")) == parsed, "text and bytes are read differently")
    if isinstance(parsed, str):
        return parsed
    demand(len(data) <= MAX_TOKEN_BYTES, "longer than allowed")
    header, payload, signature = data.split(b".")
    demand(parsed.signing_input == header + b"." + payload, "another signing input")
    demand(encoded(parsed.payload) == payload, "another spelling of the payload")
    demand(encoded(parsed.signature) == signature, "another spelling of the signature")
    members = json.loads(decoded(header))
    demand(encoded(decoded(header)) == header, "another spelling of the header")
    demand(parsed.header.alg == members["alg"], "another alg")
    demand(parsed.header.kid == members.get("kid"), "another kid")
    demand(not {"crit", "b64", "enc"} & set(members), "an extension")
    return "parsed"


TARGET = Target.of("compact-jws", _INVARIANT, changed, check)
