# SPDX-License-Identifier: Apache-2.0
"""Fuzzes ``KeySet.from_jwks`` and the keys that come of it."""

from __future__ import annotations

import json
from typing import Any, Final

from fuzz import octets, trees
from fuzz.chance import Chance
from fuzz.signed_tokens import JWKS, TOKENS
from fuzz.target import Target, demand
from fuzz.token_texts import decoded
from keyfob.errors import UntrustedTokenError, UpstreamError
from keyfob.tokens.keys import KeySet, VerificationKey, thumbprint

__all__ = ["TARGET"]

_INVARIANT: Final = (
    "KeySet.from_jwks raises nothing but UpstreamError, and every key that it takes is a "
    "public signature key of full strength that answers any signature with yes or no."
)

_WORDS: Final = trees.words(
    "kty crv x y n e d k p use key_ops alg kid x5c EC OKP RSA oct P-256 P-384 Ed25519 Ed448 sig enc"
    " verify sign ES256 RS256 PS256 EdDSA HS256 AQAB AQ"
)
_SAMPLE: Final = trees.planted(JWKS)
_SIGNING_INPUT, _, _SIGNATURE = TOKENS[0].rpartition(b".")
_PROBES: Final = (decoded(_SIGNATURE), b"", b"\0" * 64, b"\xff" * 64, b"\1" * 256)


def make(chance: Chance) -> bytes:
    """Draw a key set that is nearly one."""
    tree = trees.changed(chance, _SAMPLE, _WORDS)
    data = trees.spelled(chance, tree).encode("utf-8")
    return octets.changed(chance, data) if chance.often(0.2) else data


def check(data: bytes) -> str:
    """Read one key set."""
    try:
        keys = KeySet.from_jwks(data)
    except UpstreamError as error:
        return error.code
    published = _by_thumbprint(data)
    for key in keys.keys:
        _demand_strong(key, published)
        answers = [key.verify(_SIGNING_INPUT, signature) for signature in _PROBES]
        demand(all(type(answer) is bool for answer in answers), "neither yes nor no")
        demand(not any(answers[1:]), "nonsense verifies")
        demand(key in keys.find(key.kid, key.algorithm), "a key that cannot be found")
    for rejected in keys.rejected:
        refusal = keys.refusal(rejected.kid)
        demand(refusal is None or isinstance(refusal, UntrustedTokenError), "no refusal")
        demand(rejected.reason, "rejected without a reason")
    return f"{len(keys.keys)} keys"


def _by_thumbprint(data: bytes) -> dict[str, list[dict[str, Any]]]:
    """Return the entries that have a thumbprint; a member that stands twice is in its last form."""
    found: dict[str, list[dict[str, Any]]] = {}
    for entry in json.loads(data)["keys"]:
        if isinstance(entry, dict) and isinstance(entry.get("kty"), str):
            try:
                found.setdefault(thumbprint(entry), []).append(entry)
            except ValueError:
                continue
    return found


def _demand_strong(key: VerificationKey, published: dict[str, list[dict[str, Any]]]) -> None:
    demand(key.algorithm in ("ES256", "RS256", "PS256", "Ed25519"), "no such algorithm")
    entries = published.get(key.thumbprint, ())
    same = [entry for entry in entries if (entry.get("kid") or None) == key.kid]
    demand(same, "a key that is not in the set")
    demand(any(map(_is_strong, same)), "a key that is weak, private or for something else")


def _is_strong(entry: dict[str, Any]) -> bool:
    if {"d", "p", "q", "k"} & set(entry) or entry.get("use", "sig") != "sig":
        return False
    if "verify" not in entry.get("key_ops", ["verify"]):
        return False
    if entry["kty"] != "RSA":
        return True
    modulus, exponent = (int.from_bytes(decoded(entry[name].encode())) for name in ("n", "e"))
    return 2_048 <= modulus.bit_length() <= 8_192 and exponent > 65_536


TARGET = Target.of("key-sets", _INVARIANT, make, check, share=6)
