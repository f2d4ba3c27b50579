# SPDX-License-Identifier: Apache-2.0
"""Fuzzes ``http.proxy``: what a trusted proxy, or whoever confuses it, writes into its headers."""

from __future__ import annotations

import base64
import contextlib
import ipaddress
from typing import Any, Final
from urllib.parse import quote, unquote_to_bytes

from fuzz import octets, pieces
from fuzz.chance import Chance
from fuzz.target import Target, demand
from keyfob.http.client_certificate import CertificateHeaderError, shown_certificate
from keyfob.http.proxy import BehindProxy, CertificateHeader, Proxies

__all__ = ["TARGET"]

_INVARIANT: Final = (
    "A certificate is refused, absent, or the octets that another decoder finds in the one header; "
    "none of the headers is left for others; the address is one that stands there or the peer's, "
    "and what a stranger writes changes nothing."
)
_PROXY, _STRANGER = "10.0.0.1", "203.0.113.9"
_DER: Final = bytes(range(256))
_BASE64: Final = base64.b64encode(_DER).decode()
_PEM: Final = f"-----BEGIN CERTIFICATE-----\n{_BASE64}\n-----END CERTIFICATE-----\n"
_URL, _FIELD = quote(_PEM, safe="").encode(), f":{_BASE64}:".encode()
_WORDS: Final = (
    *(b"%", b"%0A", b"%00", b":", b"=", b"+", b"%2B", b";a=1", b", ", b"-----BEGIN%20CERTIFICATE"),
    *(b"10.0.0.1", b"::1", b"198.51.100.1", b"unknown", b"\x00", b"\xff", b" ", b"\t"),
)
_FORMS: Final = (
    CertificateHeader(name="c", verification="v"),
    CertificateHeader(name="c", form="rfc9440"),
)


def make(chance: Chance) -> bytes:
    """Draw the values of the certificate's header, and of X-Forwarded-For."""
    shown = [
        _changed(chance, chance.one((_URL, _FIELD))) for _ in range(chance.one((0, 1, 1, 1, 2)))
    ]
    hops = [
        _changed(chance, chance.one((b"198.51.100.1", b"198.51.100.1, 10.0.0.1", b"2001:db8::1")))
        for _ in range(chance.one((0, 1, 1, 2)))
    ]
    return pieces.pack(shown, hops)


def check(data: bytes) -> str:
    """Read one request, in both forms, from the proxy and from a stranger."""
    shown, hops = pieces.unpack(data)
    headers = [(b"c", value.encode("latin-1")) for value in shown]
    headers += [(b"x-forwarded-for", value.encode("latin-1")) for value in hops]
    outcomes = [_one(header, headers) for header in _FORMS]
    return "read" if "read" in outcomes else outcomes[0]


def _one(header: CertificateHeader, headers: list[tuple[bytes, bytes]]) -> str:
    proxies = Proxies.at([_PROXY], certificate=header)
    stranger = _seen(proxies, _STRANGER, headers)
    demand(stranger["client"] == (_STRANGER, 1), "a stranger has another address")
    demand(shown_certificate(stranger) is None, "a stranger has a certificate")
    seen = _seen(proxies, _PROXY, headers)
    demand(seen["headers"] == [] == stranger["headers"], "a header is left")
    address = seen["client"][0]
    hops = b",".join(value for name, value in headers if name != b"c").decode("latin-1")
    demand(address == _PROXY or str(ipaddress.ip_address(address)) == address, "no address")
    demand(address == _PROXY or hops, "an address from nowhere")
    try:
        found = shown_certificate(seen)
    except CertificateHeaderError:
        return "refused"
    values = [value for name, value in headers if name == b"c" and value]
    demand((found is None) == (not values), "a certificate out of nothing, or none")
    if found is None:
        return "none"
    demand(len(values) == 1 and not found.verified, "several, or a verification out of nothing")
    text = unquote_to_bytes(values[0]) if header.form == "url-encoded-pem" else values[0]
    for mark in (b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----", b":"):
        text = text.replace(mark, b"")
    demand(base64.b64decode(text) == found.der, "other octets")
    return "read"


def _seen(proxies: Proxies, peer: str, headers: list[tuple[bytes, bytes]]) -> Any:  # noqa: ANN401
    found: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401, ARG001
        found.append(scope)

    scope = {"type": "http", "client": (peer, 1), "headers": headers}
    nothing: Any = None
    with contextlib.suppress(StopIteration):  # it waits for nothing
        BehindProxy(app, proxies)(scope, nothing, nothing).send(None)
    return found[0]


def _changed(chance: Chance, value: bytes) -> str:
    changed = octets.changed(chance, value, _WORDS) if chance.often(0.6) else value
    return changed.decode("latin-1")


TARGET = Target.of("certificate-headers", _INVARIANT, make, check)
