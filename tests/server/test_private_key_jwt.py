# SPDX-License-Identifier: Apache-2.0
"""private_key_jwt at the token endpoint (RFC 7523): what is accepted, and once only."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import httpx
import pytest

from keyfob.errors import ConfigError
from keyfob.server.app import create_app
from keyfob.server.client_authentication.decoys import decoy_for
from keyfob.server.mutual_tls import MutualTls
from keyfob.server.settings import ServerSettings
from keyfob.server.stores.store import open_store
from keyfob.server.wishes import ApplicationWish, DeviceWish
from keyfob.tokens.keys import KeySet, VerificationKey
from keyfob.tokens.sign import SigningKey
from tests.server.assertions import ENDPOINT, TYPE, ask, claims_for, jwks_of, signed
from tests.server.databases import all_impatient
from tests.server.world import ISSUER, World, claims_of

pytestmark = pytest.mark.anyio

KEY = SigningKey.generate("ES256")
OTHER = SigningKey.generate("ES256")


def register(world: World, *keys: SigningKey, name: str = "dev1") -> None:
    world.register.add_device(DeviceWish(name, jwks=jwks_of(*keys or (KEY,))))


def good(world: World, **changes: Any) -> str:
    return signed(KEY, claims_for(world.clock.now, **changes))


@pytest.mark.parametrize("alg", ["ES256", "EdDSA", "Ed25519", "RS256", "PS256"])
async def test_a_key_of_every_algorithm_gets_the_device_its_token(world: World, alg: str) -> None:
    key = SigningKey.generate(alg)
    register(world, key)
    answer = await ask(world, signed(key, claims_for(world.clock.now)))
    assert answer.status_code == 200
    jwks = (await world.http.get("/oauth2/jwks")).json()
    _, claims = claims_of(answer.json()["access_token"], jwks)
    assert (claims["sub"], claims["client_id"]) == ("dev1", "dev1")
    assert (world.events[-1].outcome, world.events[-1].client_id) == ("issued", "dev1")


async def test_the_metadata_names_the_method_and_its_algorithms(world: World) -> None:
    document = (await world.http.get("/.well-known/oauth-authorization-server")).json()
    assert "private_key_jwt" in document["token_endpoint_auth_methods_supported"]
    algorithms = document["token_endpoint_auth_signing_alg_values_supported"]
    assert set(algorithms) == {"ES256", "EdDSA", "Ed25519", "RS256", "PS256"}


async def test_an_application_gets_a_devices_token_with_an_assertion(world: World) -> None:
    world.register.add_application(ApplicationWish("backend", jwks=jwks_of(KEY)))
    secret = world.register.add_device("dev1").secret
    assertion = signed(KEY, claims_for(world.clock.now, "backend"))
    form = {"grant_type": "password", "username": "dev1", "password": secret}
    assert (await ask(world, assertion, **form)).status_code == 200


async def test_a_device_without_a_secret_gets_nothing_by_the_password_grant(world: World) -> None:
    register(world)
    world.register.add_application(ApplicationWish("app", public=True))
    for password in ("kfs_x", "None", "null"):
        answer = await world.token(
            grant_type="password", client_id="app", username="dev1", password=password
        )
        assert answer.json()["error"] == "invalid_grant"


# Once


async def test_an_assertion_is_good_once(world: World) -> None:
    register(world)
    assertion = good(world)
    assert (await ask(world, assertion)).status_code == 200
    for _ in range(2):
        assert (await ask(world, assertion)).json()["error"] == "invalid_client"
        assert world.events[-1].reason == "assertion_replayed"
    assert (await ask(world, good(world))).status_code == 200


async def test_another_assertion_with_the_same_jti_is_a_replay_but_not_of_another_client(
    world: World,
) -> None:
    register(world)
    register(world, name="dev2")
    assert (await ask(world, good(world, jti="one"))).status_code == 200
    assert (await ask(world, good(world, jti="one", exp=int(world.clock.now) + 9))).is_error
    other = signed(KEY, claims_for(world.clock.now, "dev2", jti="one"))
    assert (await ask(world, other)).status_code == 200


async def test_of_many_at_once_one_is_accepted_also_by_two_servers_on_one_database(
    world: World,
) -> None:
    """Two applications with a writer each, as two processes have them."""
    register(world)
    assertion = good(world)
    app = create_app(world.settings, clock=world.clock, sleep=world.clock.sleep)
    form = {
        "grant_type": "client_credentials",
        "client_assertion_type": TYPE,
        "client_assertion": assertion,
    }
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=ISSUER) as second,
    ):
        answers = await asyncio.gather(
            *(http.post("/oauth2/token", data=form) for http in (world.http, second) * 10)
        )
    assert sorted(answer.status_code for answer in answers) == [200] + [401] * 19


async def test_a_use_outlives_the_server_and_is_on_the_disk_with_the_answer(world: World) -> None:
    register(world)
    assertion = good(world)
    assert (await ask(world, assertion)).status_code == 200
    store = open_store(world.settings.database)
    rows = store.connection.execute("SELECT client_id, length(token_hash) FROM used_assertion")
    assert rows.fetchall() == [("dev1", 32)]
    store.close()
    app = create_app(world.settings, clock=world.clock)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=ISSUER) as http,
    ):
        world.http, before = http, world.http
        assert (await ask(world, assertion)).json()["error"] == "invalid_client"
        world.http = before


async def test_a_clock_that_is_set_back_after_the_end_brings_no_assertion_back(
    world: World,
) -> None:
    register(world)
    assertion = good(world)
    assert (await ask(world, assertion)).status_code == 200
    world.clock.now += 61
    assert (await ask(world, good(world))).status_code == 200  # which removes what is over
    world.clock.now -= 20
    assert (await ask(world, assertion)).json()["error"] == "invalid_client"
    assert world.events[-1].reason == "assertion_replayed"


async def test_a_wrong_signature_uses_nothing_up(world: World) -> None:
    """Or somebody else could spoil the jti that a device is about to use."""
    register(world)
    claims = claims_for(world.clock.now)
    assert (await ask(world, signed(OTHER, claims, kid=KEY.kid))).is_error
    assert (await ask(world, signed(KEY, claims))).status_code == 200


async def test_a_use_that_cannot_be_written_is_a_refusal(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(world)
    all_impatient(monkeypatch)
    store = open_store(world.settings.database)
    with store.transaction():
        answer = await ask(world, good(world))
    store.close()
    assert (answer.status_code, answer.json()["error"]) == (503, "temporarily_unavailable")
    assert world.events[-1].reason == "assertion_use_not_written"


async def test_a_device_that_waits_for_the_next_second_is_no_replay(world: World) -> None:
    register(world)
    world.register.disable_device("dev1")
    world.register.enable_device("dev1")
    assert (await ask(world, good(world))).status_code == 200
    assert len(world.clock.slept) == 1


async def test_keys_that_change_while_it_waits_prove_nothing(world: World) -> None:
    register(world)
    world.register.disable_device("dev1")
    world.register.enable_device("dev1")
    world.clock.on_sleep = lambda: world.register.set_device_jwks("dev1", jwks_of(OTHER))
    assert (await ask(world, good(world))).json()["error"] == "invalid_client"


# What is registered is all that works


async def test_a_client_with_keys_only_has_no_secret_that_is_right(world: World) -> None:
    register(world)
    for secret in ("", "kfs_x", "None"):
        answer = await world.device_token("dev1", secret)
        assert answer.json()["error"] == "invalid_client"
        assert world.events[-1].reason in ("secret_wrong", "secret_missing")


async def test_a_client_with_a_secret_only_has_no_key_that_is_right(world: World) -> None:
    world.register.add_device("dev1")
    assert (await ask(world, good(world))).json()["error"] == "invalid_client"
    assert world.events[-1].reason == "keys_missing"


async def test_a_public_client_is_nobody_with_an_assertion(world: World) -> None:
    world.register.add_application(ApplicationWish("phone", public=True))
    assertion = signed(KEY, claims_for(world.clock.now, "phone"))
    assert (await ask(world, assertion, grant_type="password")).json()["error"] == "invalid_client"


async def test_with_both_both_work_until_the_secret_is_removed(world: World) -> None:
    secret = world.register.add_device("dev1").secret
    world.register.set_device_jwks("dev1", jwks_of(KEY))
    assert (await ask(world, good(world))).status_code == 200
    assert (await world.device_token("dev1", secret)).status_code == 200
    world.register.set_device_jwks("dev1", jwks_of(KEY), remove_secret=True)
    assert (await ask(world, good(world))).status_code == 200
    assert (await world.device_token("dev1", secret)).is_error
    assert (await world.device_token("dev1", "")).is_error


async def test_keys_are_changed_without_a_gap_and_old_ones_stop_at_once(world: World) -> None:
    register(world)
    world.register.set_device_jwks("dev1", jwks_of(KEY, OTHER))
    for key in (KEY, OTHER):
        assert (await ask(world, signed(key, claims_for(world.clock.now)))).status_code == 200
    world.register.set_device_jwks("dev1", jwks_of(OTHER))
    assert (await ask(world, good(world))).is_error
    assert world.events[-1].reason == "assertion_key_unknown"
    assert (await ask(world, signed(OTHER, claims_for(world.clock.now)))).status_code == 200


async def test_a_disabled_device_gets_nothing(world: World) -> None:
    register(world)
    world.register.disable_device("dev1")
    assert (await ask(world, good(world))).json()["error"] == "invalid_client"
    assert world.events[-1].reason == "client_disabled"


# The form


async def test_client_id_may_be_repeated_and_must_be_the_same(world: World) -> None:
    register(world)
    assert (await ask(world, good(world), client_id="dev1")).status_code == 200
    assert (await ask(world, good(world), client_id="dev2")).json()["error"] == "invalid_request"


async def test_an_assertion_beside_any_other_way_is_an_invalid_request(world: World) -> None:
    register(world)
    secret = world.register.add_device("dev2").secret
    form = {
        "grant_type": "client_credentials",
        "client_assertion_type": TYPE,
        "client_assertion": good(world),
    }
    for more, auth in (
        ({"client_id": "dev2", "client_secret": secret}, None),
        ({"client_secret": secret}, None),
        ({}, ("dev2", secret)),
        ({}, ("dev1", "")),
    ):
        answer = await world.token(auth=auth, **form | more)
        assert answer.json()["error"] == "invalid_request"
        assert world.events[-1].reason == "two_authentications"


@pytest.mark.parametrize("missing", ["client_assertion", "client_assertion_type"])
async def test_half_an_assertion_is_an_invalid_request(world: World, missing: str) -> None:
    register(world)
    answer = await ask(world, good(world), client_id="dev1", **{missing: ""})
    assert answer.json()["error"] == "invalid_request"
    assert world.events[-1].reason == "parameter_missing"


# The audience


@pytest.mark.parametrize(
    ("audience", "strict"),
    [
        (ISSUER, True),
        ([ISSUER], False),
        (ENDPOINT, False),
        ([ENDPOINT], False),
        ([ISSUER, ENDPOINT], False),
    ],
)
async def test_the_token_endpoint_is_an_audience_where_it_is_set(
    world: World, audience: object, strict: bool
) -> None:
    register(world)
    assert (await ask(world, good(world, aud=audience))).status_code == 200
    settings = dataclasses.replace(world.settings, token_endpoint_audience=False)
    app = create_app(settings, clock=world.clock, audit=world.events.append)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=ISSUER) as http,
    ):
        world.http, before = http, world.http
        answer = await ask(world, good(world, aud=audience))
        world.http = before
    assert answer.status_code == (200 if strict else 401)


@pytest.mark.parametrize("allowed", [True, False])
async def test_the_token_endpoint_for_certificates_is_an_audience_under_the_same_setting(
    world: World, allowed: bool
) -> None:
    register(world)
    alias = "https://mtls.example:9443/oauth2/token"
    assert (await ask(world, good(world, aud=alias))).status_code == 401  # there is none
    settings = dataclasses.replace(
        world.settings,
        token_endpoint_audience=allowed,
        mutual_tls=MutualTls(asked=True, base="https://mtls.example:9443/"),
    )
    app = create_app(settings, clock=world.clock, audit=world.events.append)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=ISSUER) as http,
    ):
        told = (await http.get("/.well-known/oauth-authorization-server")).json()
        assert told["mtls_endpoint_aliases"]["token_endpoint"] == alias
        world.http, before = http, world.http
        for audience in (alias, [ISSUER, ENDPOINT, alias]):
            answer = await ask(world, good(world, aud=audience))
            assert answer.status_code == (200 if allowed else 401)
        other = await ask(world, good(world, aud="https://mtls.example:9443/oauth2/revoke"))
        assert other.status_code == 401
        world.http = before


@pytest.mark.parametrize("seconds", [0, -1, 3_601])
async def test_a_lifetime_of_assertions_outside_the_bounds_is_refused(
    settings: ServerSettings, seconds: int
) -> None:
    with pytest.raises(ConfigError, match="assertion"):
        dataclasses.replace(settings, assertion_lifetime=seconds)


# The same work


@pytest.mark.parametrize("alg", ["ES256", "EdDSA", "RS256", "PS256"])
async def test_unknown_and_wrong_get_one_answer_for_one_signature_check(
    world: World, monkeypatch: pytest.MonkeyPatch, alg: str
) -> None:
    """Neither the answer nor the number of key sets and signatures tells which clients exist."""
    key, wrong = SigningKey.generate(alg), SigningKey.generate(alg)
    register(world, key)
    register(world, key, wrong, name="two-keys")
    register(world, SigningKey.generate("ES256" if alg != "ES256" else "EdDSA"), name="other-alg")
    world.register.add_device("secret-only")
    work: list[str] = []
    read, verify = KeySet.from_jwks, VerificationKey.verify

    def counted_read(document: bytes) -> KeySet:
        work.append("read")
        return read(document)

    def counted_verify(one: VerificationKey, data: bytes, signature: bytes) -> bool:
        work.append(one.algorithm)
        return verify(one, data, signature)

    monkeypatch.setattr(KeySet, "from_jwks", staticmethod(counted_read))
    monkeypatch.setattr(VerificationKey, "verify", counted_verify)
    answers = []
    for client_id, header in (
        ("nobody", {}),
        ("nobody", {"kid": "nobody"}),
        ("dev1", {"kid": key.kid}),
        ("dev1", {"kid": "unknown"}),
        ("dev1", {"kid": None}),
        ("two-keys", {"kid": None}),
        ("other-alg", {"kid": None}),
        ("secret-only", {}),
    ):
        work.clear()
        claims = claims_for(world.clock.now, client_id)
        answer = await ask(world, signed(SigningKey.generate(alg), claims, **header))
        assert answer.status_code == 401
        assert work == ["read", decoy_for(alg).key.algorithm]
        answers.append((answer.content, sorted(answer.headers.items())))
    assert all(answer == answers[0] for answer in answers)


async def test_of_several_keys_the_assertion_has_to_name_one(world: World) -> None:
    register(world, KEY, OTHER)
    answer = await ask(world, signed(KEY, claims_for(world.clock.now), kid=None))
    assert answer.json()["error"] == "invalid_client"
    assert world.events[-1].reason == "assertion_key_ambiguous"
    register(world, KEY, SigningKey.generate("EdDSA"), name="dev2")
    assertion = signed(KEY, claims_for(world.clock.now, "dev2"), kid=None)
    assert (await ask(world, assertion)).status_code == 200
