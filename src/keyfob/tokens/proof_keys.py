# SPDX-License-Identifier: Apache-2.0
"""The key in ``cnf.jwk`` that a client proves to have (RFC 7800 section 3, RFC 9201 section 4).

A public key may stand in every token. A symmetric one is told by introspection alone, to whoever
has to prove it: in a JWT everybody could read it. It is taken out of the claims before anything
else sees them, so that nothing that keeps claims, writes them down or shows them has the key.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from keyfob.errors import ClaimError
from keyfob.tokens import base64url
from keyfob.tokens.claims import text_fault
from keyfob.tokens.jws import MAX_KID_CHARS
from keyfob.tokens.keys import KeySet, VerificationKey

__all__ = ["SymmetricKey", "public_proof_key", "refuse_secrets", "take_symmetric_key", "unproven"]

# RFC 7518 section 3.2: at least as long as what the hash puts out. Beyond its block SHA-256 would
# have to hash the key first, and nobody makes such keys.
_MIN_KEY_BYTES: Final = 32
_MAX_KEY_BYTES: Final = 64
_SECRET_MEMBERS: Final = frozenset({"k", "d", "p", "q", "dp", "dq", "qi", "oth"})


@dataclass(frozen=True, slots=True)
class SymmetricKey:
    """A key for HMAC-SHA-256 (RFC 7518 section 3.2).

    Args:
        octets: The key.
    """

    octets: bytes = field(repr=False)

    def verify(self, signed: bytes, mac: bytes) -> bool:
        """Say, in constant time, whether a MAC is this key's."""
        return hmac.compare_digest(hmac.digest(self.octets, signed, "sha256"), mac)


def take_symmetric_key(
    members: Mapping[str, Any],
) -> tuple[Mapping[str, Any], SymmetricKey | None]:
    """Take the symmetric key out of what an issuer answered about a token.

    Args:
        members: The claims set of an introspection response.

    Returns:
        The claims set without the key, and the key; None: there was none in it.

    Raises:
        ClaimError: ``confirmation_unproven``: a key that is private, or not fit for HS256.
    """
    jwk = _jwk_of(members)
    if jwk is None or _SECRET_MEMBERS.isdisjoint(jwk):
        return members, None
    octets = _octets(jwk)
    if octets is None:
        raise unproven("the token is bound to a secret that is no key for HS256")
    kept = {name: jwk[name] for name in ("kty", "kid", "alg") if name in jwk}
    return {**members, "cnf": {**members["cnf"], "jwk": kept}}, SymmetricKey(octets)


def refuse_secrets(members: Mapping[str, Any]) -> None:
    """Refuse a token that tells its proof key to everybody who reads it.

    Args:
        members: The claims set of a JWT.

    Raises:
        ClaimError: ``confirmation_unproven``.
    """
    jwk = _jwk_of(members)
    if jwk is not None and not _SECRET_MEMBERS.isdisjoint(jwk):
        raise unproven("the token itself tells the secret that it is bound to")


def public_proof_key(jwk: Mapping[str, Any]) -> VerificationKey:
    """Return a public key that a token is bound to.

    Raises:
        ClaimError: ``confirmation_unproven``: not public, weak, or of an unknown kind.
    """
    found = KeySet.from_jwks({"keys": [jwk]})
    if not found.keys:
        raise unproven(f"the token is bound to a key that is refused: {found.rejected[0].reason}")
    return found.keys[0]


def unproven(message: str) -> ClaimError:
    """Make the error for a token whose bearer did not prove to be the one it was issued to."""
    return ClaimError(message, code="confirmation_unproven", claim="cnf")


def _jwk_of(members: Mapping[str, Any]) -> Mapping[str, Any] | None:
    confirmation = members.get("cnf")
    jwk = confirmation.get("jwk") if isinstance(confirmation, Mapping) else None
    return jwk if isinstance(jwk, Mapping) else None


def _octets(jwk: Mapping[str, Any]) -> bytes | None:
    """Return the key of an ``oct`` JWK that is fit for HS256 (RFC 7517 section 4, RFC 7518 6.4)."""
    operations, value = jwk.get("key_ops", ["verify"]), jwk.get("k")
    fit = (
        jwk.get("kty") == "oct"
        and jwk.get("alg", "HS256") == "HS256"
        and jwk.get("use", "sig") == "sig"
        and isinstance(operations, list)
        and "verify" in operations
        and _SECRET_MEMBERS.intersection(jwk) == {"k"}
        and not ("kid" in jwk and text_fault(jwk["kid"], MAX_KID_CHARS))
    )
    if not fit or not isinstance(value, str) or not value.isascii():
        return None
    try:
        octets = base64url.decode(value.encode("ascii"))
    except ValueError:
        return None
    return octets if _MIN_KEY_BYTES <= len(octets) <= _MAX_KEY_BYTES else None
