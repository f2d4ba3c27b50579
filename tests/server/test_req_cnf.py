# SPDX-License-Identifier: Apache-2.0
"""Keys that tokens are bound to for MQTT: req_cnf, registered and symmetric ones (RFC 9201)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfob.errors import ConfigError, NotFoundError
from keyfob.server.client_metadata import ClientMetadata, check_metadata
from keyfob.server.oauth_errors import OAuthError
from keyfob.server.opaque_tokens import is_opaque_token
from keyfob.server.req_cnf import confirmation_key, read_req_cnf
from keyfob.server.stores.store import open_store
from keyfob.server.wishes import ApplicationWish, DeviceWish
from keyfob.tokens import base64url
from keyfob.tokens.introspected import active_members, claims_set
from keyfob.tokens.issuers import TrustedIssuer
from keyfob.tokens.sign import SigningKey
from tests.server import assertions, proofs
from tests.server.databases import everything
from tests.server.world import ISSUER, World, claims_of

pytestmark = pytest.mark.anyio

KEY, OTHER = SigningKey.generate("EdDSA"), SigningKey.generate("ES256")
REGISTERED = ClientMetadata(access_token_confirmation="jwk")
SYMMETRIC = ClientMetadata(access_token_confirmation="symmetric")
SECRET = base64url.encode(bytes(32)).decode()


def bare(key: SigningKey) -> dict[str, str]:
    return proofs.public_jwk(key)


def asking(member: object, name: str = "jwk") -> str:
    return json.dumps({name: member})


async def cnf_of(world: World, answer: httpx.Response) -> Any:
    assert answer.status_code == 200, answer.text
    jwks = (await world.http.get("/oauth2/jwks")).json()
    return claims_of(answer.json()["access_token"], jwks)[1].get("cnf")


async def by_key(world: World, key: SigningKey, **more: str) -> httpx.Response:
    assertion = assertions.signed(key, assertions.claims_for(world.clock.now))
    return await assertions.ask(world, assertion, **more)


@pytest.mark.parametrize("key", [KEY, OTHER, SigningKey.generate("RS256")])
async def test_a_token_is_bound_to_the_public_key_that_is_asked_for(
    world: World, key: SigningKey
) -> None:
    secret = world.register.add_device("dev1").secret
    answer = await world.device_token("dev1", secret, req_cnf=asking(bare(key)))
    assert await cnf_of(world, answer) == {"jwk": bare(key)}
    assert answer.json()["token_type"] == "PoP"
    assert "cnf" not in answer.json()  # the client knows its key


async def test_nothing_that_somebody_writes_beside_the_key_gets_into_a_token(world: World) -> None:
    secret = world.register.add_device("dev1").secret
    jwk = bare(KEY) | {"kid": "x" * 50, "x5c": ["MIIB"], "admin": True, "use": "sig"}
    answer = await world.device_token("dev1", secret, req_cnf=asking(jwk))
    assert await cnf_of(world, answer) == {"jwk": bare(KEY)}


@pytest.mark.parametrize("key", [KEY, OTHER, SigningKey.generate("RS256")])
async def test_what_makes_a_key_of_another_type_is_no_part_of_this_one(
    world: World, key: SigningKey
) -> None:
    """Or who looks for n before kty proves another key than was checked."""
    secret = world.register.add_device("dev1").secret
    strange = {"crv": {"any": ["thing"]}, "x": 1.5, "y": "AQAB", "n": {"a": []}, "e": "AQAB"}
    answer = await world.device_token("dev1", secret, req_cnf=asking(strange | bare(key)))
    assert await cnf_of(world, answer) == {"jwk": bare(key)}


async def test_a_key_is_named_by_the_kid_that_it_is_registered_with(world: World) -> None:
    world.register.add_device(DeviceWish("dev1", jwks=assertions.jwks_of(KEY, OTHER)))
    answer = await by_key(world, KEY, req_cnf=asking(OTHER.kid, "kid"))
    assert await cnf_of(world, answer) == {"jwk": bare(OTHER)}
    answer = await by_key(world, KEY, req_cnf=asking("nobody", "kid"))
    assert answer.json()["error"] == "unsupported_pop_key"
    assert world.events[-1].reason == "pop_key_unknown"


PRIVATE = base64url.encode(bytes(31) + b"\1").decode()
ATTACKS = {
    "no json": ("jwk", "invalid_request", "req_cnf_malformed"),
    "a list": ("[]", "invalid_request", "req_cnf_malformed"),
    "empty": ("{}", "invalid_request", "req_cnf_malformed"),
    "base64url of json": ("eyJqd2siOnt9fQ", "invalid_request", "req_cnf_malformed"),
    "two members": (
        json.dumps({"jwk": bare(KEY), "kid": KEY.kid}),
        "invalid_request",
        "req_cnf_malformed",
    ),
    "a member twice": ('{"kid":"a","kid":"a"}', "invalid_request", "req_cnf_malformed"),
    "a thumbprint": (asking("x", "jkt"), "invalid_request", "req_cnf_malformed"),
    "a certificate": (asking("x", "x5t#S256"), "invalid_request", "req_cnf_malformed"),
    "an encrypted key": (asking("a.b.c.d.e", "jwe"), "invalid_request", "req_cnf_malformed"),
    "a key by address": (asking("https://evil.example/", "jku"), "invalid_request",
                         "req_cnf_malformed"),
    "jwk a text": (asking("x"), "invalid_request", "req_cnf_malformed"),
    "kid a number": (asking(1, "kid"), "invalid_request", "req_cnf_malformed"),
    "kid of nobody": (asking("x", "kid"), "unsupported_pop_key", "pop_key_unknown"),
    "huge": (asking("x" * 4_096, "kid"), "invalid_request", "req_cnf_malformed"),
    "deep": ("[" * 2_000, "invalid_request", "req_cnf_malformed"),
    "nan": ('{"jwk":{"kty":NaN}}', "invalid_request", "req_cnf_malformed"),
    "symmetric": (asking({"kty": "oct", "k": SECRET}), "unsupported_pop_key", "pop_key_symmetric"),
    "symmetric in disguise": (
        asking(bare(KEY) | {"k": SECRET}), "unsupported_pop_key", "pop_key_symmetric",
    ),
    "private": (asking(bare(KEY) | {"d": PRIVATE}), "invalid_request", "pop_key_private"),
    "private rsa": (asking({"kty": "RSA", "p": "AQAB"}), "invalid_request", "pop_key_private"),
    "no kty": (asking({"crv": "Ed25519"}), "unsupported_pop_key", "pop_key_refused"),
    "another curve": (asking(bare(OTHER) | {"crv": "P-521"}), "unsupported_pop_key",
                      "pop_key_refused"),
    "off the curve": (asking(bare(OTHER) | {"x": PRIVATE}), "unsupported_pop_key",
                      "pop_key_refused"),
    "small order": (
        asking({"kty": "OKP", "crv": "Ed25519", "x": "AQ" + "A" * 41}),
        "unsupported_pop_key", "pop_key_refused",
    ),
    "x25519": (asking(bare(KEY) | {"crv": "X25519"}), "unsupported_pop_key", "pop_key_refused"),
    "for encryption": (asking(bare(KEY) | {"use": "enc"}), "unsupported_pop_key",
                       "pop_key_refused"),
    "alg of another": (asking(bare(KEY) | {"alg": "ES256"}), "unsupported_pop_key",
                       "pop_key_refused"),
    "alg hs256": (asking(bare(KEY) | {"alg": "HS256"}), "unsupported_pop_key", "pop_key_refused"),
}  # fmt: skip


@pytest.mark.parametrize("name", ATTACKS)
async def test_every_other_wish_is_refused_with_its_own_reason(world: World, name: str) -> None:
    text, error, reason = ATTACKS[name]
    secret = world.register.add_device("dev1").secret
    answer = await world.device_token("dev1", secret, req_cnf=text)
    assert (answer.status_code, answer.json()["error"]) == (400, error)
    assert world.events[-1].reason == reason
    assert SECRET not in answer.text + repr(world.events)


async def test_a_proof_and_a_key_together_are_refused(world: World) -> None:
    secret = world.register.add_device("dev1").secret
    device = ("dev1", secret)
    nonce = await proofs.nonce_of(world, device)
    proof = proofs.signed(OTHER, proofs.claims_for(world.clock.now, nonce=nonce))
    answer = await proofs.ask(world, proof, device, req_cnf=asking(bare(KEY)))
    assert answer.json()["error"] == "invalid_request"
    assert world.events[-1].reason == "two_confirmations"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=4,
)


def tried(read: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any] | OAuthError:
    try:
        return read()
    except OAuthError as error:
        if error.error not in ("invalid_request", "unsupported_pop_key"):
            raise
        return error


@given(st.text(max_size=100) | json_values.map(json.dumps))
def test_any_text_is_a_wish_or_an_error_that_does_not_repeat_it(text: str) -> None:
    found = tried(lambda: confirmation_key(read_req_cnf(text).get("jwk", {})))
    assert isinstance(found, OAuthError)
    assert len(text) < 20 or text not in f"{found} {found.description}"


@given(name=st.sampled_from([*bare(OTHER), "use", "d", "k", "kid", "key_ops"]), value=json_values)
def test_a_key_that_is_taken_is_public_and_has_no_more_than_it_needs(name: str, value: Any) -> None:
    key = tried(lambda: confirmation_key(bare(OTHER) | {name: value}))
    if not isinstance(key, OAuthError):
        assert set(key) <= {"kty", "crv", "x", "y", "alg"}
        assert {key["x"], key["y"]} == {bare(OTHER)["x"], bare(OTHER)["y"]}


# The registered key


async def test_a_client_registered_for_it_gets_its_own_key_without_asking(world: World) -> None:
    jwks = assertions.jwks_of(KEY)
    world.register.add_device(DeviceWish("dev1", jwks=jwks, metadata=REGISTERED))
    assert await cnf_of(world, await by_key(world, KEY)) == {"jwk": bare(KEY)}
    for asked in (asking(KEY.kid, "kid"), asking(bare(KEY))):
        assert await cnf_of(world, await by_key(world, KEY, req_cnf=asked)) == {"jwk": bare(KEY)}
    answer = await by_key(world, KEY, req_cnf=asking(bare(OTHER)))
    assert answer.json()["error"] == "unsupported_pop_key"
    assert world.events[-1].reason == "pop_key_not_registered"


async def test_of_several_registered_keys_it_has_to_name_one(world: World) -> None:
    jwks = assertions.jwks_of(KEY, OTHER)
    world.register.add_device(DeviceWish("dev1", jwks=jwks, metadata=REGISTERED))
    answer = await by_key(world, KEY)
    assert answer.json()["error"] == "invalid_request"
    assert world.events[-1].reason == "pop_key_ambiguous"
    answer = await by_key(world, KEY, req_cnf=asking(OTHER.kid, "kid"))
    assert await cnf_of(world, answer) == {"jwk": bare(OTHER)}


# Changing it


async def test_what_tokens_are_is_changed_for_the_next_ones(world: World) -> None:
    secret = world.register.add_device("dev1").secret
    assert (await world.device_token("dev1", secret)).json()["token_type"] == "Bearer"
    world.register.set_device_tokens("dev1", SYMMETRIC)
    assert (await world.device_token("dev1", secret)).json()["token_type"] == "PoP"
    with pytest.raises(ConfigError, match="no registered key"):
        world.register.set_device_tokens("dev1", REGISTERED)
    with pytest.raises(NotFoundError):
        world.register.set_device_tokens("nobody", SYMMETRIC)
    world.register.set_device_tokens("dev1", ClientMetadata())
    assert (await world.device_token("dev1", secret)).json()["token_type"] == "Bearer"


# A symmetric key


async def introspected(world: World, token: str, *scopes: str) -> Any:
    name = f"asker{len(scopes)}"
    _, secret = world.register.add_service(name, scopes=["keyfob.introspection", *scopes])
    answer = await world.http.post("/oauth2/introspect", data={"token": token}, auth=(name, secret))
    return answer.json()


async def test_a_symmetric_key_comes_with_an_opaque_token_and_goes_to_who_may_have_it(
    world: World,
) -> None:
    secret = world.register.add_device(DeviceWish("dev1", metadata=SYMMETRIC)).secret
    document = (await world.device_token("dev1", secret)).json()
    token, key = document["access_token"], document["cnf"]["jwk"]
    assert is_opaque_token(token)
    assert document["token_type"] == "PoP"
    assert {name: key[name] for name in ("kty", "alg")} == {"kty": "oct", "alg": "HS256"}
    assert len(base64url.decode(key["k"].encode())) == 32
    allowed = await introspected(world, token, "keyfob.proof-keys")
    assert allowed["cnf"] == {"jwk": key}
    assert allowed["token_type"] == "PoP"
    other = await introspected(world, token)
    assert other["cnf"] == {"kid": key["kid"]}
    assert key["k"] not in json.dumps(other)


async def test_every_token_has_a_key_of_its_own_and_the_database_has_none(world: World) -> None:
    secret = world.register.add_device(DeviceWish("dev1", metadata=SYMMETRIC)).secret
    keys = [(await world.device_token("dev1", secret)).json()["cnf"]["jwk"] for _ in range(3)]
    assert len({key["k"] for key in keys}) == len({key["kid"] for key in keys}) == 3
    store = open_store(world.settings.database)
    salts = [row[0] for row in store.connection.execute("SELECT key_salt FROM opaque_token")]
    store.close()
    dump = everything(world.settings.database)
    for key in keys:
        octets = base64url.decode(key["k"].encode())
        assert key["k"].encode() not in dump
        assert octets not in salts
        assert key["k"] not in repr(world.events)


async def test_the_scope_of_keys_alone_is_none_to_ask_with(world: World) -> None:
    _, secret = world.register.add_service("keys", scopes=["keyfob.proof-keys"])
    answer = await world.http.post("/oauth2/introspect", data={"token": "x"}, auth=("keys", secret))
    assert (answer.status_code, answer.json()["error"]) == (403, "insufficient_scope")


async def test_a_client_with_symmetric_keys_asks_for_no_other(world: World) -> None:
    secret = world.register.add_device(DeviceWish("dev1", metadata=SYMMETRIC)).secret
    answer = await world.device_token("dev1", secret, req_cnf=asking(bare(KEY)))
    assert answer.json()["error"] == "invalid_request"
    assert world.events[-1].reason == "req_cnf_not_taken"


@pytest.mark.parametrize(
    "metadata",
    [
        ClientMetadata(access_token_confirmation="symmetric", access_token_format="jwt"),
        ClientMetadata(access_token_confirmation="symmetric", dpop_bound_access_tokens=True),
        ClientMetadata(access_token_confirmation="jwk", dpop_bound_access_tokens=True),
        ClientMetadata(access_token_confirmation="jwk"),
    ],
)
async def test_what_does_not_go_together_cannot_be_registered(
    world: World, metadata: ClientMetadata
) -> None:
    with pytest.raises(ConfigError):
        world.register.add_device(DeviceWish("dev1", metadata=metadata))
    with pytest.raises(ConfigError):
        world.register.add_application(ApplicationWish("app", metadata=metadata))
    assert world.register.list_devices() == ()


async def test_a_guard_reads_the_answer_as_bound_and_never_as_a_bearers(world: World) -> None:
    """The member that says PoP without saying to what would be the downgrade."""
    issuer = TrustedIssuer(
        name="own", issuer=ISSUER, audiences=frozenset({"mqtt"}), algorithms=frozenset({"ES256"})
    )
    secret = world.register.add_device(DeviceWish("dev1", metadata=SYMMETRIC)).secret
    token = (await world.device_token("dev1", secret)).json()["access_token"]
    answer = await introspected(world, token)
    claims = claims_set(active_members(json.dumps(answer).encode()), issuer)
    assert claims["cnf"]["kid"]
    del answer["cnf"]
    with pytest.raises(Exception, match="bound to a key"):
        claims_set(active_members(json.dumps(answer).encode()), issuer)


def test_what_goes_together_can_be_registered() -> None:
    for metadata in (REGISTERED, SYMMETRIC, ClientMetadata(access_token_format="opaque")):
        check_metadata(metadata, has_keys=True)
