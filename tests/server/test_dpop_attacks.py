# SPDX-License-Identifier: Apache-2.0
"""The attack table of DPoP proofs: each refused, with its own reason, and none binds anything.

Where nothing else is said a proof is signed with the key in its header, so that the rule under
test alone can refuse it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from keyfob.server.dpop.address import normalised
from keyfob.server.dpop.nonces import SLOT_SECONDS, Nonces, NonceStanding
from keyfob.server.dpop.proof import CLOCK_SKEW, check_proof, check_signature, read_proof
from keyfob.server.oauth_errors import OAuthError
from keyfob.tokens import base64url
from keyfob.tokens.sign import SigningKey
from tests.server.proofs import ENDPOINT, ask, claims_for, nonce_of, public_jwk, signed
from tests.server.world import ISSUER, Clock, World

pytestmark = pytest.mark.sqlite

KEY = SigningKey.generate("ES256")
OTHER = SigningKey.generate("ES256")
ED = SigningKey.generate("EdDSA")
RSA = SigningKey.generate("RS256")
NOW = Clock().now
NONCE = "a nonce, put in by the test"
ENDPOINTS = frozenset({ENDPOINT})


def claims(**changes: Any) -> str:
    return signed(KEY, claims_for(NOW, nonce=NONCE, **changes))


def header(key: SigningKey = KEY, /, **changes: Any) -> str:
    return signed(key, claims_for(NOW, nonce=NONCE), **changes)


def jwk(key: SigningKey = KEY, /, **changes: Any) -> str:
    members = public_jwk(key) | changes
    return header(key, jwk={name: value for name, value in members.items() if value is not None})


def text(payload: str) -> str:
    return signed(KEY, payload.encode())


def raw(written: str) -> str:
    """Sign a header that is written by hand."""
    body = json.dumps(claims_for(NOW, nonce=NONCE)).encode()
    parts = base64url.encode(written.encode()) + b"." + base64url.encode(body)
    return (parts + b"." + base64url.encode(KEY.signature(parts))).decode()


def cut(change: Callable[[list[str]], list[str]]) -> str:
    return ".".join(change(claims().split(".")))


def symmetric(alg: str = "HS256") -> str:
    """Sign with a secret that stands in the header for everybody to see."""
    secret = {"kty": "oct", "k": base64url.encode(bytes(32)).decode()}
    members = {"typ": "dpop+jwt", "alg": alg, "jwk": secret}
    parts = base64url.encode(json.dumps(members).encode()) + b"."
    parts += base64url.encode(json.dumps(claims_for(NOW, nonce=NONCE)).encode())
    return (parts + b"." + base64url.encode(hmac.digest(bytes(32), parts, hashlib.sha256))).decode()


def small_rsa() -> dict[str, str]:
    numbers = rsa.generate_private_key(65537, 1024).public_key().public_numbers()
    octets = numbers.n.to_bytes(128, "big")
    return {"kty": "RSA", "n": base64url.encode(octets).decode(), "e": "AQAB"}


GOOD = json.dumps(claims_for(NOW, nonce=NONCE, jti="twice"))
PRIVATE = base64url.encode(bytes(31) + b"\1").decode()
TABLE: dict[str, tuple[str | Sequence[str], str]] = {
    # Exactly one header
    "two proofs": ([claims(), claims()], "dpop_repeated"),
    "the same twice": ([GOOD, GOOD], "dpop_repeated"),
    "two in one header": (claims() + ", " + claims(), "dpop_malformed"),
    "empty": ("", "dpop_missing"),
    # The form
    "not a jwt": ("no.jwt.at-all!", "dpop_malformed"),
    "four parts": (cut(lambda parts: [*parts, "e30"]), "dpop_malformed"),
    "encrypted": (cut(lambda parts: [*parts, "e30", "e30"]), "dpop_encrypted"),
    "no signature": (cut(lambda parts: [*parts[:2], ""]), "dpop_signature_wrong"),
    "padding": (cut(lambda parts: [*parts[:2], parts[2] + "="]), "dpop_malformed"),
    "too long": (claims(filling="x" * 16_384), "dpop_too_long"),
    "header too long": (header(x5c=["x" * 8_192]), "dpop_too_long"),
    "json serialisation": (json.dumps({"payload": "e30"}), "dpop_malformed"),
    "payload no object": (text("[]"), "dpop_malformed"),
    "payload utf-16": (signed(KEY, GOOD.encode("utf-16")), "dpop_malformed"),
    "claim twice": (text(GOOD[:-1] + ', "htu": "x"}'), "dpop_duplicate_member"),
    "header twice": (raw('{"alg":"ES256","alg":"ES256"}'), "dpop_duplicate_member"),
    "crit": (header(crit=["exp"]), "dpop_critical_header_refused"),
    "b64": (header(b64=False), "dpop_critical_header_refused"),
    "nested": (header(cty="JWT"), "dpop_malformed"),
    # The kind
    **{
        f"typ {typ}": (header(typ=typ), "dpop_typ_refused")
        for typ in ("JWT", "at+jwt", "secevent+jwt", "dpop", "dpop-mqtt+jwt", "jwt-dpop", "", None)
    },
    "typ a number": (header(typ=1), "dpop_malformed"),
    # The algorithm
    "alg none": (header(alg="none"), "dpop_alg_refused"),
    "alg NoNe": (header(alg="NoNe"), "dpop_alg_refused"),
    "alg missing": (header(alg=None), "dpop_malformed"),
    "alg a list": (header(alg=["ES256"]), "dpop_malformed"),
    "hs256 with its secret": (symmetric(), "dpop_alg_refused"),
    "es256 with a secret for a key": (symmetric("ES256"), "dpop_jwk_refused"),
    "es512": (header(alg="ES512"), "dpop_alg_refused"),
    "eddsa said of p-256": (header(alg="EdDSA"), "dpop_jwk_alg_refused"),
    "eddsa said of a p-256 key that says nothing": (
        header(alg="EdDSA", jwk={**public_jwk(KEY), "alg": "EdDSA"}),
        "dpop_jwk_refused",
    ),
    "rs256 signed, ps256 said": (
        header(RSA, alg="PS256", jwk={**public_jwk(RSA), "alg": "PS256"}),
        "dpop_signature_wrong",
    ),
    # The key
    "no jwk": (header(jwk=None), "dpop_jwk_missing"),
    "no jwk but a kid": (header(jwk=None, kid=KEY.kid), "dpop_jwk_missing"),
    "no jwk but an address": (header(jwk=None, jku="https://evil.example/"), "dpop_jwk_missing"),
    "no jwk but a chain": (header(jwk=None, x5c=["MIIB"]), "dpop_jwk_missing"),
    "jwk a text": (header(jwk=json.dumps(public_jwk(KEY))), "dpop_jwk_invalid"),
    "jwk a list": (header(jwk=[public_jwk(KEY)]), "dpop_jwk_invalid"),
    "jwk empty": (header(jwk={}), "dpop_jwk_refused"),
    "jwk private": (jwk(d=PRIVATE), "dpop_jwk_refused"),
    "jwk private, rsa": (jwk(RSA, p="AQAB"), "dpop_jwk_refused"),
    "jwk private, ed25519": (jwk(ED, d=PRIVATE), "dpop_jwk_refused"),
    "jwk with a secret in it": (jwk(k=PRIVATE), "dpop_jwk_refused"),
    "jwk of another curve": (jwk(crv="P-384"), "dpop_jwk_refused"),
    "jwk off the curve": (jwk(x=PRIVATE), "dpop_jwk_refused"),
    "jwk not canonical": (jwk(x=public_jwk(KEY)["x"] + "="), "dpop_jwk_refused"),
    "jwk for encryption": (jwk(use="enc"), "dpop_jwk_refused"),
    "jwk not to verify": (jwk(key_ops=["sign"]), "dpop_jwk_refused"),
    "jwk rsa of 1024 bits": (header(alg="RS256", jwk=small_rsa()), "dpop_jwk_refused"),
    "jwk ed25519 of small order": (
        header(alg="EdDSA", jwk={"kty": "OKP", "crv": "Ed25519", "x": "AQ" + "A" * 41}),
        "dpop_jwk_refused",
    ),
    "jwk of an unknown type": (jwk(kty="X"), "dpop_jwk_refused"),
    "jwk kid a number": (jwk(kid=1), "dpop_jwk_refused"),
    "jwk alg a list": (jwk(alg=["ES256"]), "dpop_jwk_alg_refused"),
    "jwk twice": (
        raw('{"typ":"dpop+jwt","alg":"ES256","jwk":{"kty":"EC","kty":"EC"}}'),
        "dpop_duplicate_member",
    ),
    # The signature
    "the key of another": (header(jwk=public_jwk(OTHER)), "dpop_signature_wrong"),
    "changed claims": (
        cut(lambda parts: [parts[0], base64url.encode(GOOD.encode()).decode(), parts[2]]),
        "dpop_signature_wrong",
    ),
    "psychic signature": (
        cut(lambda parts: [*parts[:2], base64url.encode(bytes(64)).decode()]),
        "dpop_signature_wrong",
    ),
    "signature cut": (cut(lambda parts: [*parts[:2], parts[2][:41]]), "dpop_malformed"),
    # What for
    "no htm": (claims(htm=None), "dpop_htm_missing"),
    "htm get": (claims(htm="GET"), "dpop_htm_refused"),
    "htm in another case": (claims(htm="post"), "dpop_htm_refused"),
    "htm a list": (claims(htm=["POST"]), "dpop_htm_invalid"),
    "no htu": (claims(htu=None), "dpop_htu_missing"),
    "htu a list": (claims(htu=[ENDPOINT]), "dpop_htu_invalid"),
    "htu empty": (claims(htu=""), "dpop_htu_invalid"),
    "htu the issuer": (claims(htu=ISSUER), "dpop_htu_refused"),
    "htu another endpoint": (claims(htu=ISSUER + "/oauth2/revoke"), "dpop_htu_refused"),
    "htu another server": (claims(htu="https://evil.example/oauth2/token"), "dpop_htu_refused"),
    "htu the header's host": (claims(htu="https://host.header/oauth2/token"), "dpop_htu_refused"),
    "htu http": (claims(htu=ENDPOINT.replace("https", "http")), "dpop_htu_refused"),
    "htu another port": (claims(htu=ENDPOINT.replace("8443", "443")), "dpop_htu_refused"),
    "htu no port": (claims(htu=ENDPOINT.replace(":8443", "")), "dpop_htu_refused"),
    "htu with a slash": (claims(htu=ENDPOINT + "/"), "dpop_htu_refused"),
    "htu path in another case": (
        claims(htu=ENDPOINT.replace("token", "TOKEN")),
        "dpop_htu_refused",
    ),
    "htu with a user": (claims(htu=ENDPOINT.replace("//", "//as@")), "dpop_htu_refused"),
    "htu user is ours": (
        claims(htu="https://as.example:8443@evil.example/oauth2/token"),
        "dpop_htu_refused",
    ),
    "htu relative": (claims(htu="/oauth2/token"), "dpop_htu_refused"),
    "htu with dots": (claims(htu=ISSUER + "/oauth2/x/../token"), "dpop_htu_refused"),
    "htu with a backslash": (claims(htu=ISSUER + "\\oauth2\\token"), "dpop_htu_refused"),
    "htu slash encoded": (claims(htu=ISSUER + "/oauth2%2Ftoken"), "dpop_htu_refused"),
    "htu with a space": (claims(htu=ENDPOINT + " "), "dpop_htu_refused"),
    "htu with a line feed": (claims(htu=ENDPOINT + "\n"), "dpop_htu_invalid"),
    "htu in other letters": (claims(htu=ENDPOINT.replace("e", "\u0435")), "dpop_htu_refused"),
    "htu port 0": (claims(htu=ENDPOINT.replace("8443", "0")), "dpop_htu_refused"),
    "htu huge": (claims(htu=ENDPOINT + "?" + "x" * 2_048), "dpop_htu_invalid"),
    # When
    "no iat": (claims(iat=None), "dpop_iat_missing"),
    "iat a text": (claims(iat="1800000000"), "dpop_iat_invalid"),
    "iat true": (claims(iat=True), "dpop_iat_invalid"),
    "iat huge": (claims(iat=2**60), "dpop_iat_invalid"),
    "iat below zero": (claims(iat=-1), "dpop_iat_invalid"),
    "iat nan": (text(GOOD[:-1] + ', "x": NaN}'), "dpop_malformed"),
    "exp over": (claims(exp=int(NOW)), "dpop_expired"),
    "exp a text": (claims(exp="x"), "dpop_exp_invalid"),
    "nbf in the future": (claims(nbf=int(NOW) + CLOCK_SKEW + 2), "dpop_nbf_in_future"),
    # Once
    "no jti": (claims(jti=None), "dpop_jti_missing"),
    "jti empty": (claims(jti=""), "dpop_jti_invalid"),
    "jti a number": (claims(jti=1), "dpop_jti_invalid"),
    "jti huge": (claims(jti="j" * 257), "dpop_jti_invalid"),
    "jti with a nul": (claims(jti="a\0"), "dpop_jti_invalid"),
    # The nonce
    "nonce null": (text(GOOD.replace(f'"{NONCE}"', "null")), "dpop_nonce_invalid"),
    "nonce a list": (text(GOOD.replace(f'"{NONCE}"', '["x"]')), "dpop_nonce_invalid"),
    "nonce empty": (text(GOOD.replace(NONCE, "")), "dpop_nonce_invalid"),
    "nonce huge": (text(GOOD.replace(NONCE, "n" * 257)), "dpop_nonce_invalid"),
}


class AnyNonce(Nonces):
    """Takes every nonce: the table's rows are about the other rules."""

    def standing(self, nonce: str, now: float) -> NonceStanding:  # noqa: ARG002
        return NonceStanding.GOOD


