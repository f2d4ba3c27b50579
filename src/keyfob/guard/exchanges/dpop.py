# SPDX-License-Identifier: Apache-2.0
"""The method ``OAUTH2-DPOP``: our own, for tokens that are bound by ``cnf.jkt`` (RFC 9449).

    CONNECT or AUTH 0x19   the token, or nothing
    AUTH 0x18              the broker's nonce
    AUTH 0x18              the proof; before it, where it was not sent yet, the token and a space

All of it is ASCII. RFC 9449 is about HTTP and no standard says how DPoP goes over MQTT, so a proof
for a broker has a type of its own, and nobody can take it for one of RFC 9449's or the other way
round. docs/proof-of-possession.md is the specification.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Final

from keyfob.errors import MalformedTokenError
from keyfob.guard.exchanges.exchange import Challenge, Exchange, ExchangeContext, Presented
from keyfob.guard.exchanges.freshness import check_fresh
from keyfob.tokens import base64url
from keyfob.tokens.claims import MAX_TEXT_CHARS
from keyfob.tokens.jws import MAX_TOKEN_BYTES
from keyfob.tokens.proof_jwt import MAX_JTI_CHARS, MAX_NONCE_CHARS, ProofJwt, ProofJwtError
from keyfob.tokens.proof_keys import unproven
from keyfob.tokens.verify import VerifiedToken

__all__ = ["CLOCK_SKEW", "NONCE_BYTES", "PROOF_TYPE", "DpopMethod", "DpopProof"]

PROOF_TYPE: Final = "dpop-mqtt+jwt"
NONCE_BYTES: Final = 18
"""24 characters, without a bit left over."""
CLOCK_SKEW: Final = 30
"""Seconds by which a client's clock may be ahead where its proof has an ``nbf``."""

_ATH_CHARS: Final = 43


class DpopMethod:
    """Shows a token, and a signed proof about it."""

    def begin(self, context: ExchangeContext) -> Exchange:
        """Begin an exchange."""
        return _DpopExchange(context)


class _DpopExchange:
    """A token or nothing, then a proof."""

    __slots__ = ("_challenged", "_context", "_nonce", "_token")

    def __init__(self, context: ExchangeContext) -> None:
        self._context = context
        self._nonce = base64url.encode(context.server_nonce[:NONCE_BYTES]).decode("ascii")
        self._token = b""
        self._challenged = False

    def step(self, data: bytes) -> Challenge | Presented:
        """Take the token, or go on without; then the proof."""
        if not self._challenged:
            if len(data) > MAX_TOKEN_BYTES:
                raise MalformedTokenError("the token is too long", code="token_too_long")
            self._token = data
            self._challenged = True
            return Challenge(self._nonce.encode("ascii"))
        token, proof = self._shown(data)
        return Presented(
            token,
            DpopProof(
                proof=proof,
                token=token,
                nonce=self._nonce,
                client_id="" if self._context.assigned else self._context.client_id,
                challenged_at=self._context.now,
            ),
        )

    def _shown(self, data: bytes) -> tuple[bytes, bytes]:
        token, proof = self._token, data
        if not token:
            token, _, proof = data.partition(b" ")
        if not token:
            raise MalformedTokenError("the client sent no token", code="token_missing")
        if not proof or b" " in proof:
            raise MalformedTokenError(
                "the answer to the nonce is not one proof", code="proof_malformed"
            )
        return token, proof


@dataclass(frozen=True, slots=True, kw_only=True)
class DpopProof:
    """A proof as it came, and what it has to be about.

    Args:
        proof: A compact JWS.
        token: The token that came with it.
        nonce: The broker's, of this exchange.
        client_id: The client identifier as the client sent it; empty: it left it to the broker.
        challenged_at: When the broker gave its nonce, in Unix seconds.
    """

    proof: bytes = field(repr=False)
    token: bytes = field(repr=False)
    nonce: str = field(repr=False)
    client_id: str
    challenged_at: float

    def check(self, token: VerifiedToken, now: float) -> None:
        """Check that the key whose thumbprint the token has made this proof, here and now.

        Raises:
            ClaimError: ``confirmation_unproven``.
        """
        check_fresh(self.challenged_at, now)
        wanted = _confirmed_thumbprint(token)
        try:
            jwt = ProofJwt.read(self.proof, PROOF_TYPE)
            self._check_claims(jwt, token.issuer.audiences, now)
            _check_key(jwt, wanted)
            jwt.check_signature()
        except ProofJwtError as error:
            raise unproven(f"the proof is refused: {error.fault}") from None

    def _check_claims(self, jwt: ProofJwt, audiences: frozenset[str], now: float) -> None:
        """Check what it says (docs/proof-of-possession.md); the signature costs more."""
        jwt.text("jti", MAX_JTI_CHARS)
        # A device's clock may be anywhere: that the proof is new, its nonce says.
        jwt.required_date("iat")
        expires_at, not_before = jwt.date("exp"), jwt.date("nbf")
        if expires_at is not None and not now < expires_at:
            raise ProofJwtError("expired")
        if not_before is not None and not not_before <= now + CLOCK_SKEW:
            raise ProofJwtError("nbf_in_future")
        if jwt.text("aud", MAX_TEXT_CHARS) not in audiences:
            raise ProofJwtError("aud_refused")
        if "mqtt_client_id" not in jwt.claims:
            raise ProofJwtError("mqtt_client_id_missing")
        if jwt.claims["mqtt_client_id"] != self.client_id:
            raise ProofJwtError("mqtt_client_id_refused")
        if not _same(jwt.text("nonce", MAX_NONCE_CHARS), self.nonce):
            raise ProofJwtError("nonce_refused")
        if not _same(jwt.text("ath", _ATH_CHARS), _hash(self.token)):
            raise ProofJwtError("ath_refused")


def _confirmed_thumbprint(token: VerifiedToken) -> str:
    confirmation = token.claims.confirmation
    if confirmation is None:
        raise unproven("the token is bound to no key that could be proven")
    thumbprint = confirmation.get("jkt")
    if set(confirmation) != {"jkt"} or not isinstance(thumbprint, str):
        raise unproven("the token is bound to something else than a key's thumbprint (jkt)")
    if not thumbprint.isascii():
        raise unproven("the token is bound to a key by no valid thumbprint")
    return thumbprint


def _check_key(jwt: ProofJwt, thumbprint: str) -> None:
    if not _same(jwt.key.thumbprint, thumbprint):
        raise ProofJwtError("key_of_another")


def _same(shown: str, wanted: str) -> bool:
    return hmac.compare_digest(shown.encode("utf-8"), wanted.encode("ascii"))


def _hash(token: bytes) -> str:
    return base64url.encode(hashlib.sha256(token).digest()).decode("ascii")
