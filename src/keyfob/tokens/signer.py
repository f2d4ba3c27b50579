# SPDX-License-Identifier: Apache-2.0
"""Who signed a JWT: the issuer whom we trust, the algorithm that it may use, the key of its own.

Every kind of JWT is asked this first, by the same rules (RFC 8725 section 3). The JWT chooses
nothing: its ``iss`` picks a configured issuer, and from there on everything is that issuer's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from keyfob.errors import UntrustedTokenError
from keyfob.tokens import jws
from keyfob.tokens.issuers import TrustedIssuer
from keyfob.tokens.keys import KeySet, VerificationKey

__all__ = ["NeedKeys", "check_algorithm", "find_issuer", "find_signer", "shown"]


@dataclass(frozen=True, slots=True)
class NeedKeys:
    """The token cannot be judged before the issuer's keys have been fetched (again).

    Attributes:
        issuer: Whose keys.
        kid: The key that the token names, if it names one.
        loaded: Whether a key set was at hand and did not know the key. If a fresh set does not
            know it either, the token is refused with ``refusal()``; without any set, keys are
            unavailable and the token is not to blame.
    """

    issuer: TrustedIssuer
    kid: str | None
    loaded: bool = False

    def refusal(self) -> UntrustedTokenError:
        """Make the error for a token whose key the issuer's current set does not know."""
        return UntrustedTokenError(
            f"the issuer {self.issuer.name} has no key that the token names", code="key_unknown"
        )


def find_issuer(iss: object, issuers: Mapping[str, TrustedIssuer]) -> TrustedIssuer:
    """Return the issuer that a token names, by exact comparison.

    Raises:
        UntrustedTokenError: ``issuer_unknown``.
    """
    if not isinstance(iss, str) or not iss:
        raise UntrustedTokenError("the token names no issuer (iss)", code="issuer_unknown")
    issuer = issuers.get(iss)
    if issuer is None or issuer.issuer != iss:
        raise UntrustedTokenError(
            f"the token's issuer {shown(iss)} is not one that is configured",
            code="issuer_unknown",
        )
    return issuer


def check_algorithm(header: jws.Header, issuer: TrustedIssuer) -> None:
    """Check that the issuer may use the token's algorithm.

    Raises:
        UntrustedTokenError: ``algorithm_refused``.
    """
    if header.alg not in issuer.accepted_algorithms:
        raise UntrustedTokenError(
            f"the algorithm {shown(header.alg)} is not one that {issuer.name} may use",
            code="algorithm_refused",
        )


def find_signer(
    parsed: jws.CompactJws, issuer: TrustedIssuer, key_set: KeySet | None
) -> VerificationKey | NeedKeys:
    """Return the issuer's key whose signature the token bears.

    Args:
        parsed: The token.
        issuer: Whose it says to be.
        key_set: That issuer's keys, if they are at hand.

    Raises:
        UntrustedTokenError: The signature is wrong, or the key is not fit for it.
    """
    kid = parsed.header.kid
    if key_set is None:
        return NeedKeys(issuer, kid)
    candidates = key_set.find(kid, parsed.header.alg)
    for key in candidates:
        if key.verify(parsed.signing_input, parsed.signature):
            return key
    if candidates:
        raise UntrustedTokenError("the token's signature is wrong", code="signature_invalid")
    if refusal := key_set.refusal(kid):
        raise refusal
    return NeedKeys(issuer, kid, loaded=True)


def shown(text: str) -> str:
    """Quote a text from a token that nobody vouches for, short and without control characters."""
    return ascii(text[:100])
