# SPDX-License-Identifier: Apache-2.0
"""How clients can show certificates to this server, and what that makes possible (RFC 8705)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from keyfob.errors import ConfigError
from keyfob.http.proxy import Proxies

__all__ = ["DIRECT", "MutualTls"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MutualTls:
    """What the server is told of it at its start.

    Args:
        asked: The listener asks for certificates, and verifies them.
        proxies: Who is trusted to say who asks; None: nobody.
        base: The URL under which clients with a certificate find the endpoints, where it is
            another than the issuer (section 5); empty: the same.
        bound: Whether every token is bound to a certificate.

    Raises:
        ConfigError: The base is no https URL, or tokens shall be bound to what nobody can show.
    """

    asked: bool = False
    proxies: Proxies | None = None
    base: str = ""
    bound: bool = False

    def __post_init__(self) -> None:
        url = urlsplit(self.base)
        if self.base and (url.scheme != "https" or not url.hostname or url.query or url.fragment):
            raise ConfigError(f"{self.base!r} is no URL such as https://mtls.example:8443")
        if (self.base or self.bound) and not self.possible:
            raise ConfigError(
                "no client can show a certificate: name the authorities that verify them"
                " (client_ca), or a proxy that hands them over"
            )

    @property
    def possible(self) -> bool:
        """Whether a client can show a certificate."""
        return self.asked or (self.proxies is not None and self.proxies.certificate is not None)

    @property
    def methods(self) -> tuple[str, ...]:
        """What a client may use beside the other methods, by the names of RFC 8705 section 2.

        OpenSSL, as Python has it, refuses a certificate that it cannot verify, so those that are
        signed by themselves come through a proxy only.
        """
        header = None if self.proxies is None else self.proxies.certificate
        verified = self.asked or (header is not None and header.says_verified)
        by_itself = header is not None and not header.verified
        return ("tls_client_auth",) * verified + ("self_signed_tls_client_auth",) * by_itself

    def under(self, path: str) -> str:
        """Return the URL of an endpoint for clients with a certificate; empty: the usual one."""
        return self.base and self.base.rstrip("/") + path

    def aliases(self, endpoints: Sequence[str], document: Mapping[str, object]) -> dict[str, str]:
        """Return where clients with a certificate find endpoints; empty where it is the same.

        Args:
            endpoints: The members of the metadata.
            document: The metadata, which has their URLs.
        """
        if not self.base:
            return {}
        issuer = str(document["issuer"]).rstrip("/")
        base = self.base.rstrip("/")
        return {name: base + str(document[name]).removeprefix(issuer) for name in endpoints}


DIRECT: Final = MutualTls()
"""No certificates, and nobody in front."""