@pytest.mark.anyio
@pytest.mark.parametrize("name", TABLE)
async def test_every_attack_is_refused_with_its_own_reason(
    world: World, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Nonces, "standing", AnyNonce.standing)
    device = "dev1", world.register.add_device("dev1").secret
    shown, reason = TABLE[name]
    answer = await ask(world, shown, device)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_dpop_proof")
    assert answer.json()["error_description"] == "the DPoP proof is not valid"
    event = world.events[-1]
    assert (event.outcome, event.error, event.reason) == ("refused", "invalid_dpop_proof", reason)
    assert not shown or str(shown) not in repr(event)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "shown",
    [
        claims(),
        header(typ="application/DPoP+JWT"),
        header(kid="any", x5c=["MIIB"], jku="https://evil.example/jwks"),
        jwk(alg=None),
        jwk(kid="a name", use="sig", key_ops=["verify"], more=[1]),
        header(RSA, jwk={n: v for n, v in public_jwk(RSA).items() if n != "alg"}),
        claims(htu=ENDPOINT + "?query#fragment"),
        claims(htu=ENDPOINT.replace("https://as", "HTTPS://AS")),
        claims(htu=ISSUER + "/%6fauth2/t%6Fken"),
        claims(ath="fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo"),
        claims(exp=int(NOW) + 1, nbf=int(NOW), more={"nested": [1]}),
    ],
)
async def test_the_neighbours_of_attacks_are_good(
    world: World, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Nonces, "standing", AnyNonce.standing)
    device = "dev1", world.register.add_device("dev1").secret
    assert (await ask(world, shown, device)).json()["token_type"] == "DPoP"


