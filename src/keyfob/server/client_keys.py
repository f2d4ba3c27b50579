# SPDX-License-Identifier: Apache-2.0
"""The public keys that a client registers, to authenticate by ``private_key_jwt`` (RFC 7591 jwks).

All of a set has to be good, where a set of an issuer is read leniently (``tokens.keys``): whoever
registers it is there to be told. What is kept is the keys and no more: members that nobody asks
for are left out, and a key without a ``kid`` is called by its thumbprint (RFC 7638).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from keyfob.errors import ConfigError
from keyfob.tokens import json_strict
from keyfob.tokens.jws import MAX_KID_CHARS
from keyfob.tokens.keys import KeySet, thumbprint

__all__ = ["MAX_CLIENT_JWKS_BYTES", "MAX_CLIENT_KEYS", "ClientKey", "client_jwks", "client_keys"]

# A key of now, one that comes and one that goes, for two algorithms, with room.
MAX_CLIENT_KEYS: Final = 8
# Eight of the longest RSA keys have some 12 KiB; a set is read at every authentication.
MAX_CLIENT_JWKS_BYTES: Final = 16_384
_PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_KEPT: Final = ("kty", "crv", "x", "y", "n", "e", "alg", "kid")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientKey:
    """A registered key, as the operator sees it."""

    kid: str
    algorithm: str


def client_jwks(document: bytes) -> str:
    """Check a JWK Set and return the form in which it is kept.

    Args:
        document: A JWK Set (RFC 7517 section 5) of public keys, or one such key.

    Raises:
        ConfigError: Not that, too large, too many, a private key, or one that is not fit to verify
            with; the message repeats nothing of a key but its ``kid``.
    """
    entries = _entries(document)
    if not 1 <= len(entries) <= MAX_CLIENT_KEYS:
        raise ConfigError(f"a client has 1 to {MAX_CLIENT_KEYS} keys; these are {len(entries)}")
    for entry in entries:
        if isinstance(entry, Mapping) and not _PRIVATE.isdisjoint(entry):
            raise ConfigError(
                "there is a private key among the keys: register the public half, and make a new "
                "key if others may have seen this one"
            )
    _refuse_unfit(entries)
    kept = [_kept(entry) for entry in entries]
    _refuse_unfit(kept)  # two of them may be called the same only now
    return json.dumps({"keys": kept}, separators=(",", ":"))


def client_keys(jwks: str | None) -> tuple[ClientKey, ...]:
    """Return what to show of a set that ``client_jwks`` made; None has none."""
    if jwks is None:
        return ()
    return tuple(
        ClientKey(kid=key.key_id, algorithm=key.algorithm)
        for key in KeySet.from_jwks(jwks.encode()).keys
    )


def _refuse_unfit(entries: list[Any]) -> None:
    for refused in KeySet.from_jwks({"keys": entries}).rejected:
        name = "a key" if refused.kid is None else f"the key {refused.kid[:MAX_KID_CHARS]!r}"
        raise ConfigError(f"{name} cannot be used: {refused.reason}")


def _entries(document: bytes) -> list[Any]:
    if len(document) > MAX_CLIENT_JWKS_BYTES:
        raise ConfigError(f"a client's keys have {MAX_CLIENT_JWKS_BYTES} bytes at most")
    try:
        parsed = json_strict.loads(document)
    except json_strict.JsonError as error:
        raise ConfigError(f"the keys are no JWK Set: {error}") from None
    if isinstance(parsed, dict) and "kty" in parsed:
        return [parsed]
    entries = parsed.get("keys") if isinstance(parsed, dict) else None
    if not isinstance(entries, list):
        raise ConfigError('the keys are no JWK Set: {"keys": [...]} (RFC 7517 section 5)')
    return entries


def _kept(jwk: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: jwk[name] for name in _KEPT if name in jwk}
    if not kept.get("kid"):
        kept["kid"] = thumbprint(jwk)
    if len(kept["kid"]) > MAX_KID_CHARS or not kept["kid"].isprintable():
        raise ConfigError(f"a kid has {MAX_KID_CHARS} printable characters at most")
    return kept
