# SPDX-License-Identifier: Apache-2.0
"""What a proxy in front may say about who really asks: where from, and with which certificate.

Only a proxy that the operator has named may. From all others these headers are taken out before
anybody sees them, so that whoever writes them himself has written nothing.

    X-Forwarded-For     each proxy appends the address that it was asked from. The one that counts
                        is the rightmost that is no trusted proxy: what stands left of it was
                        written by whoever asked it. A port behind an address is left out, as
                        Azure's gateways write it; an IPv6 address stands in brackets then.
    the certificate     in the header that the proxy is configured with, in one of two forms:
      url-encoded-pem   nginx ``$ssl_client_escaped_cert``, AWS ``X-Amzn-Mtls-Clientcert-Leaf``
      rfc9440           ``Client-Cert``: base64 between colons (RFC 9440 section 2.2)
    the verification    in a further header, ``SUCCESS`` where the proxy has verified the chain
                        (nginx ``$ssl_client_verify``)

A trusted proxy's own connection may carry a certificate, too. It is the proxy's, and never taken
for a client's.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal, Self, TypeAlias
from urllib.parse import unquote_to_bytes

from starlette.types import ASGIApp, Receive, Scope, Send

from keyfob.errors import ConfigError
from keyfob.http.client_certificate import (
    CLIENT_CERTIFICATE,
    MAX_CERTIFICATE_BYTES,
    CertificateHeaderError,
    ClientCertificate,
)

__all__ = ["BehindProxy", "CertificateForm", "CertificateHeader", "Proxies", "client_address"]

CertificateForm: TypeAlias = Literal["url-encoded-pem", "rfc9440"]
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

FORWARDED_FOR: Final = b"x-forwarded-for"
# More proxies than this in a row are a loop.
_MAX_HOPS: Final = 32
_VERIFIED: Final = b"SUCCESS"
_HEADER_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,63}", re.ASCII)
# Of a request's own, which a proxy passes on as they are.
_OF_CLIENTS: Final = frozenset(
    {"authorization", "content-length", "content-type", "dpop", "host", "x-forwarded-for"}
)
# A bare IPv6 address has no port, and at least two colons.
_WITH_PORT: Final = re.compile(
    r"(?:\[([0-9A-Fa-f]*:[0-9A-Fa-f:.]*)\]|([0-9.]+))(?::[0-9]{1,5})?", re.ASCII
)
_BAD_PERCENT: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_PEM: Final = re.compile(
    rb"-----BEGIN CERTIFICATE-----\r?\n([A-Za-z0-9+/=\r\n]+)-----END CERTIFICATE-----(?:\r?\n)?"
)
# Every byte of the PEM may be percent-encoded.
_MAX_HEADER: Final = 4 * (MAX_CERTIFICATE_BYTES * 4 // 3 + 200)


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateHeader:
    """Where a proxy writes the certificate that a client has shown it.

    Args:
        name: The header, lower case.
        form: How it is written.
        verification: The header that says ``SUCCESS`` where the chain was verified; empty: none.
        verified: The proxy lets no certificate through whose chain it has not verified.

    Raises:
        ConfigError: A name is not one, or both of the last two are given.
    """

    name: str
    form: CertificateForm = "url-encoded-pem"
    verification: str = ""
    verified: bool = False

    def __post_init__(self) -> None:
        for name in filter(None, (self.name, self.verification)):
            if not _HEADER_NAME.fullmatch(name) or name in _OF_CLIENTS:
                raise ConfigError(f"{name!r} is no header that a proxy can write a certificate to")
        if not self.name or self.name == self.verification:
            raise ConfigError("the certificate and its verification need a header each")
        if self.verification and self.verified:
            raise ConfigError(
                "either a header says whether a certificate was verified, or every one was"
            )

    @property
    def says_verified(self) -> bool:
        """Whether a certificate can come as verified."""
        return self.verified or bool(self.verification)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxies:
    """The proxies that are trusted.

    Args:
        networks: Where they ask from.
        certificate: What they write certificates to; None: they write none.
    """

    networks: tuple[Network, ...]
    certificate: CertificateHeader | None = None

    @classmethod
    def at(cls, places: Sequence[str], *, certificate: CertificateHeader | None = None) -> Self:
        """Read addresses and networks.

        Raises:
            ConfigError: One is neither, or means everybody.
        """
        networks = []
        for place in places:
            try:
                network = _unmapped(ipaddress.ip_network(place))
            except ValueError:
                raise ConfigError(
                    f"{place!r} is no address or network of a proxy, such as 10.1.2.0/24"
                ) from None
            if network.prefixlen == 0:
                raise ConfigError(f"{place!r} is everybody; name the proxies")
            networks.append(network)
        return cls(networks=tuple(networks), certificate=certificate)

    def trusts(self, address: str) -> bool:
        """Say whether an address is a trusted proxy's."""
        parsed = _address(address)
        return parsed is not None and any(
            parsed in network for network in self.networks if network.version == parsed.version
        )


