# SPDX-License-Identifier: Apache-2.0
"""KeySet: an issuer's public keys out of a JWK Set, one algorithm per key (RFC 7517, RFC 7638).

A key that is unfit spoils only itself: it stands in ``KeySet.rejected`` with the reason, so that
a token which names it is refused for that reason. Unfit are secrets of any kind, keys for
another use, keys of types we do not verify with, weak ones, and ones that share a ``kid``.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from keyfob.errors import UntrustedTokenError, UpstreamError
from keyfob.tokens import base64url, json_strict
from keyfob.tokens.public_keys import RefusedKeyError, public_key
from keyfob.tokens.signatures import ALGORITHMS, Check

__all__ = [
    "ALGORITHMS",
    "MAX_JWKS_BYTES",
    "MAX_KEYS",
    "KeySet",
    "RejectedKey",
    "VerificationKey",
    "thumbprint",
]

# The field's largest key sets (multi-tenant clouds) hold about 10 keys with chains, 20 KiB.
MAX_JWKS_BYTES: Final = 262_144
# Bounds the work that a token without a kid can cause.
MAX_KEYS: Final = 64

_THUMBPRINT_MEMBERS: Final = {
    "EC": ("crv", "kty", "x", "y"),
    "OKP": ("crv", "kty", "x"),
    "RSA": ("e", "kty", "n"),
}
_DEFAULT_ALGORITHM: Final = {"EC": "ES256", "OKP": "Ed25519", "RSA": "RS256"}


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationKey:
    """A public key that verifies signatures of one algorithm (RFC 8725 section 3.1).

    Attributes:
        kid: Its name within its issuer's set, if it has one.
        algorithm: The canonical name of its algorithm.
        thumbprint: RFC 7638, SHA-256.
    """

    kid: str | None
    algorithm: str
    thumbprint: str
    check: Check = field(repr=False, compare=False)

    def verify(self, signing_input: bytes, signature: bytes) -> bool:
        """Say whether the signature is this key's; a wrong one is False, never an error."""
        return self.check(signing_input, signature)

    @property
    def key_id(self) -> str:
        """The ``kid``, or the thumbprint of a key that has none."""
        return self.kid or self.thumbprint


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedKey:
    """A key that is in an issuer's set but will not be used, and why."""

    kid: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class KeySet:
    """The keys of one issuer; never looked up across issuers (RFC 8725 section 3.8).

    Two sets are equal if they hold the same keys under the same names.
    """

    keys: tuple[VerificationKey, ...] = ()
    rejected: tuple[RejectedKey, ...] = field(default=(), compare=False)

    @classmethod
    def from_jwks(cls, document: bytes | Mapping[str, Any]) -> KeySet:
        """Read a JWK Set (RFC 7517 section 5).

        Args:
            document: Its bytes, or the object parsed from them.

        Raises:
            UpstreamError: ``upstream_invalid``: not a JWK Set at all.
        """
        entries = _entries(document)
        keys: list[VerificationKey] = []
        rejected: list[RejectedKey] = []
        for entry in entries[:MAX_KEYS]:
            try:
                key = _verification_key(entry)
            except RefusedKeyError as error:
                rejected.append(RejectedKey(kid=_kid_of(entry), reason=str(error)))
            else:
                if key not in keys:
                    keys.append(key)
        if len(entries) > MAX_KEYS:
            rejected.append(RejectedKey(kid=None, reason=f"only {MAX_KEYS} keys of a set are read"))
        shared = _shared_kids(keys)
        rejected += [
            RejectedKey(kid=kid, reason=f"several keys of the set are called {kid!r}")
            for kid in sorted(shared)
        ]
        return cls(tuple(key for key in keys if key.kid not in shared), tuple(rejected))

    def find(self, kid: str | None, alg: str) -> tuple[VerificationKey, ...]:
        """Return the keys that a token may have been signed with.

        Args:
            kid: What the token says (compared case-sensitively, RFC 7517 section 4.5); without
                one, every key of the algorithm is a candidate (RFC 7515 appendix D).
            alg: What the token says, already checked against the issuer's allow-list.
        """
        algorithm = ALGORITHMS.get(alg)
        if algorithm is None:
            return ()
        return tuple(
            key
            for key in self.keys
            if key.algorithm == algorithm.name and (kid is None or key.kid == kid)
        )

    def refusal(self, kid: str | None) -> UntrustedTokenError | None:
        """Explain why a key that the set does contain is not among those found.

        Returns:
            None if the set knows no key of that name: a newer set may.
        """
        if kid is None:
            return None
        for key in self.keys:
            if key.kid == kid:
                return UntrustedTokenError(
                    f"the token's key is for {key.algorithm}, the token says another algorithm",
                    code="algorithm_refused",
                )
        for refused in self.rejected:
            if refused.kid == kid:
                return UntrustedTokenError(
                    f"the token's key cannot be used: {refused.reason}", code="key_refused"
                )
        return None


def thumbprint(jwk: Mapping[str, Any]) -> str:
    """Compute a JWK's SHA-256 thumbprint, base64url (RFC 7638 section 3).

    Raises:
        ValueError: Not an EC, OKP or RSA key, or a required member is not a string.
    """
    names = _THUMBPRINT_MEMBERS.get(jwk.get("kty", ""))
    if names is None:
        raise ValueError("a thumbprint is taken of EC, OKP and RSA keys")
    members = {name: jwk.get(name) for name in names}
    if not all(isinstance(value, str) for value in members.values()):
        raise ValueError(f"such a key has the members {', '.join(names)}")
    text = json.dumps(members, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
    return base64url.encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


def _entries(document: bytes | Mapping[str, Any]) -> list[Any]:
    if isinstance(document, bytes):
        if len(document) > MAX_JWKS_BYTES:
            raise UpstreamError("the key set is too large", code="upstream_invalid")
        try:
            document = json_strict.loads(document, mark_repeated=True)
        except json_strict.JsonError as error:
            raise UpstreamError(f"the key set: {error}", code="upstream_invalid") from None
    entries = document.get("keys") if isinstance(document, Mapping) else None
    if not isinstance(entries, list):
        raise UpstreamError("not a key set: no array called keys", code="upstream_invalid")
    return entries


def _verification_key(jwk: object) -> VerificationKey:
    if isinstance(jwk, json_strict.Repeated):
        raise RefusedKeyError("a member stands twice in it")
    if not isinstance(jwk, Mapping):
        raise RefusedKeyError("not an object")
    kid = jwk.get("kid")
    if kid is not None and not isinstance(kid, str):
        raise RefusedKeyError("its kid is not a string")
    public = public_key(jwk)
    alg = jwk.get("alg", _DEFAULT_ALGORITHM[jwk["kty"]])
    algorithm = ALGORITHMS.get(alg) if isinstance(alg, str) else None
    if algorithm is None or algorithm.key_type != jwk["kty"]:
        raise RefusedKeyError("its algorithm is not supported, or not one for such a key")
    return VerificationKey(
        kid=kid or None,
        algorithm=algorithm.name,
        thumbprint=thumbprint(jwk),
        check=algorithm.checker(public),
    )


def _kid_of(jwk: object) -> str | None:
    kid = jwk.get("kid") if isinstance(jwk, Mapping) else None
    return kid if isinstance(kid, str) else None


def _shared_kids(keys: list[VerificationKey]) -> set[str]:
    """Names of several keys of one algorithm: which one is meant cannot be told."""
    counted = Counter((key.kid, key.algorithm) for key in keys)
    return {kid for (kid, _), number in counted.items() if number > 1 and kid is not None}