@pytest.mark.anyio
async def test_the_host_header_decides_nothing(world: World) -> None:
    """The URL that counts is the issuer's, whatever a proxy or an attacker writes."""
    device = "dev1", world.register.add_device("dev1").secret
    nonce = await nonce_of(world, device)
    form = {"grant_type": "client_credentials", "client_id": "dev1", "client_secret": device[1]}
    for host in ("evil.example", "as.example"):
        for htu, good in ((f"https://{host}/oauth2/token", False), (ENDPOINT, True)):
            proof = signed(KEY, claims_for(NOW, htu=htu, nonce=nonce))
            headers = {"Host": host, "DPoP": proof, "X-Forwarded-Host": host}
            answer = await world.http.post("/oauth2/token", data=form, headers=headers)
            assert (answer.status_code == 200) == good


def refusal(proof: str, *, now: float = NOW, fresh: bool = True) -> OAuthError | None:
    """Return why a proof would be refused."""
    try:
        read = read_proof([proof])
        check_proof(read, ENDPOINTS, now, fresh=fresh)
        check_signature(read)
    except OAuthError as error:
        return error
    assert proof.split(".")[2] not in repr(read)
    return None


@given(iat=st.integers(-2_000, 2_000), exp=st.none() | st.integers(-2_000, 2_000))
def test_without_a_nonce_a_proof_is_good_within_its_time_and_never_for_long(
    iat: int, exp: int | None
) -> None:
    now = 1_800_000_000
    moved = None if exp is None else now + exp
    proof = signed(KEY, claims_for(now, iat=now + iat, exp=moved))
    good = -60 - CLOCK_SKEW <= iat <= CLOCK_SKEW and (exp is None or exp > 0)
    assert (refusal(proof, now=now, fresh=False) is None) == good


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda data: data.decode("latin-1")))
def test_any_text_is_an_error_that_does_not_repeat_it(proof: str) -> None:
    refused = refusal(proof)
    assert refused is not None
    assert refused.error == "invalid_dpop_proof"
    assert len(proof) < 20 or proof not in f"{refused} {refused.description}"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=4,
)


