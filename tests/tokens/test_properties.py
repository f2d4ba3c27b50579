# SPDX-License-Identifier: Apache-2.0
"""Whatever comes, the outcome is a verified token, a need, or an error with a code."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from keyfob.errors import TOKEN_CODES, TokenError
from keyfob.tokens import base64url
from keyfob.tokens.jws import CompactJws, parse_compact
from keyfob.tokens.keys import KeySet
from keyfob.tokens.sign import SigningKey
from keyfob.tokens.verify import NeedKeys, TrustedIssuer, VerifiedToken, unverified, verify

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
_SEGMENT = (
    st.binary(max_size=40)
    | _JSON.map(lambda value: json.dumps(value).encode())
    | st.sampled_from([b'{"alg":"ES256"}', b'{"alg":"none"}', b"{}"])
).map(lambda data: base64url.encode(data).decode())
_TOKENS = (
    st.text()
    | st.binary()
    | st.text("eyJ0AQg.-_={}", max_size=80)
    | st.lists(_SEGMENT, min_size=1, max_size=6).map(".".join)
)


def _outcome(call: Callable[[], object]) -> object:
    try:
        return call()
    except TokenError as error:
        return error.code


@given(token=_TOKENS)
def test_parsing_anything_gives_parts_or_an_error_with_a_code(token: str | bytes) -> None:
    parsed = _outcome(lambda: parse_compact(token))
    assert isinstance(parsed, CompactJws) or parsed in TOKEN_CODES
    shown = _outcome(lambda: unverified(token))
    assert isinstance(shown, tuple) or shown in TOKEN_CODES


@given(token=_TOKENS)
def test_nothing_that_its_issuer_did_not_sign_is_verified(
    token: str | bytes, issuer: TrustedIssuer, key_set: KeySet, now: float
) -> None:
    outcome = _outcome(
        lambda: verify(token, {issuer.issuer: issuer}, {issuer.issuer: key_set}, now)
    )
    assert isinstance(outcome, NeedKeys) or outcome in TOKEN_CODES


_GOOD = {
    "iss": "https://as.example",
    "sub": "dev1",
    "aud": "mqtt",
    "exp": 1_790_003_600,
    "iat": 1_790_000_000,
    "jti": "a1",
    "client_id": "dev1",
    "scope": "mqtt.connect",
}


@given(changes=st.dictionaries(st.sampled_from([*_GOOD, "nbf", "cnf"]), _JSON, max_size=3))
def test_any_signed_claims_are_verified_or_refused_with_a_code(
    changes: dict[str, Any],
    issuer: TrustedIssuer,
    key_set: KeySet,
    now: float,
    forge: Callable[..., str],
) -> None:
    token = forge({**_GOOD, **changes})
    outcome = _outcome(
        lambda: verify(token, {issuer.issuer: issuer}, {issuer.issuer: key_set}, now)
    )
    if not isinstance(outcome, VerifiedToken):
        assert outcome in TOKEN_CODES
        return
    assert outcome.device == outcome.claims.subject != ""
    assert now < outcome.expires_at < 2**53
    assert "mqtt" in outcome.claims.audience


@given(header=st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "cty", "x"]), _JSON))
def test_any_signed_header_is_verified_needs_keys_or_is_refused_with_a_code(
    header: dict[str, Any],
    issuer: TrustedIssuer,
    key_set: KeySet,
    now: float,
    forge: Callable[..., str],
) -> None:
    token = forge(_GOOD, json.dumps(header).encode())
    outcome = _outcome(
        lambda: verify(token, {issuer.issuer: issuer}, {issuer.issuer: key_set}, now)
    )
    if isinstance(outcome, VerifiedToken | NeedKeys):
        assert header["alg"] == "ES256"
    else:
        assert outcome in TOKEN_CODES


@given(data=st.data())
def test_a_mutated_token_is_never_verified(
    data: st.DataObject,
    signing_key: SigningKey,
    issuer: TrustedIssuer,
    key_set: KeySet,
    now: float,
) -> None:
    """Bits flipped, bytes cut out, put in, or moved from one place to another."""
    token = signing_key.sign(_GOOD).encode()
    start = data.draw(st.integers(0, len(token)))
    end = data.draw(st.integers(start, min(len(token), start + 8)))
    inserted = data.draw(st.binary(max_size=4) | st.sampled_from([b"A", b".", b"=", token[:8]]))
    mutated = token[:start] + inserted + token[end:]
    assume(mutated != token)
    outcome = _outcome(
        lambda: verify(mutated, {issuer.issuer: issuer}, {issuer.issuer: key_set}, now)
    )
    assert isinstance(outcome, NeedKeys) or outcome in TOKEN_CODES


@given(bit=st.integers(0, 64 * 8 - 1))
def test_no_single_bit_of_a_signature_is_idle(
    bit: int, signing_key: SigningKey, key_set: KeySet
) -> None:
    signature = bytearray(signing_key.signature(b"x"))
    signature[bit // 8] ^= 1 << bit % 8
    assert key_set.keys[0].verify(b"x", bytes(signature)) is False
