# SPDX-License-Identifier: Apache-2.0
"""cnf: a token that is bound to a key is no bearer token (RFC 7800, RFC 8705).

A token with ``cnf`` is accepted only with the proof that it asks for. What every connection may
have is the client's TLS certificate; an authentication method may bring a ``Proof`` of its own.
Whatever else ``cnf`` holds, or several at once, cannot be proven, and treating it as absent would
be the downgrade of RFC 9449 section 7.2: refused.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Any, Protocol

from keyfob.tokens import base64url
from keyfob.tokens.keys import thumbprint
from keyfob.tokens.proof_keys import unproven
from keyfob.tokens.verify import VerifiedToken

__all__ = ["Proof", "bound_to", "check", "kind_of", "still_bound"]


class Proof(Protocol):
    """What a client showed about the key that its token is bound to."""

    def check(self, token: VerifiedToken, now: float) -> None:
        """Check that it proves all that the token's ``cnf`` asks for.

        Args:
            token: The verified token. A ``cnf`` that is absent, or holds anything that this is no
                proof of, is refused.
            now: Unix seconds.

        Raises:
            ClaimError: ``confirmation_unproven``.
        """


def check(
    token: VerifiedToken,
    certificate_thumbprint: bytes | None,
    proof: Proof | None = None,
    now: float = 0.0,
) -> None:
    """Check that a token is presented by whom it was issued to (RFC 8705 section 3).

    Args:
        token: The verified token.
        certificate_thumbprint: The SHA-256 of the DER certificate of the client's TLS
            connection, if the broker asked for one.
        proof: What the client's authentication method proved; it alone decides where there is one.
        now: Unix seconds, for the proof.

    Raises:
        ClaimError: ``confirmation_unproven``.
    """
    if proof is not None:
        proof.check(token, now)
        return
    confirmation = token.claims.confirmation
    if confirmation is None:
        return
    expected = confirmation.get("x5t#S256")
    if set(confirmation) != {"x5t#S256"} or not isinstance(expected, str):
        raise unproven("the token is bound to a key in a way that is not proven like this")
    if certificate_thumbprint is None:
        raise unproven("the token is bound to a certificate, and the client showed none")
    try:
        wanted = base64url.decode(expected.encode("ascii"))
    except ValueError:
        raise unproven("the token is bound to a certificate by no valid thumbprint") from None
    if len(wanted) != 32 or not hmac.compare_digest(wanted, certificate_thumbprint):
        raise unproven("the token is bound to another certificate than the client's")


def bound_to(confirmation: Mapping[str, Any] | None) -> str:
    """Name what a token is bound to, in a word that tells no secret and may be kept.

    Args:
        confirmation: Its ``cnf``.

    Returns:
        ``x5t#S256:`` or ``jkt:`` and the thumbprint in it, ``jwk:`` and the public key's thumbprint
        (RFC 7638), ``oct:`` and the name of a symmetric key: its thumbprint could be guessed from
        (section 7). Empty for a bearer token; ``unknown`` for what nobody can prove.
    """
    if confirmation is None:
        return ""
    if len(confirmation) != 1:
        return "unknown"
    [(member, value)] = confirmation.items()
    if member in ("x5t#S256", "jkt") and isinstance(value, str):
        return f"{member}:{value}"
    if member != "jwk" or not isinstance(value, Mapping):
        return "unknown"
    if value.get("kty") == "oct":
        return f"oct:{value.get('kid', '')}"
    try:
        return f"jwk:{thumbprint(value)}"
    except (TypeError, ValueError):
        return "unknown"


def kind_of(bound: str) -> str | None:
    """Return in which way a token is bound: what ``bound_to`` says, without the key.

    Args:
        bound: What ``bound_to`` said, or what this did.

    Returns:
        ``x5t#S256``, ``jkt`` or ``jwk``, which public and symmetric keys are alike; empty for a
        bearer token; None for what nobody can prove.
    """
    kind = bound.partition(":")[0]
    return {"oct": "jwk", "unknown": None}.get(kind, kind)


def still_bound(proven: str | None, confirmation: Mapping[str, Any] | None) -> bool:
    """Tell whether a token is bound to what was proven, as far as that is known.

    Args:
        proven: What ``bound_to`` or ``kind_of`` said when it was proven; None: not known.
        confirmation: The token's ``cnf`` now.
    """
    bound = bound_to(confirmation)
    return proven in (None, bound, kind_of(bound))
