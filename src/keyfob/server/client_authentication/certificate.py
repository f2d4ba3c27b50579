# SPDX-License-Identifier: Apache-2.0
"""``tls_client_auth`` and ``self_signed_tls_client_auth`` (RFC 8705 section 2).

TLS has proven that the client has the private key of the certificate; which of the two methods it
is, if any, the register says. A public client may show a certificate, too, so that its tokens are
bound to it (section 4): that proves nothing about its name. A certificate beside a secret or an
assertion is not an authentication either, and not looked at here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from keyfob.errors import ConfigError
from keyfob.http.client_certificate import ClientCertificate
from keyfob.server.certificates.identity import DECOY, fault_of
from keyfob.server.certificates.reading import read_certificate
from keyfob.server.client_authentication.proven import ClientStore, Proven
from keyfob.server.oauth_errors import invalid_client

__all__ = ["PresentedCertificate", "TlsClientCertificate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PresentedCertificate:
    """A name in the form, and the certificate of the connection."""

    client_id: str
    certificate: ClientCertificate

    @property
    def is_name_alone(self) -> bool:
        """Whether there is nothing to guess: the certificate has been proven already."""
        return True


class TlsClientCertificate:
    """Proves a certificate, or that a public client needs none.

    Args:
        clients: The register.
        clock: Unix seconds.
    """

    def __init__(self, clients: ClientStore, clock: Callable[[], float]) -> None:
        self._clients = clients
        self._clock = clock

    async def prove(self, shown: PresentedCertificate) -> Proven:
        """Return the client whose certificate it is.

        Raises:
            OAuthError: ``invalid_client``; which of the reasons it was stays in the audit.
        """
        try:
            facts = read_certificate(shown.certificate.der)
        except ConfigError:
            raise invalid_client("certificate_malformed") from None
        stored = await self._clients.find_secret(shown.client_id)
        expected = DECOY if stored is None else stored.certificate
        # Whether or not there is something to compare with.
        fault = fault_of(
            expected or DECOY, facts, verified=shown.certificate.verified, now=self._clock()
        )
        if stored is None:
            raise invalid_client("client_unknown")
        if not expected and not stored.public:
            raise invalid_client("certificate_not_registered")
        if expected and fault is not None:
            raise invalid_client(fault)
        return Proven(client_id=shown.client_id, stored=stored)
