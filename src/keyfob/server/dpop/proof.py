# SPDX-License-Identifier: Apache-2.0
"""What a DPoP proof must say, and that the key in it has signed it (RFC 9449 sections 4.2 and 4.3).

Such a JWT brings its own key (``tokens.proof_jwt``): it vouches for nothing but that whoever made
the proof has that key. The steps, by the numbers of section 4.3:

    1      exactly one header
    2, 3   a compact JWS, with the claims that are required
    4      ``typ`` is ``dpop+jwt``
    5      ``alg`` is asymmetric, and one of ours
    7      ``jwk`` is public, of a kind and strength that we verify with
    8, 9   ``htm`` and ``htu`` are this endpoint's
    10     ``nonce`` is one of ours, where they are required
    11     the proof is new: by its nonce, or else by ``iat``
    6      the signature, last, because it costs the most

Step 12, ``ath``, is for resources. ``exp`` and ``nbf`` are not asked for, and are held to where
somebody writes them (RFC 7519 section 4.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from keyfob.server.dpop.address import MAX_URL_CHARS, normalised
from keyfob.server.oauth_errors import OAuthError
from keyfob.tokens.keys import VerificationKey
from keyfob.tokens.proof_jwt import MAX_JTI_CHARS, MAX_NONCE_CHARS, ProofJwt, ProofJwtError

__all__ = [
    "CLOCK_SKEW",
    "LONGEST_GOOD",
    "PROOF_SECONDS",
    "Proof",
    "check_proof",
    "check_signature",
    "invalid_proof",
    "read_proof",
]

# Without a nonce: how old a proof may be, and how far a client's clock may be ahead of ours.
PROOF_SECONDS: Final = 60
CLOCK_SKEW: Final = 30
LONGEST_GOOD: Final = PROOF_SECONDS + 2 * CLOCK_SKEW
"""Seconds after which no proof that was good is good any more by its ``iat``."""

_TYPE: Final = "dpop+jwt"
_METHOD: Final = "POST"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """A proof, taken apart; its signature is not checked.

    Args:
        token_id: ``jti``.
        method: ``htm``.
        url: ``htu``.
        issued_at: ``iat``, in Unix seconds.
        expires_at: ``exp``, where there is one.
        not_before: ``nbf``, where there is one.
        nonce: ``nonce``, where there is one.
        jwt: What it was read from.
    """

    token_id: str
    method: str
    url: str
    issued_at: float
    expires_at: float | None
    not_before: float | None
    nonce: str | None
    jwt: ProofJwt = field(repr=False)

    @property
    def key(self) -> VerificationKey:
        """The public key in it."""
        return self.jwt.key


def read_proof(values: Sequence[str]) -> Proof:
    """Take the proof in a request apart.

    Args:
        values: Of its ``DPoP`` headers; at least one.

    Raises:
        OAuthError: ``invalid_dpop_proof``.
    """
    if len(values) != 1:
        raise invalid_proof("repeated")
    try:
        jwt = ProofJwt.read(values[0], _TYPE)
        return Proof(
            token_id=jwt.text("jti", MAX_JTI_CHARS),
            method=jwt.text("htm", 32),
            url=jwt.text("htu", MAX_URL_CHARS),
            issued_at=jwt.required_date("iat"),
            expires_at=jwt.date("exp"),
            not_before=jwt.date("nbf"),
            nonce=jwt.text("nonce", MAX_NONCE_CHARS) if "nonce" in jwt.claims else None,
            jwt=jwt,
        )
    except ProofJwtError as error:
        raise invalid_proof(error.fault) from None


def check_proof(proof: Proof, endpoints: frozenset[str], now: float, *, fresh: bool) -> None:
    """Refuse a proof that is for something else, or of another time.

    Args:
        proof: As read.
        endpoints: The URLs of this endpoint, as ``address.normalised`` writes them.
        now: Unix seconds.
        fresh: Whether its nonce has shown that it is new; ``iat`` is not looked at then, because
            a device's clock may be anywhere (section 4.3, step 11).

    Raises:
        OAuthError: ``invalid_dpop_proof``.
    """
    if proof.method != _METHOD:
        raise invalid_proof("htm_refused")
    if normalised(proof.url) not in endpoints:
        raise invalid_proof("htu_refused")
    if proof.expires_at is not None and proof.expires_at <= now:
        raise invalid_proof("expired")
    if proof.not_before is not None and proof.not_before > now + CLOCK_SKEW:
        raise invalid_proof("nbf_in_future")
    if not fresh and proof.issued_at > now + CLOCK_SKEW:
        raise invalid_proof("iat_in_future")
    if not fresh and proof.issued_at < now - PROOF_SECONDS - CLOCK_SKEW:
        raise invalid_proof("iat_too_old")


def check_signature(proof: Proof) -> None:
    """Refuse a proof that the key in it has not signed.

    Raises:
        OAuthError: ``invalid_dpop_proof``.
    """
    try:
        proof.jwt.check_signature()
    except ProofJwtError as error:
        raise invalid_proof(error.fault) from None


def invalid_proof(fault: str, description: str = "the DPoP proof is not valid") -> OAuthError:
    """Return the error for a proof that is not good (RFC 9449 section 5)."""
    return OAuthError("invalid_dpop_proof", description, reason=f"dpop_{fault}")
