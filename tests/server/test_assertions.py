# SPDX-License-Identifier: Apache-2.0
"""The attack table of client assertions: each refused in the same words, with its own reason.

Where nothing else is said an assertion is signed with the client's own key, so that the rule under
test alone can refuse it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfob.server.client_authentication.assertion import (
    CLOCK_SKEW,
    AssertionRules,
    check_assertion,
    read_assertion,
)
from keyfob.server.oauth_errors import OAuthError
from keyfob.server.wishes import DeviceWish
from keyfob.tokens import base64url
from keyfob.tokens.sign import SigningKey
from tests.server.assertions import ENDPOINT, TYPE, ask, claims_for, jwks_of, signed
from tests.server.world import ISSUER, Clock, World

pytestmark = pytest.mark.sqlite

KEY = SigningKey.generate("ES256")
STRANGER = SigningKey.generate("ES256")
NOW = Clock().now
RULES = AssertionRules(issuer=ISSUER, token_endpoints=frozenset({ENDPOINT}), lifetime=600)
STRICT = AssertionRules(issuer=ISSUER, token_endpoints=frozenset(), lifetime=600)


def raw(header: str, payload: bytes | None = None) -> str:
    """Sign a header that is written by hand."""
    body = json.dumps(claims_for(NOW)).encode() if payload is None else payload
    parts = base64url.encode(header.encode()) + b"." + base64url.encode(body)
    return (parts + b"." + base64url.encode(KEY.signature(parts))).decode()


def hmac_with_the_public_key() -> str:
    """RS to HS confusion (J2), with the JWK as the secret."""
    parts = base64url.encode(b'{"alg":"HS256"}') + b"."
    parts += base64url.encode(json.dumps(claims_for(NOW)).encode())
    secret = json.dumps(KEY.public_jwk()).encode()
    return (parts + b"." + base64url.encode(hmac.digest(secret, parts, hashlib.sha256))).decode()


def cut(change: Callable[[list[str]], list[str]]) -> str:
    return ".".join(change(signed(KEY, claims_for(NOW)).split(".")))


def claims(**changes: Any) -> str:
    return signed(KEY, claims_for(NOW, **changes))


def header(**changes: Any) -> str:
    return signed(KEY, claims_for(NOW), **changes)


def text(payload: str) -> str:
    return signed(KEY, payload.encode())


GOOD = json.dumps(claims_for(NOW, jti="twice"))
TABLE = {
    # The form
    "not a jwt": ("no.jwt.at-all!", "assertion_malformed"),
    "four parts": (cut(lambda parts: [*parts, "e30"]), "assertion_malformed"),
    "encrypted": (cut(lambda parts: [*parts, "e30", "e30"]), "assertion_encrypted"),
    "no signature": (cut(lambda parts: [*parts[:2], ""]), "assertion_signature_wrong"),
    "padding": (cut(lambda parts: [*parts[:2], parts[2] + "="]), "assertion_malformed"),
    "white space": (" " + claims(), "assertion_malformed"),
    "too long": (claims(filling="x" * 16_384), "assertion_too_long"),
    "json serialisation": (json.dumps({"payload": "e30"}), "assertion_malformed"),
    "payload no object": (text("[]"), "assertion_malformed"),
    "payload utf-16": (signed(KEY, GOOD.encode("utf-16")), "assertion_malformed"),
    "claim twice": (text(GOOD[:-1] + ', "sub": "dev1"}'), "assertion_duplicate_member"),
    "header twice": (raw('{"alg":"ES256","alg":"ES256"}'), "assertion_duplicate_member"),
    "crit": (header(crit=["exp"]), "assertion_critical_header_refused"),
    "b64": (header(b64=False), "assertion_critical_header_refused"),
    # The algorithm
    "alg none": (header(alg="none"), "assertion_alg_refused"),
    "alg None": (header(alg="NoNe"), "assertion_alg_refused"),
    "alg missing": (header(alg=None), "assertion_malformed"),
    "alg a list": (header(alg=["ES256"]), "assertion_malformed"),
    "hs256 with the public key": (hmac_with_the_public_key(), "assertion_alg_refused"),
    "another algorithm": (header(alg="RS256"), "assertion_key_unknown"),
    "eddsa said of p-256": (header(alg="EdDSA"), "assertion_key_unknown"),
    # The key
    "another's key": (signed(STRANGER, claims_for(NOW)), "assertion_key_unknown"),
    "another's key under this kid": (
        signed(STRANGER, claims_for(NOW), kid=KEY.kid),
        "assertion_signature_wrong",
    ),
    "key in the header": (
        signed(STRANGER, claims_for(NOW), kid=None, jwk=STRANGER.public_jwk()),
        "assertion_signature_wrong",
    ),
    "key by address": (
        signed(STRANGER, claims_for(NOW), kid=None, jku="https://evil.example/jwks"),
        "assertion_signature_wrong",
    ),
    "kid a path": (header(kid="../../dev/null"), "assertion_key_unknown"),
    "kid empty": (header(kid=""), "assertion_malformed"),
    "kid huge": (header(kid="k" * 300), "assertion_malformed"),
    "kid a number": (header(kid=1), "assertion_malformed"),
    "changed claims": (
        cut(lambda parts: [parts[0], base64url.encode(GOOD.encode()).decode(), parts[2]]),
        "assertion_signature_wrong",
    ),
    "psychic signature": (
        cut(lambda parts: [*parts[:2], base64url.encode(bytes(64)).decode()]),
        "assertion_signature_wrong",
    ),
    # The kind
    **{
        f"typ {typ}": (header(typ=typ), "assertion_typ_refused")
        for typ in ("at+jwt", "application/at+jwt", "dpop+jwt", "DPoP+JWT", "secevent+jwt", "JOSE")
    },
    "typ a number": (header(typ=1), "assertion_malformed"),
    "a dpop proof": (claims(htm="POST", htu=ENDPOINT), "assertion_typ_refused"),
    "a security event": (claims(events={}), "assertion_typ_refused"),
    "nested": (header(cty="JWT"), "assertion_malformed"),
    # Who
    "no iss": (claims(iss=None), "assertion_iss_missing"),
    "no sub": (claims(sub=None), "assertion_sub_missing"),
    "iss another": (claims(iss="dev2"), "assertion_iss_is_not_sub"),
    "iss the server": (claims(iss=ISSUER), "assertion_iss_is_not_sub"),
    "iss in another case": (claims(iss="DEV1"), "assertion_iss_is_not_sub"),
    "sub a list": (claims(sub=["dev1"]), "assertion_sub_invalid"),
    "sub empty": (claims(iss="", sub=""), "assertion_iss_invalid"),
    "nobody": (claims(iss="nobody", sub="nobody"), "client_unknown"),
    # For whom
    "no aud": (claims(aud=None), "assertion_aud_missing"),
    "aud null": (text(GOOD.replace(f'"{ISSUER}"', "null")), "assertion_aud_invalid"),
    "aud a number": (claims(aud=1), "assertion_aud_invalid"),
    "aud empty": (claims(aud=""), "assertion_aud_refused"),
    "aud nobody": (claims(aud=[]), "assertion_aud_refused"),
    "aud with a slash": (claims(aud=ISSUER + "/"), "assertion_aud_refused"),
    "aud in another case": (claims(aud=ISSUER.upper()), "assertion_aud_refused"),
    "aud of tokens": (claims(aud="mqtt"), "assertion_aud_refused"),
    "aud another endpoint": (claims(aud=ISSUER + "/oauth2/revocations"), "assertion_aud_refused"),
    "aud another server": (claims(aud="https://evil.example"), "assertion_aud_refused"),
    "aud with another server": (
        claims(aud=[ISSUER, "https://evil.example"]),
        "assertion_aud_refused",
    ),
    "aud nested": (claims(aud=[[ISSUER]]), "assertion_aud_invalid"),
    # When
    "no exp": (claims(exp=None), "assertion_exp_missing"),
    "exp a text": (claims(exp="1900000000"), "assertion_exp_invalid"),
    "exp true": (claims(exp=True), "assertion_exp_invalid"),
    "exp nan": (text(GOOD[:-1] + ', "nbf": NaN}'), "assertion_malformed"),
    "exp huge": (claims(exp=2**60), "assertion_exp_invalid"),
    "exp over": (claims(exp=int(NOW) - 1), "assertion_expired"),
    "exp now": (claims(exp=NOW), "assertion_expired"),
    "exp too far": (claims(exp=int(NOW) + 600 + CLOCK_SKEW + 1), "assertion_exp_too_far"),
    "exp in milliseconds": (claims(exp=int(NOW * 1000)), "assertion_exp_too_far"),
    "nbf in the future": (claims(nbf=int(NOW) + CLOCK_SKEW + 1), "assertion_nbf_in_future"),
    "nbf a text": (claims(nbf="0"), "assertion_nbf_invalid"),
    "iat in the future": (claims(iat=int(NOW) + CLOCK_SKEW + 1), "assertion_iat_in_future"),
    "iat long ago": (claims(iat=int(NOW) - 600 - CLOCK_SKEW - 1), "assertion_iat_too_old"),
    "iat a list": (claims(iat=[1]), "assertion_iat_invalid"),
    # Once
    "no jti": (claims(jti=None), "assertion_jti_missing"),
    "jti empty": (claims(jti=""), "assertion_jti_invalid"),
    "jti a number": (claims(jti=1), "assertion_jti_invalid"),
    "jti huge": (claims(jti="j" * 1_025), "assertion_jti_invalid"),
    "jti with a nul": (claims(jti="a\0"), "assertion_jti_invalid"),
}


@pytest.mark.anyio
@pytest.mark.parametrize("name", TABLE)
async def test_every_attack_gets_the_same_answer_and_its_own_reason(
    world: World, name: str
) -> None:
    assertion, reason = TABLE[name]
    world.register.add_device(DeviceWish("dev1", jwks=jwks_of(KEY)))
    nobody = signed(KEY, claims_for(NOW, "nobody"))
    unknown = await ask(world, nobody)
    answer = await ask(world, assertion)
    assert answer.content == unknown.content
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    event = world.events[-1]
    assert (event.outcome, event.error, event.reason) == ("refused", "invalid_client", reason)
    assert assertion not in repr(event)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "kind",
    [
        "urn:ietf:params:oauth:client-assertion-type:saml2-bearer",
        "urn:ietf:params:oauth:client-assertion-type:JWT-bearer",
        "urn:ietf:params:oauth:grant-type:jwt-bearer",
        "jwt-bearer",
        TYPE + " ",
    ],
)
async def test_another_type_of_assertion_is_refused(world: World, kind: str) -> None:
    world.register.add_device(DeviceWish("dev1", jwks=jwks_of(KEY)))
    answer = await ask(world, claims(), client_assertion_type=kind)
    assert answer.json()["error"] == "invalid_client"
    assert world.events[-1].reason == "assertion_type_unsupported"


@pytest.mark.anyio
@pytest.mark.parametrize(
    "assertion",
    [
        header(typ="JWT"),
        header(typ="application/client-authentication+jwt"),
        header(x5c=["MIIB"], jku="https://evil.example/jwks"),
        claims(iat=None),
        claims(nbf=int(NOW) + CLOCK_SKEW, iat=int(NOW) + CLOCK_SKEW),
        claims(exp=int(NOW) + 600),
        claims(exp=NOW + 0.5),
        claims(more={"nested": [1]}),
    ],
)
async def test_the_neighbours_of_attacks_are_good(world: World, assertion: str) -> None:
    world.register.add_device(DeviceWish("dev1", jwks=jwks_of(KEY)))
    assert (await ask(world, assertion)).status_code == 200


def refusal(assertion: str, rules: AssertionRules = RULES, now: float = NOW) -> OAuthError | None:
    """Return why an assertion would be refused whoever has signed it."""
    try:
        shown = read_assertion({"client_assertion": assertion, "client_assertion_type": TYPE})
        check_assertion(shown, rules, now)
    except OAuthError as error:
        return error
    assert shown.client_id not in repr(shown.jws)
    return None


@given(
    audience=st.one_of(
        st.sampled_from([ISSUER, ENDPOINT]),
        st.text(max_size=30),
        st.lists(st.sampled_from([ISSUER, ENDPOINT, "https://evil.example"]), max_size=3),
    )
)
def test_an_assertion_is_for_nobody_beside_this_server(audience: str | list[str]) -> None:
    """And with the strict rules its audience is the issuer as one string, and nothing else."""
    assertion = signed(KEY, claims_for(NOW, aud=audience))
    named = [audience] if isinstance(audience, str) else audience
    for rules, ours in (
        (RULES, bool(named) and {ISSUER, ENDPOINT}.issuperset(named)),
        (STRICT, audience == ISSUER),
    ):
        refused = refusal(assertion, rules)
        assert (refused is None) == ours
        assert refused is None or refused.reason == "assertion_aud_refused"


@given(
    exp=st.integers(-2_000, 2_000),
    iat=st.none() | st.integers(-2_000, 2_000),
    nbf=st.none() | st.integers(-2_000, 2_000),
)
def test_an_assertion_is_good_within_its_time_and_never_for_long(
    exp: int, iat: int | None, nbf: int | None
) -> None:
    now = 1_800_000_000
    moved: dict[str, Any] = {
        name: None if it is None else now + it for name, it in (("iat", iat), ("nbf", nbf))
    }
    assertion = signed(KEY, claims_for(now, exp=now + exp, **moved))
    good = (
        0 < exp <= 600 + CLOCK_SKEW
        and (iat is None or -600 - CLOCK_SKEW <= iat <= CLOCK_SKEW)
        and (nbf is None or nbf <= CLOCK_SKEW)
    )
    assert (refusal(assertion, now=now) is None) == good


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda data: data.decode("latin-1")))
def test_any_text_is_an_assertion_or_an_error_that_does_not_repeat_it(assertion: str) -> None:
    refused = refusal(assertion)
    assert refused is not None
    assert refused.error == "invalid_client"
    assert len(assertion) < 20 or assertion not in f"{refused} {refused.description}"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=4,
)


@given(name=st.sampled_from(["iss", "sub", "aud", "exp", "iat", "nbf", "jti"]), value=json_values)
def test_any_value_of_any_claim_is_taken_or_refused_and_never_another_error(
    name: str, value: Any
) -> None:
    refused = refusal(signed(KEY, claims_for(NOW) | {name: value}))
    assert refused is None or refused.error == "invalid_client"
