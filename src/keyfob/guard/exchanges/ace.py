# SPDX-License-Identifier: Apache-2.0
"""The method ``ace``: challenge and response of the MQTT-TLS profile of ACE (RFC 9431).

    CONNECT or AUTH 0x19   length (2 bytes) ‖ token                section 2.2.4
    AUTH 0x18              the broker's nonce (8 bytes)            section 2.2.4.2.2
    AUTH 0x18              the client's nonce (8 bytes) ‖ answer

The answer is an HMAC-SHA-256, or a signature with Ed25519 or ES256, of the broker's nonce followed
by the client's. The key is the one in the token's ``cnf.jwk``, and so is the algorithm: nothing
that the client sends chooses it.

What follows the token in CONNECT is the profile's other proof, over a challenge that both sides
export from TLS (section 2.2.4.2.1). A plugin of Mosquitto cannot reach the TLS session: refused
under a name of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from keyfob.errors import MalformedTokenError, UntrustedTokenError
from keyfob.guard.exchanges.exchange import Challenge, Exchange, ExchangeContext, Presented
from keyfob.guard.exchanges.freshness import check_fresh
from keyfob.tokens.jws import MAX_TOKEN_BYTES
from keyfob.tokens.proof_keys import SymmetricKey, public_proof_key, unproven
from keyfob.tokens.verify import VerifiedToken

__all__ = ["NONCE_BYTES", "AceMethod", "AceProof"]

NONCE_BYTES: Final = 8

_LENGTH_BYTES: Final = 2
# HMAC-SHA-256; Ed25519 and ES256 (R ‖ S, RFC 7518 section 3.4).
_ANSWER_BYTES: Final = (32, 64)
# RSA is not among the algorithms of the profile, and its signatures say nothing of which it is.
_ALGORITHMS: Final = frozenset({"Ed25519", "ES256"})


class AceMethod:
    """Shows a token, and proves to have its key."""

    def begin(self, context: ExchangeContext) -> Exchange:
        """Begin an exchange."""
        return _AceExchange(context)


class _AceExchange:
    """A token, then an answer."""

    __slots__ = ("_begun_at", "_nonce", "_token")

    def __init__(self, context: ExchangeContext) -> None:
        self._nonce = context.server_nonce[:NONCE_BYTES]
        self._begun_at = context.now
        self._token: bytes | None = None

    def step(self, data: bytes) -> Challenge | Presented:
        """Take the token, then the answer to the challenge."""
        if self._token is None:
            self._token = _token_in(data)
            return Challenge(self._nonce)
        client_nonce, answer = data[:NONCE_BYTES], data[NONCE_BYTES:]
        if len(answer) not in _ANSWER_BYTES:
            raise MalformedTokenError(
                "the answer is not a nonce of 8 bytes and a MAC or signature",
                code="proof_malformed",
            )
        proof = AceProof(
            signed=self._nonce + client_nonce, answer=answer, challenged_at=self._begun_at
        )
        return Presented(self._token, proof)


@dataclass(frozen=True, slots=True, kw_only=True)
class AceProof:
    """An answer to a challenge.

    Args:
        signed: The broker's nonce and the client's.
        answer: The MAC or signature of that.
        challenged_at: When the broker gave its nonce, in Unix seconds.
    """

    signed: bytes = field(repr=False)
    answer: bytes = field(repr=False)
    challenged_at: float

    def check(self, token: VerifiedToken, now: float) -> None:
        """Check that the token's key has signed the challenge.

        Raises:
            ClaimError: ``confirmation_unproven``.
        """
        check_fresh(self.challenged_at, now)
        if not self._is_by_key_of(token):
            raise unproven("the answer to the challenge is not of the token's key")

    def _is_by_key_of(self, token: VerifiedToken) -> bool:
        jwk = _confirmed_key(token)
        if jwk.get("kty") == "oct":
            return _symmetric_key(token).verify(self.signed, self.answer)
        key = public_proof_key(jwk)
        if key.algorithm not in _ALGORITHMS:
            raise unproven(f"the token is bound to a key for {key.algorithm}; ace has none such")
        return key.verify(self.signed, self.answer)


def _token_in(data: bytes) -> bytes:
    """Take the data of the first packet apart (RFC 9431 section 2.2.4)."""
    length, rest = int.from_bytes(data[:_LENGTH_BYTES]), data[_LENGTH_BYTES:]
    if not data or (len(data) >= _LENGTH_BYTES and not length):
        # Section 2.4.1 would answer with a hint where tokens are to be had: a plugin of Mosquitto
        # cannot. Nor is a token kept that a client might refer to.
        raise MalformedTokenError("the client sent no token", code="token_missing")
    if length > MAX_TOKEN_BYTES:
        raise MalformedTokenError("the token is too long", code="token_too_long")
    if len(data) < _LENGTH_BYTES or length > len(rest):
        raise MalformedTokenError("the token is shorter than the length before it says")
    if length < len(rest):
        raise UntrustedTokenError(
            "a proof follows the token: one over the TLS exporter cannot be checked here",
            code="exporter_proof_unsupported",
        )
    return rest


def _confirmed_key(token: VerifiedToken) -> Mapping[str, object]:
    confirmation = token.claims.confirmation
    if confirmation is None:
        raise unproven("the token is bound to no key that could be proven")
    if set(confirmation) == {"kid"}:
        raise unproven(
            "the issuer names the token's key and does not tell it: may this guard have the key?"
        )
    jwk = confirmation.get("jwk")
    if set(confirmation) != {"jwk"} or not isinstance(jwk, Mapping):
        raise unproven("the token is bound to something else than a key in it (jwk)")
    return jwk


def _symmetric_key(token: VerifiedToken) -> SymmetricKey:
    if token.proof_key is None:
        raise unproven("the token is bound to a symmetric key that its issuer did not tell")
    return token.proof_key
