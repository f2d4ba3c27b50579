# SPDX-License-Identifier: Apache-2.0
"""A JWT that proves that its maker has a key: the one kind whose own header brings the key.

It vouches for nothing else. DPoP proofs at the token endpoint (RFC 9449 section 4.2) are such JWTs,
and so are proofs at a broker (``OAUTH2-DPOP``); its ``typ`` says which of them one is. Read here is
what they share: a strict compact JWS, an asymmetric algorithm, a public key that is fit to verify
with, claims by their types. The rest is for whoever asked for the proof.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from keyfob.errors import ClaimError, TokenError
from keyfob.tokens.claims import date_of, text_fault
from keyfob.tokens.jws import CompactJws, json_object, octets, parse_compact, segments
from keyfob.tokens.keys import ALGORITHMS, KeySet, VerificationKey

__all__ = ["MAX_JTI_CHARS", "MAX_NONCE_CHARS", "ProofJwt", "ProofJwtError"]

MAX_JTI_CHARS: Final = 256
MAX_NONCE_CHARS: Final = 256


class ProofJwtError(Exception):
    """A proof that is none.

    Args:
        fault: What is wrong with it, in a word that is safe to show, log and count.
    """

    def __init__(self, fault: str) -> None:
        super().__init__(fault)
        self.fault = fault


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofJwt:
    """A proof, taken apart; its signature is not checked until somebody calls ``check_signature``.

    Attributes:
        key: The public key in it.
        claims: What it says, as parsed.
        jws: Its parts.
    """

    key: VerificationKey
    claims: Mapping[str, Any] = field(repr=False)
    jws: CompactJws = field(repr=False)

    @classmethod
    def read(cls, text: str | bytes, typ: str) -> ProofJwt:
        """Take a proof apart.

        Args:
            text: A compact JWS.
            typ: The type that it has to say it has.

        Raises:
            ProofJwtError: ``malformed`` and the like, ``typ_refused``, ``alg_refused``,
                ``jwk_missing``, ``jwk_invalid``, ``jwk_alg_refused`` or ``jwk_refused``.
        """
        try:
            jws = parse_compact(text)
            claims = json_object(jws.payload, "payload")
            header = json_object(octets(segments(text)[0], "header"), "header")
        except TokenError as error:
            raise ProofJwtError(error.code.removeprefix("token_")) from None
        if jws.header.typ != typ:
            raise ProofJwtError("typ_refused")
        if jws.header.alg not in ALGORITHMS:
            raise ProofJwtError("alg_refused")
        return cls(key=_key(header.get("jwk"), jws.header.alg), claims=claims, jws=jws)

    def check_signature(self) -> None:
        """Refuse a proof that the key in it has not signed.

        Raises:
            ProofJwtError: ``signature_wrong``.
        """
        if not self.key.verify(self.jws.signing_input, self.jws.signature):
            raise ProofJwtError("signature_wrong")

    def text(self, name: str, longest: int) -> str:
        """Return a claim that has to be there, as a text.

        Raises:
            ProofJwtError: ``<name>_missing`` or ``<name>_invalid``.
        """
        if name not in self.claims:
            raise ProofJwtError(f"{name}_missing")
        value = self.claims[name]
        if text_fault(value, longest):
            raise ProofJwtError(f"{name}_invalid")
        return str(value)

    def date(self, name: str) -> float | None:
        """Return a claim that is a date, in Unix seconds; None where it is not there.

        Raises:
            ProofJwtError: ``<name>_invalid``.
        """
        if name not in self.claims:
            return None
        try:
            return date_of(name, self.claims[name])
        except ClaimError:
            raise ProofJwtError(f"{name}_invalid") from None

    def required_date(self, name: str) -> float:
        """Return a claim that has to be there, as a date in Unix seconds.

        Raises:
            ProofJwtError: ``<name>_missing`` or ``<name>_invalid``.
        """
        date = self.date(name)
        if date is None:
            raise ProofJwtError(f"{name}_missing")
        return date


def _key(jwk: object, alg: str) -> VerificationKey:
    if not isinstance(jwk, Mapping):
        raise ProofJwtError("jwk_missing" if jwk is None else "jwk_invalid")
    if jwk.get("alg", alg) != alg:  # one key, one algorithm (RFC 8725 section 3.1)
        raise ProofJwtError("jwk_alg_refused")
    found = KeySet.from_jwks({"keys": [{**jwk, "alg": alg}]}).keys
    if not found:
        raise ProofJwtError("jwk_refused")
    return found[0]