@given(
    name=st.sampled_from(["jti", "htm", "htu", "iat", "exp", "nbf", "nonce", "ath"]),
    value=json_values,
)
def test_any_value_of_any_claim_is_taken_or_refused_and_never_another_error(
    name: str, value: Any
) -> None:
    refused = refusal(signed(KEY, claims_for(NOW) | {name: value}))
    assert refused is None or refused.error == "invalid_dpop_proof"


@given(name=st.sampled_from(["kty", "crv", "x", "y", "alg", "kid", "d", "use"]), value=json_values)
def test_any_value_in_the_key_is_taken_or_refused_and_never_another_error(
    name: str, value: Any
) -> None:
    refused = refusal(signed(KEY, claims_for(NOW), jwk=public_jwk(KEY) | {name: value}))
    assert refused is None or refused.error == "invalid_dpop_proof"
    assert refused is not None or name in {"kid", "use", "alg"} or value == public_jwk(KEY)[name]


# Addresses


@pytest.mark.parametrize(
    ("url", "spelling"),
    [
        ("https://as.example/token", "https://as.example/token"),
        ("HTTPS://AS.Example:443/token?a=b#c", "https://as.example/token"),
        ("https://as.example:0443/token", "https://as.example/token"),
        ("https://as.example:/token", "https://as.example/token"),
        ("http://as.example:80", "http://as.example/"),
        ("http://as.example:443/", "http://as.example:443/"),
        ("https://[::1]:8443/%7Etoken/%2f", "https://[::1]:8443/~token/%2F"),
        ("https://as.example/a%zz", None),
        ("https://as.example/a b", None),
        ("https://user@as.example/", None),
        ("https:///token", None),
        ("https://", None),
        ("ftp://as.example/", None),
        ("//as.example/token", None),
        ("https:/as.example", None),
        ("https://as.example:99999999/", None),
        ("https://as.example\\@evil.example/", None),
        ("", None),
        ("https://as.example:0/token", "https://as.example:0/token"),
        ("https://as.example:000/token", "https://as.example:0/token"),
        ("https://\u212aeyfob.example/token", None),
    ],
)
def test_an_address_has_one_spelling(url: str, spelling: str | None) -> None:
    assert normalised(url) == spelling


