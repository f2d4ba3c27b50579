# SPDX-License-Identifier: Apache-2.0
"""Tokens that are bound to the client's certificate (RFC 8705 section 3).

Whoever shows such a token shows the certificate, too, or it is refused: a token that was stolen is
worth nothing without the private key. It does not matter how the client has authenticated; TLS has
proven that the certificate is its own, and no authority needs to vouch for it.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Final

from starlette.requests import Request

from keyfob.http.client_certificate import (
    CertificateHeaderError,
    ClientCertificate,
    shown_certificate,
)
from keyfob.server.certificates.reading import thumbprint
from keyfob.server.clients import Client
from keyfob.server.issue import Access
from keyfob.server.oauth_errors import OAuthError, invalid_request

__all__ = [
    "MEMBER",
    "CertificateBinding",
    "bound_to_shown",
    "certificate_of",
    "check_certificate",
    "family_certificate",
]


MEMBER: Final = "x5t#S256"
"""Of ``cnf``."""


def certificate_of(request: Request) -> ClientCertificate | None:
    """Return the certificate that the client of a request has shown.

    Raises:
        OAuthError: ``invalid_request``: a trusted proxy handed over what is none, or several.
    """
    try:
        return shown_certificate(request.scope)
    except CertificateHeaderError:
        raise invalid_request(
            "the client certificate cannot be read", reason="certificate_header_invalid"
        ) from None


def family_certificate(client: Client, confirmation: Mapping[str, object]) -> str | None:
    """Return the certificate that the refresh tokens of a new login are bound to (section 4).

    Only those of public clients are: others prove themselves, and may change their certificate.
    """
    found = confirmation.get(MEMBER)
    return found if client.public and isinstance(found, str) else None


def check_certificate(request: Request, access: Access) -> None:
    """Refuse a refresh token that is bound to another certificate than is shown.

    Raises:
        OAuthError: ``invalid_grant``.
    """
    if access.certificate is None:
        return
    shown = certificate_of(request)
    if shown is None or not hmac.compare_digest(thumbprint(shown.der), access.certificate):
        raise OAuthError(
            "invalid_grant",
            "the refresh token is not valid",
            reason="refresh_token_of_another_certificate",
            subject=access.subject,
        )


def bound_to_shown(request: Request, bound_to: object) -> bool:
    """Say whether a token's ``cnf`` is the certificate that is shown with it, and nothing else.

    Raises:
        OAuthError: ``invalid_request``: a trusted proxy handed over what is none, or several.
    """
    if not isinstance(bound_to, Mapping) or set(bound_to) != {MEMBER}:
        return False
    shown, known = certificate_of(request), bound_to[MEMBER]
    if shown is None or not isinstance(known, str):
        return False
    return hmac.compare_digest(thumbprint(shown.der).encode(), known.encode())


class CertificateBinding:
    """Binds the tokens of clients that are registered for it, or all of them.

    Args:
        always: Whether every token is bound.
    """

    def __init__(self, *, always: bool = False) -> None:
        self._always = always

    async def confirm(
        self,
        request: Request,
        client: Client,
        parameters: Mapping[str, str],  # noqa: ARG002 - of others
        *,
        now: float,  # noqa: ARG002 - of others
    ) -> Mapping[str, object]:
        """Return the thumbprint of the client's certificate where its tokens are bound.

        Raises:
            OAuthError: ``invalid_request``: they are, and it has shown none. Section 3.4 leaves
                it to the server; a token that is not bound would be taken by everybody.
        """
        if not (self._always or client.metadata.tls_client_certificate_bound_access_tokens):
            return {}
        certificate = certificate_of(request)
        if certificate is None:
            raise invalid_request(
                "tokens of this client are bound to its certificate: show it in the TLS handshake",
                reason="certificate_missing",
            )
        return {MEMBER: thumbprint(certificate.der)}