def client_address(peer: str, forwarded: Sequence[bytes], proxies: Proxies) -> str:
    """Return the address that a request came from.

    Args:
        peer: The other end of the connection.
        forwarded: The values of ``X-Forwarded-For``, in their order.
        proxies: Who may say so.

    Returns:
        The first address from the right that is no trusted proxy. Where all are, or what stands
        there is no address, the last one that is known.
    """
    known = peer
    hops = b",".join(forwarded).split(b",")[-_MAX_HOPS:] if forwarded else []
    for hop in reversed(hops):
        if not proxies.trusts(known):
            break
        address = _address(_without_port(hop.strip(b" \t").decode("latin-1")))
        if address is None:
            break
        known = str(address)
    return known


class BehindProxy:
    """Wraps an application: a request looks as if the client had come itself.

    Args:
        app: What answers.
        proxies: Who may say who the client is.
    """

    def __init__(self, app: ASGIApp, proxies: Proxies) -> None:
        self._app = app
        self._proxies = proxies
        header = proxies.certificate
        told = () if header is None else (header.name, header.verification)
        self._told = frozenset({FORWARDED_FOR, *(name.encode() for name in told if name)})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http":
            scope = self._as_if_direct(scope)
        await self._app(scope, receive, send)

    def _as_if_direct(self, scope: Scope) -> Scope:
        told: dict[bytes, list[bytes]] = {name: [] for name in self._told}
        rest = []
        for name, value in scope["headers"]:
            if name in told:
                told[name].append(value)
            else:
                rest.append((name, value))
        seen = {**scope, "headers": rest}
        peer = scope["client"]
        if peer is None or not self._proxies.trusts(peer[0]):
            return seen
        seen.pop(CLIENT_CERTIFICATE, None)  # the proxy's own
        address = client_address(peer[0], told[FORWARDED_FOR], self._proxies)
        seen["client"] = peer if address == peer[0] else (address, 0)
        if self._proxies.certificate is not None:
            try:
                certificate = _certificate(self._proxies.certificate, told)
            except CertificateHeaderError as error:
                seen[CLIENT_CERTIFICATE] = error
            else:
                seen[CLIENT_CERTIFICATE] = certificate
        return seen


def _certificate(
    header: CertificateHeader, told: Mapping[bytes, Sequence[bytes]]
) -> ClientCertificate | None:
    values = [value for value in told[header.name.encode()] if value]
    said = told[header.verification.encode()] if header.verification else []
    if len(values) > 1 or len(said) > 1:  # the proxy has added its own to what a client wrote
        raise CertificateHeaderError
    if not values:
        return None
    if len(values[0]) > _MAX_HEADER:
        raise CertificateHeaderError
    der = _READ[header.form](values[0])
    if not 0 < len(der) <= MAX_CERTIFICATE_BYTES:
        raise CertificateHeaderError
    return ClientCertificate(der=der, verified=header.verified or said == [_VERIFIED])


def _url_encoded_pem(value: bytes) -> bytes:
    if _BAD_PERCENT.search(value):
        raise CertificateHeaderError
    match = _PEM.fullmatch(unquote_to_bytes(value))
    if match is None:
        raise CertificateHeaderError
    return _base64(re.sub(rb"[\r\n]", b"", match[1]))


def _byte_sequence(value: bytes) -> bytes:
    """Read a structured field of one byte sequence (RFC 8941 section 3.3.5), without parameters."""
    if len(value) < 2 or not value.startswith(b":") or not value.endswith(b":"):
        raise CertificateHeaderError
    return _base64(value[1:-1])


def _base64(text: bytes) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise CertificateHeaderError from None


_READ: Final[Mapping[CertificateForm, Callable[[bytes], bytes]]] = MappingProxyType(
    {"url-encoded-pem": _url_encoded_pem, "rfc9440": _byte_sequence}
)


def _unmapped(network: Network) -> Network:
    """Return a network of IPv4 within IPv6 as the former, as ``_address`` does its addresses."""
    if network.version == 4 or network.prefixlen < 96:
        return network
    mapped = network.network_address.ipv4_mapped
    return network if mapped is None else ipaddress.IPv4Network((mapped, network.prefixlen - 96))


def _without_port(node: str) -> str:
    """Return the address of a node that may name a port (RFC 7239 section 6): ``[v6]:port``."""
    match = _WITH_PORT.fullmatch(node)
    return node if match is None else match[1] or match[2]


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Read an address; one of IPv4 within IPv6 is the former."""
    try:
        parsed = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return parsed if mapped is None else mapped
