# SPDX-License-Identifier: Apache-2.0
"""cnf: a token that is bound to a key is no bearer token (RFC 7800, RFC 8705).

A token with ``cnf`` is accepted only with the proof that it asks for. What every connection may
have is the client's TLS certificate; an authentication method may bring a ``Proof`` of its own.
Whatever else ``cnf`` holds (``jkt``, ``jwk``, ``kid``, or several at once) cannot be proven, and
treating it as absent would be the downgrade of RFC 9449 section 7.2: refused.
"""

from __future__ import annotations

import hmac
from typing import Protocol

from keyfob.errors import ClaimError
from keyfob.tokens import base64url
from keyfob.tokens.claims import Claims

__all__ = ["Proof", "check"]


class Proof(Protocol):
    """What a client showed about the key that its token is bound to."""

    def check(self, claims: Claims, now: float) -> None:
        """Check that it proves all that the token's ``cnf`` asks for.

        Args:
            claims: The verified claims. A ``cnf`` that is absent, or holds anything that this is no
                proof of, is refused.
            now: Unix seconds.

        Raises:
            ClaimError: ``confirmation_unproven``.
        """


def check(
    claims: Claims,
    certificate_thumbprint: bytes | None,
    proof: Proof | None = None,
    now: float = 0.0,
) -> None:
    """Check that a token is presented by whom it was issued to (RFC 8705 section 3).

    Args:
        claims: The verified claims.
        certificate_thumbprint: The SHA-256 of the DER certificate of the client's TLS
            connection, if the broker asked for one.
        proof: What the client's authentication method proved; it alone decides where there is one.
        now: Unix seconds, for the proof.

    Raises:
        ClaimError: ``confirmation_unproven``.
    """
    if proof is not None:
        proof.check(claims, now)
        return
    confirmation = claims.confirmation
    if confirmation is None:
        return
    expected = confirmation.get("x5t#S256")
    if set(confirmation) != {"x5t#S256"} or not isinstance(expected, str):
        raise _unproven("the token is bound to a key in a way that cannot be proven here")
    if certificate_thumbprint is None:
        raise _unproven("the token is bound to a certificate, and the client showed none")
    try:
        wanted = base64url.decode(expected.encode("ascii"))
    except ValueError:
        raise _unproven("the token is bound to a certificate by no valid thumbprint") from None
    if len(wanted) != 32 or not hmac.compare_digest(wanted, certificate_thumbprint):
        raise _unproven("the token is bound to another certificate than the client's")


def _unproven(message: str) -> ClaimError:
    return ClaimError(message, code="confirmation_unproven", claim="cnf")
