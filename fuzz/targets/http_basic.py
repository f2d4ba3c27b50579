# SPDX-License-Identifier: Apache-2.0
"""Fuzzes ``server.client_authentication.presented``: HTTP Basic, and secrets in the form."""

from __future__ import annotations

import base64
from typing import Final
from urllib.parse import unquote_plus

from fuzz import octets, pieces
from fuzz.chance import Chance
from fuzz.target import Target, demand
from keyfob.server.client_authentication import presented
from keyfob.server.client_authentication.secret import PresentedSecret
from keyfob.server.oauth_errors import OAuthError

__all__ = ["TARGET"]

_INVARIANT: Final = (
    "Credentials are refused as invalid_client or invalid_request, or they are those that another "
    "decoder finds, given in one way only; neither an error nor a repr shows the secret."
)
_SECRET: Final = "kfs_0123456789abcdef"  # noqa: S105 - a sample
_PAIRS: Final = (
    f"dev1:{_SECRET}".encode(),
    b"dev%201:a%3Ab+c:d",
    b"dev1:",
    b":secret",
    b"dev1",
    "gerät:geheim".encode(),
    b"ger%C3%A4t:%00",
)
_WORDS: Final = (b":", b"%", b"+", b"%3A", b"\0", b"\xff", b"%ff", b"\n")
_SCHEMES: Final = ("Basic ", "basic ", "BASIC ", "Basic  ", "Basic", "Bearer ", "", " Basic ")
_PARAMETERS: Final[tuple[dict[str, str], ...]] = (
    {},
    {},
    {"client_id": "dev1"},
    {"client_id": "dev2"},
    {"client_id": "dev1", "client_secret": _SECRET},
    {"client_secret": _SECRET},
)


def make(chance: Chance) -> bytes:
    """Draw Authorization headers and form parameters."""
    headers = [_header(chance) for _ in range(chance.one((0, 1, 1, 1, 1, 1, 1, 2)))]
    return pieces.pack(headers, chance.one(_PARAMETERS))


def check(data: bytes) -> str:
    """Find the credentials in one request."""
    headers, parameters = pieces.unpack(data)
    try:
        found = presented(headers, parameters)
    except OAuthError as error:
        demand(error.error in ("invalid_client", "invalid_request"), "another error")
        demand(_SECRET not in f"{error} {error.description}", "the error shows the secret")
        return error.reason
    if not isinstance(found, PresentedSecret):
        raise TypeError("an assertion was found, of which no parameter was there")
    demand(_SECRET not in repr(found) or _SECRET in found.client_id, "the repr shows the secret")
    if not headers:
        demand(found.client_id == parameters["client_id"], "another client")
        demand(found.secret == parameters.get("client_secret", ""), "another secret")
        return "in the form"
    demand(len(headers) == 1 and "client_secret" not in parameters, "two ways")
    pair = base64.b64decode(headers[0].split(" ", 1)[1].strip()).decode("utf-8")
    client_id, _, secret = (unquote_plus(part, errors="strict") for part in pair.partition(":"))
    demand((found.client_id, found.secret) == (client_id, secret), "other credentials")
    demand(client_id and parameters.get("client_id", client_id) == client_id, "another client")
    return "in the header"


def _header(chance: Chance) -> str:
    pair = chance.one(_PAIRS)
    if chance.often(0.6):
        pair = octets.changed(chance, pair, _WORDS)
    text = base64.b64encode(pair)
    if chance.often(0.3):
        text = octets.changed(chance, text, (b"=", b" ", b"\n", b"-", b"_", b"\xe4"))
    scheme = "Basic " if chance.often(0.85) else chance.one(_SCHEMES)
    return scheme + text.decode("latin-1")


TARGET = Target.of("http-basic", _INVARIANT, make, check)