@given(st.text(max_size=60) | st.from_regex(r"https?://[a-z.:@\[\]0-9]{1,12}/[a-zA-Z%0-9./]{0,20}"))
def test_the_spelling_of_an_address_is_its_own(url: str) -> None:
    spelling = normalised(url)
    assert spelling is None or normalised(spelling) == spelling


# Nonces


@given(at=st.floats(0, 2**40), later=st.floats(-400, 400))
def test_a_nonce_is_good_for_a_slot_at_least_and_for_two_at_most(at: float, later: float) -> None:
    nonces = Nonces(bytes(32))
    standing = nonces.standing(nonces.current(at), max(0.0, at + later))
    assert standing is not NonceStanding.UNKNOWN
    if 0 <= later <= SLOT_SECONDS - 1:
        assert standing is NonceStanding.GOOD
    if abs(later) > 2 * SLOT_SECONDS:
        assert standing is NonceStanding.EXPIRED or at + later < 0


@given(nonce=st.text(max_size=40) | st.from_regex(r"[A-Za-z0-9_-]{32}", fullmatch=True))
def test_nobody_makes_a_nonce_up(nonce: str) -> None:
    assert Nonces(bytes(32)).standing(nonce, NOW) is NonceStanding.UNKNOWN


@given(place=st.integers(0, 31), letter=st.sampled_from("ABab09-_"))
def test_a_nonce_that_is_changed_is_none(place: int, letter: str) -> None:
    nonce = Nonces(bytes(32)).current(NOW)
    changed = nonce[:place] + letter + nonce[place + 1 :]
    standing = Nonces(bytes(32)).standing(changed, NOW)
    assert standing is (NonceStanding.GOOD if changed == nonce else NonceStanding.UNKNOWN)


def test_the_nonces_of_another_key_are_unknown() -> None:
    foreign = Nonces(bytes(31) + b"\1").current(NOW)
    assert Nonces(bytes(32)).standing(foreign, NOW) is NonceStanding.UNKNOWN
