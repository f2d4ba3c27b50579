# SPDX-License-Identifier: Apache-2.0
"""The certificate that a client has shown on its connection, as an application finds it.

It is in the ASGI scope of a request, put there by the protocol (TLS ended here) or by
``BehindProxy`` (TLS ended at a proxy that is trusted). Nothing that a client writes into a request
gets there by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from typing import Any, Final

__all__ = [
    "CLIENT_CERTIFICATE",
    "MAX_CERTIFICATE_BYTES",
    "CertificateHeaderError",
    "ClientCertificate",
    "certificate_of_connection",
    "shown_certificate",
]

CLIENT_CERTIFICATE: Final = "keyfob.client_certificate"
"""The key in the scope."""
# An RSA key of 8192 bits, its signature, and names with room.
MAX_CERTIFICATE_BYTES: Final = 8_192


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientCertificate:
    """A certificate whose private key the other end of the connection has.

    Args:
        der: The certificate.
        verified: Whether its chain ends at a certificate authority that the operator has named.
    """

    der: bytes = field(repr=False)
    verified: bool


class CertificateHeaderError(Exception):
    """A trusted proxy said something of a certificate that cannot be read."""


def shown_certificate(scope: MutableMapping[str, Any]) -> ClientCertificate | None:
    """Return what the client of a request has shown; None for nothing.

    Raises:
        CertificateHeaderError: A proxy handed over what is no certificate, or several.
    """
    found = scope.get(CLIENT_CERTIFICATE)
    if isinstance(found, CertificateHeaderError):
        raise found
    return found if isinstance(found, ClientCertificate) else None


def certificate_of_connection(transport: asyncio.BaseTransport) -> ClientCertificate | None:
    """Return the certificate of a connection that ended here; OpenSSL has verified its chain."""
    secured = transport.get_extra_info("ssl_object")
    der = None if secured is None else secured.getpeercert(binary_form=True)
    return ClientCertificate(der=der, verified=True) if der else None
