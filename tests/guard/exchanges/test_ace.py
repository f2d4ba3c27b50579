# SPDX-License-Identifier: Apache-2.0
"""ace: whoever has the token's key answers the broker's nonce, and nobody else (RFC 9431)."""

from __future__ import annotations

import secrets
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfob.errors import ClaimError, TokenError
from keyfob.guard.exchanges.ace import NONCE_BYTES, AceMethod
from keyfob.guard.exchanges.exchange import Challenge, Presented
from keyfob.guard.exchanges.freshness import CHALLENGE_SECONDS
from tests.guard.exchanges.proving import TOKEN, checked, context, outcome, shown, vectors, vouched
from tests.guard.world import NOW
from tests.prover import DeviceKey, ace_answer, ace_token

VECTORS = vectors("ace.json")
KEY = DeviceKey(bytes(range(32)))
BOUND = {"jwk": {**KEY.jwk, "alg": "HS256"}}
RS_NONCE = context().server_nonce[:NONCE_BYTES]


@pytest.mark.attack("J2", "confirmation_unproven")
@pytest.mark.attack("J6", "confirmation_unproven")
@pytest.mark.attack("J18", "confirmation_unproven", "exporter_proof_unsupported", "proof_malformed")
@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: case["note"])
def test_every_vector_ends_as_it_says(case: dict[str, Any]) -> None:
    data = {name: bytes.fromhex(case.get(name, "")) for name in ("connect", "answer")}
    nonce = bytes.fromhex(VECTORS["broker_nonce"])
    code, _ = outcome(case, AceMethod(), data, server_nonce=nonce + bytes(24))
    assert code == case["outcome"]
    codes = {"proven", "confirmation_unproven", "exporter_proof_unsupported", "proof_malformed"}
    assert code in codes | {"token_missing", "token_malformed", "token_too_long"}


@pytest.mark.parametrize(
    "case", [c for c in VECTORS["cases"] if "key" in c], ids=lambda c: c["note"]
)
def test_a_device_by_the_documentation_makes_the_vectors_answers(case: dict[str, Any]) -> None:
    key, nonce = DeviceKey.of(case["key"]), bytes.fromhex(VECTORS["broker_nonce"])
    assert ace_token(VECTORS["token"]).hex() == case["connect"]
    answer = bytes.fromhex(case["answer"])
    made = ace_answer(key, nonce, answer[:8])
    assert key.alg == "ES256" or made == answer
    checked(
        shown(AceMethod(), ace_token(TOKEN), made, server_nonce=nonce + bytes(24)),
        vouched(case["cnf"]),
    )


def test_the_challenge_is_eight_bytes_of_the_exchange_and_the_token_comes_out_as_sent() -> None:
    exchange = AceMethod().begin(context())
    assert exchange.step(ace_token(TOKEN)) == Challenge(RS_NONCE)
    presented = exchange.step(ace_answer(KEY, RS_NONCE))
    assert isinstance(presented, Presented)
    assert presented.token == TOKEN.encode()


def test_it_proves_again_on_the_connection_with_the_next_token_and_its_key() -> None:
    first, second = DeviceKey.generate(), DeviceKey.generate("ES256")
    for key, again in ((first, False), (second, True)):
        nonce = secrets.token_bytes(32)
        answer = ace_answer(key, nonce[:8])
        presented = shown(
            AceMethod(), ace_token(TOKEN), answer, server_nonce=nonce, reauthenticating=again
        )
        checked(presented, vouched({"jwk": key.jwk}))


@pytest.mark.attack("J19", "confirmation_unproven")
def test_an_answer_counts_for_the_nonce_of_its_own_exchange_only() -> None:
    answer = ace_answer(KEY, RS_NONCE)
    checked(shown(AceMethod(), ace_token(TOKEN), answer), vouched(BOUND))
    other = shown(AceMethod(), ace_token(TOKEN), answer, server_nonce=secrets.token_bytes(32))
    with pytest.raises(ClaimError) as caught:
        checked(other, vouched(BOUND))
    assert caught.value.code == "confirmation_unproven"


@pytest.mark.parametrize("late", [CHALLENGE_SECONDS + 1, -CHALLENGE_SECONDS - 1, float("nan")])
@pytest.mark.attack("J19", "confirmation_unproven")
def test_an_answer_to_a_stale_nonce_is_refused(late: float) -> None:
    presented = shown(AceMethod(), ace_token(TOKEN), ace_answer(KEY, RS_NONCE))
    checked(presented, vouched(BOUND), NOW + CHALLENGE_SECONDS)
    with pytest.raises(ClaimError) as caught:
        checked(presented, vouched(BOUND), NOW + late)
    assert caught.value.code == "confirmation_unproven"


def test_an_rsa_key_is_none_of_the_profiles() -> None:
    key = DeviceKey.generate("RS256")
    presented = shown(AceMethod(), ace_token(TOKEN), RS_NONCE + key.sign(b"")[:64])
    with pytest.raises(ClaimError, match="ace has none such"):
        checked(presented, vouched({"jwk": key.jwk}))


def test_no_answer_key_or_token_is_in_a_repr_or_an_error() -> None:
    answer = ace_answer(KEY, RS_NONCE)
    presented = shown(AceMethod(), ace_token(TOKEN), answer)
    token = vouched({"jwk": DeviceKey(b"x" * 32).jwk})
    with pytest.raises(ClaimError) as caught:
        checked(presented, token)
    text = f"{presented!r} {presented.proof!r} {caught.value!r} {token!r}"
    for secret in (TOKEN, repr(answer[8:])[2:-1], "x" * 32):
        assert secret not in text


@given(connect=st.binary(max_size=80), answer=st.binary(max_size=80))
def test_whatever_comes_is_a_token_or_an_error_and_proves_nothing(
    connect: bytes, answer: bytes
) -> None:
    try:
        presented = shown(AceMethod(), connect, answer)
        assert ace_token(presented.token) == connect
        checked(presented, vouched(BOUND))
    except TokenError:
        return
    raise AssertionError("proven by chance")


@given(token=st.binary(min_size=1, max_size=300), client=st.binary(min_size=8, max_size=8))
def test_any_token_and_any_nonce_of_the_client_go_through(token: bytes, client: bytes) -> None:
    presented = shown(AceMethod(), ace_token(token), ace_answer(KEY, RS_NONCE, client))
    assert presented.token == token
    checked(presented, vouched(BOUND))


@given(place=st.integers(0, 39), change=st.integers(1, 255))
def test_an_answer_changed_in_any_octet_proves_nothing(place: int, change: int) -> None:
    answer = bytearray(ace_answer(KEY, RS_NONCE))
    answer[place] ^= change
    presented = shown(AceMethod(), ace_token(TOKEN), bytes(answer))
    with pytest.raises(ClaimError):
        checked(presented, vouched(BOUND))
