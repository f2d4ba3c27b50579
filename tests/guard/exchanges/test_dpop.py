# SPDX-License-Identifier: Apache-2.0
"""OAUTH2-DPOP: a proof counts for its token, its client, its broker and its nonce, and once."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfob.errors import ClaimError, TokenError
from keyfob.guard.exchanges.dpop import NONCE_BYTES, DpopMethod
from keyfob.guard.exchanges.exchange import Challenge
from keyfob.guard.exchanges.freshness import CHALLENGE_SECONDS
from tests.guard.exchanges.proving import TOKEN, checked, context, outcome, shown, vectors, vouched
from tests.guard.world import NOW
from tests.prover import DeviceKey, b64, dpop_proof, unb64

VECTORS = vectors("oauth2_dpop.json")
KEY = DeviceKey.generate()
BOUND = {"jkt": KEY.jkt}
UNCLEAN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
NONCE = b64(context().server_nonce[:NONCE_BYTES]).encode()


def ended(case: dict[str, Any]) -> tuple[str, str]:
    data = {name: case[name].encode() for name in ("connect", "answer")}
    return outcome(
        case,
        DpopMethod(),
        data,
        server_nonce=unb64(VECTORS["nonce"]) + bytes(14),
        client_id=case["client_id"] or "auto-1",
        assigned=not case["client_id"],
    )


@pytest.mark.attack("J14", "confirmation_unproven")
@pytest.mark.attack("J18", "confirmation_unproven", "proof_malformed")
@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: case["note"])
def test_every_vector_ends_as_it_says(case: dict[str, Any]) -> None:
    assert VECTORS["now"] == NOW
    code, message = ended(case)
    assert code == case["outcome"]
    assert code in {"proven", "confirmation_unproven", "proof_malformed", "token_missing"}
    if "fault" in case:
        assert message == f"the proof is refused: {case['fault']}"


@pytest.mark.parametrize(
    "case", [c for c in VECTORS["cases"] if "key" in c], ids=lambda c: c["note"]
)
def test_a_device_by_the_documentation_makes_the_vectors_proofs(case: dict[str, Any]) -> None:
    key = DeviceKey.of(case["key"])
    made = dpop_proof(key, VECTORS["token"], VECTORS["nonce"].encode())
    assert key.alg == "ES256" or made.decode() == case["answer"]
    assert ended({**case, "answer": made.decode()})[0] == "proven"


@pytest.mark.parametrize("alg", ["EdDSA", "ES256", "RS256"])
def test_every_kind_of_key_that_the_server_binds_tokens_to_is_proven(alg: str) -> None:
    key = DeviceKey.generate(alg)
    proof = dpop_proof(key, TOKEN, NONCE)
    checked(shown(DpopMethod(), TOKEN.encode(), proof), vouched({"jkt": key.jkt}))


@pytest.mark.parametrize("first", [TOKEN.encode(), b""])
def test_the_challenge_is_a_text_that_goes_into_the_proof_as_it_is(first: bytes) -> None:
    assert DpopMethod().begin(context()).step(first) == Challenge(NONCE)
    assert len(NONCE) == 24


@pytest.mark.attack("J19", "confirmation_unproven")
def test_a_proof_counts_for_the_nonce_of_its_own_exchange_only() -> None:
    proof = dpop_proof(KEY, TOKEN, NONCE)
    checked(shown(DpopMethod(), TOKEN.encode(), proof), vouched(BOUND))
    for _ in range(2):
        later = shown(DpopMethod(), TOKEN.encode(), proof, server_nonce=secrets.token_bytes(32))
        with pytest.raises(ClaimError) as caught:
            checked(later, vouched(BOUND))
        assert caught.value.code == "confirmation_unproven"


@pytest.mark.parametrize("late", [CHALLENGE_SECONDS + 1, -CHALLENGE_SECONDS - 1, float("nan")])
@pytest.mark.attack("J19", "confirmation_unproven")
def test_a_proof_for_a_stale_nonce_is_refused(late: float) -> None:
    presented = shown(DpopMethod(), TOKEN.encode(), dpop_proof(KEY, TOKEN, NONCE))
    checked(presented, vouched(BOUND), NOW + CHALLENGE_SECONDS)
    with pytest.raises(ClaimError) as caught:
        checked(presented, vouched(BOUND), NOW + late)
    assert caught.value.code == "confirmation_unproven"


def test_no_proof_or_token_is_in_a_repr_or_an_error() -> None:
    proof = dpop_proof(KEY, TOKEN, NONCE, by=DeviceKey.generate())
    presented = shown(DpopMethod(), TOKEN.encode(), proof)
    with pytest.raises(ClaimError) as caught:
        checked(presented, vouched(BOUND))
    text = f"{presented!r} {presented.proof!r} {caught.value!r}"
    for secret in (TOKEN, proof.decode(), proof.decode().rpartition(".")[2], NONCE.decode()):
        assert secret not in text


@given(first=st.binary(max_size=60), answer=st.binary(max_size=120))
def test_whatever_comes_is_a_token_or_an_error_and_proves_nothing(
    first: bytes, answer: bytes
) -> None:
    try:
        presented = shown(DpopMethod(), first, answer)
        assert presented.token == (first or answer.partition(b" ")[0])
        checked(presented, vouched(BOUND))
    except TokenError:
        return
    raise AssertionError("proven by chance")


@given(data=st.data())
def test_a_proof_changed_in_any_octet_proves_nothing(data: st.DataObject) -> None:
    proof = bytearray(dpop_proof(KEY, TOKEN, NONCE))
    place = data.draw(st.integers(0, len(proof) - 1))
    proof[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(TokenError):
        checked(shown(DpopMethod(), TOKEN.encode(), bytes(proof)), vouched(BOUND))


@given(claims=st.dictionaries(
    st.sampled_from(["jti", "iat", "aud", "ath", "nonce", "mqtt_client_id"]),
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.lists(st.text(max_size=3), max_size=2) | st.just({}),
    min_size=1, max_size=3,
))  # fmt: skip
def test_a_proof_of_other_claims_proves_only_what_it_says(claims: dict[str, Any]) -> None:
    proof = dpop_proof(KEY, TOKEN, NONCE, **claims)
    presented = shown(DpopMethod(), TOKEN.encode(), proof)
    if claims.keys() <= {"jti", "iat"} and fits(claims):
        checked(presented, vouched(BOUND))
        return
    with pytest.raises(ClaimError) as caught:
        checked(presented, vouched(BOUND))
    assert caught.value.code == "confirmation_unproven"


def fits(claims: dict[str, Any]) -> bool:
    """Tell whether a jti is a text and an iat a date, as the specification has it."""
    jti, iat = claims.get("jti", "1"), claims.get("iat", 0)
    text = isinstance(jti, str) and 0 < len(jti) <= 256 and not UNCLEAN.search(jti)
    number = isinstance(iat, int | float) and not isinstance(iat, bool) and 0 <= iat < 2**53
    return text and number


def test_the_shells_recipe_in_the_documentation_makes_a_proof(tmp_path: Path) -> None:
    text = (Path(__file__).parents[3] / "docs/proof-of-possession.md").read_text(encoding="utf-8")
    recipes = dict(re.findall(r"<!-- recipe: ([a-z-]+) -->\n```sh\n(.*?)```", text, re.DOTALL))
    script = f"""set -eu
TOKEN={TOKEN} NONCE={NONCE.decode()}
{recipes["key"]}
{recipes["mqtt-proof"]}
mqtt_proof; echo " $X"
"""
    command = ["bash", "-c", script]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=30, check=True)
    proof, _, x = done.stdout.strip().partition(b" ")
    jwk = {"crv": "Ed25519", "kty": "OKP", "x": x.decode()}
    thumbprint = hashlib.sha256(json.dumps(jwk, separators=(",", ":")).encode()).digest()
    checked(shown(DpopMethod(), TOKEN.encode(), proof), vouched({"jkt": b64(thumbprint)}))
