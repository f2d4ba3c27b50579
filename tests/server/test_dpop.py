# SPDX-License-Identifier: Apache-2.0
"""DPoP at the token endpoint (RFC 9449): what a token is bound to, and that a proof counts once."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from keyfob.server.app import create_app
from keyfob.server.client_metadata import ClientMetadata
from keyfob.server.limits import LimitSettings
from keyfob.server.mutual_tls import MutualTls
from keyfob.server.stores.store import open_store
from keyfob.server.wishes import ApplicationWish, DeviceWish
from keyfob.tokens.keys import thumbprint
from keyfob.tokens.sign import SigningKey
from tests.server import assertions
from tests.server.databases import all_impatient
from tests.server.proofs import ask, claims_for, nonce_of, post, public_jwk, signed
from tests.server.world import ISSUER, World, claims_of

pytestmark = pytest.mark.anyio

KEY = SigningKey.generate("ES256")
OTHER = SigningKey.generate("ES256")
FEW_MISTAKES = LimitSettings(
    failure_burst=1, failure_rate=0.001, address_failure_burst=1, address_failure_rate=0.001
)


@pytest.fixture
def device(world: World) -> tuple[str, str]:
    return "dev1", world.register.add_device("dev1").secret


async def proof(
    world: World, device: tuple[str, str], key: SigningKey = KEY, **changes: Any
) -> str:
    changes = {"nonce": await nonce_of(world, device)} | changes
    return signed(key, claims_for(world.clock.now, **changes))


@contextlib.asynccontextmanager
async def another_server(world: World, **changes: Any) -> AsyncIterator[World]:
    """A second application over the same database, as another process is."""
    settings = dataclasses.replace(world.settings, **changes)
    app = create_app(
        settings, clock=world.clock, sleep=world.clock.sleep, audit=world.events.append
    )
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=ISSUER) as http,
    ):
        yield dataclasses.replace(world, http=http)


@pytest.mark.parametrize("alg", ["ES256", "EdDSA", "Ed25519", "RS256", "PS256"])
async def test_a_token_is_bound_to_the_key_of_its_proof_whatever_the_algorithm(
    world: World, device: tuple[str, str], alg: str
) -> None:
    key = SigningKey.generate(alg)
    answer = await ask(world, await proof(world, device, key), device)
    assert (answer.status_code, answer.json()["token_type"]) == (200, "DPoP")
    jwks = (await world.http.get("/oauth2/jwks")).json()
    _, claims = claims_of(answer.json()["access_token"], jwks)
    assert claims["cnf"] == {"jkt": thumbprint(key.public_jwk())}
    assert (world.events[-1].outcome, world.events[-1].subject) == ("issued", "dev1")


async def test_a_proof_is_for_the_endpoint_of_clients_with_certificates_too_where_there_is_one(
    world: World, device: tuple[str, str]
) -> None:
    """By RFC 8705 section 5 it is another URL, and the proof names the one that was asked."""
    elsewhere = "https://mtls.example:8444/oauth2/token"
    there = MutualTls(asked=True, base="https://mtls.example:8444/")
    async with another_server(world, mutual_tls=there) as server:
        answer = await ask(server, await proof(server, device, htu=elsewhere), device)
        assert (answer.status_code, answer.json()["token_type"]) == (200, "DPoP")
        assert (await ask(server, await proof(server, device), device)).status_code == 200
    answer = await ask(world, await proof(world, device, htu=elsewhere), device)
    assert answer.json()["error"] == "invalid_dpop_proof"


async def test_without_a_proof_a_token_is_a_bearers_and_no_nonce_comes(
    world: World, device: tuple[str, str]
) -> None:
    answer = await world.device_token(*device)
    assert answer.json()["token_type"] == "Bearer"
    assert "DPoP-Nonce" not in answer.headers
    jwks = (await world.http.get("/oauth2/jwks")).json()
    assert "cnf" not in claims_of(answer.json()["access_token"], jwks)[1]


async def test_introspection_says_dpop_and_names_the_key(
    world: World, device: tuple[str, str]
) -> None:
    _, secret = world.register.add_service("asker", scopes=["keyfob.introspection"])
    token = (await ask(world, await proof(world, device), device)).json()["access_token"]
    document = (
        await world.http.post("/oauth2/introspect", data={"token": token}, auth=("asker", secret))
    ).json()
    assert document["token_type"] == "DPoP"
    assert document["cnf"] == {"jkt": KEY.kid}


async def test_the_metadata_names_the_algorithms(world: World) -> None:
    document = (await world.http.get("/.well-known/oauth-authorization-server")).json()
    algorithms = document["dpop_signing_alg_values_supported"]
    assert set(algorithms) == {"ES256", "EdDSA", "Ed25519", "RS256", "PS256"}


async def test_the_key_of_rfc_9449_has_the_thumbprint_that_it_prints() -> None:
    jwk = {
        "kty": "EC",
        "x": "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs",
        "y": "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA",
        "crv": "P-256",
    }
    assert thumbprint(jwk) == "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"


# Once


async def test_a_proof_counts_once_and_the_next_one_anew(
    world: World, device: tuple[str, str]
) -> None:
    shown = await proof(world, device)
    assert (await ask(world, shown, device)).status_code == 200
    for _ in range(2):
        answer = await ask(world, shown, device)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_dpop_proof")
        assert world.events[-1].reason == "dpop_replayed"
    assert (await ask(world, await proof(world, device), device)).status_code == 200


async def test_a_jti_is_used_up_for_its_key_and_for_no_other(
    world: World, device: tuple[str, str]
) -> None:
    assert (await ask(world, await proof(world, device, jti="one"), device)).status_code == 200
    assert (await ask(world, await proof(world, device, jti="one"), device)).is_error
    other = await proof(world, device, OTHER, jti="one")
    assert (await ask(world, other, device)).status_code == 200


async def test_of_many_at_once_one_is_accepted_also_by_two_servers_on_one_database(
    world: World, device: tuple[str, str]
) -> None:
    shown = await proof(world, device)
    async with another_server(world) as second:
        answers = await asyncio.gather(*(ask(each, shown, device) for each in (world, second) * 10))
    assert sorted(answer.status_code for answer in answers) == [200] + [400] * 19


async def test_a_use_is_on_the_disk_with_the_answer_and_outlives_the_server(
    world: World, device: tuple[str, str]
) -> None:
    shown = await proof(world, device)
    assert (await ask(world, shown, device)).status_code == 200
    store = open_store(world.settings.database)
    rows = store.connection.execute("SELECT length(proof_hash) FROM used_dpop_proof").fetchall()
    store.close()
    assert rows == [(32,)]
    async with another_server(world) as restarted:
        assert (await ask(restarted, shown, device)).json()["error"] == "invalid_dpop_proof"


@pytest.mark.parametrize("nonces", ["required", "off"])
async def test_no_proof_is_forgotten_while_it_is_good(
    world: World, device: tuple[str, str], nonces: str
) -> None:
    """Second for second: what is refused as replayed, then as old, and never accepted."""
    async with another_server(world, dpop_nonce=nonces) as server:
        nonce = await nonce_of(world, device) if nonces == "required" else None
        ahead = int(world.clock.now) + 30
        shown = signed(KEY, claims_for(ahead, nonce=nonce))
        assert (await ask(server, shown, device)).status_code == 200
        reasons = []
        for _ in range(60):
            world.clock.now += 5
            fresh = await nonce_of(world, device) if nonces == "required" else None
            other = signed(OTHER, claims_for(world.clock.now, nonce=fresh))
            assert (await ask(server, other, device)).status_code == 200  # which sweeps
            answer = await ask(server, shown, device)
            assert answer.status_code == 400
            reasons.append(answer.json()["error"])
    assert reasons[0] == "invalid_dpop_proof"
    assert reasons[-1] == ("use_dpop_nonce" if nonces == "required" else "invalid_dpop_proof")


async def test_what_is_over_is_removed(world: World, device: tuple[str, str]) -> None:
    for _ in range(5):
        assert (await ask(world, await proof(world, device), device)).status_code == 200
    world.clock.now += 400
    assert (await ask(world, await proof(world, device), device)).status_code == 200
    store = open_store(world.settings.database)
    assert store.connection.execute("SELECT count(*) FROM used_dpop_proof").fetchone() == (1,)
    store.close()


async def test_a_wrong_signature_uses_nothing_up(world: World, device: tuple[str, str]) -> None:
    claims = claims_for(world.clock.now, nonce=await nonce_of(world, device))
    assert (await ask(world, signed(OTHER, claims, jwk=public_jwk(KEY)), device)).is_error
    assert (await ask(world, signed(KEY, claims), device)).status_code == 200


async def test_a_use_that_cannot_be_written_is_a_refusal(
    world: World, device: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = await proof(world, device)
    all_impatient(monkeypatch)
    store = open_store(world.settings.database)
    with store.transaction():
        answer = await ask(world, shown, device)
    store.close()
    assert (answer.status_code, answer.json()["error"]) == (503, "temporarily_unavailable")
    assert world.events[-1].reason == "dpop_use_not_written"


async def test_a_device_that_waits_for_the_next_second_is_no_replay(
    world: World, device: tuple[str, str]
) -> None:
    shown = await proof(world, device)
    world.register.disable_device("dev1")
    world.register.enable_device("dev1")
    assert (await ask(world, shown, device)).status_code == 200
    assert len(world.clock.slept) == 1


# Nonces


async def test_a_nonce_is_asked_for_and_comes_with_every_answer(
    world: World, device: tuple[str, str]
) -> None:
    before = len(world.events)
    answer = await ask(world, signed(KEY, claims_for(world.clock.now)), device)
    assert (answer.status_code, answer.json()["error"]) == (400, "use_dpop_nonce")
    assert answer.headers["Cache-Control"] == "no-store"
    assert len(world.events) == before  # a step of the protocol is no event
    nonce = answer.headers["DPoP-Nonce"]
    answer = await ask(world, signed(KEY, claims_for(world.clock.now, nonce=nonce)), device)
    assert answer.status_code == 200
    world.clock.now += 60
    nonce = answer.headers["DPoP-Nonce"]
    answer = await ask(world, signed(KEY, claims_for(world.clock.now, nonce=nonce)), device)
    assert answer.status_code == 200
    assert answer.headers["DPoP-Nonce"] != nonce


async def test_a_nonce_is_good_for_a_minute_at_least_and_for_two_at_most(
    world: World, device: tuple[str, str]
) -> None:
    nonce = await nonce_of(world, device)
    for seconds, error in ((59, None), (121, "use_dpop_nonce")):
        world.clock.now += seconds
        answer = await ask(world, signed(KEY, claims_for(world.clock.now, nonce=nonce)), device)
        assert answer.json().get("error") == error


async def test_a_nonce_that_is_none_of_ours_is_told_and_answered_with_one(
    world: World, device: tuple[str, str]
) -> None:
    shown = signed(KEY, claims_for(world.clock.now, nonce="A" * 32))
    answer = await ask(world, shown, device)
    assert answer.json()["error"] == "use_dpop_nonce"
    assert answer.headers["DPoP-Nonce"]
    assert world.events[-1].reason == "dpop_nonce_unknown"


async def test_a_nonce_of_one_process_is_good_in_another_and_after_a_restart(
    world: World, device: tuple[str, str]
) -> None:
    shown = await proof(world, device)
    async with another_server(world) as second:
        assert (await ask(second, shown, device)).status_code == 200


async def test_with_a_nonce_the_devices_clock_may_be_anywhere(
    world: World, device: tuple[str, str]
) -> None:
    """A device without a clock of its own has 1970 (RFC 9449 section 4.3, step 11)."""
    for iat in (0, int(world.clock.now) + 1_000_000):
        assert (await ask(world, await proof(world, device, iat=iat), device)).status_code == 200


async def test_without_nonces_a_proof_is_good_by_its_iat(
    world: World, device: tuple[str, str]
) -> None:
    now = int(world.clock.now)
    async with another_server(world, dpop_nonce="off") as server:
        for iat, reason in (
            (now, None),
            (now + 30, None),
            (now - 89, None),
            (now + 31, "dpop_iat_in_future"),
            (now - 91, "dpop_iat_too_old"),
        ):
            answer = await ask(server, signed(KEY, claims_for(now, iat=iat)), device)
            assert (answer.status_code == 200) == (reason is None)
            assert "DPoP-Nonce" not in answer.headers
            if reason is not None:
                assert world.events[-1].reason == reason


async def test_a_nonce_missing_is_no_mistake_that_limits_count(
    world: World, device: tuple[str, str]
) -> None:
    """Or the honest clients of a public application would lock their network out."""
    world.register.add_application(ApplicationWish("phone", public=True))
    form = {"grant_type": "password", "client_id": "phone"}
    form |= {"username": device[0], "password": device[1]}
    async with another_server(world, limits=FEW_MISTAKES) as server:
        for _ in range(5):
            answer = await post(server, signed(KEY, claims_for(world.clock.now)), form)
            assert answer.json()["error"] == "use_dpop_nonce"


async def test_nonces_that_are_made_up_under_a_public_name_are_limited_and_do_not_fill_the_audit(
    world: World,
) -> None:
    world.register.add_application(ApplicationWish("phone", public=True, refresh=True))
    before = len(world.events)
    async with another_server(world, limits=FEW_MISTAKES) as server:
        for more in ({"grant_type": "password", "username": "x", "password": "x"}, {}):
            form = {"grant_type": "refresh_token", "client_id": "phone"} | more
            for _ in range(10):
                shown = signed(KEY, claims_for(world.clock.now, nonce="A" * 32))
                await post(server, shown, form)
    told = [event.reason for event in world.events[before:]]
    assert told.count("dpop_nonce_unknown") <= 2


async def test_wrong_proofs_under_a_public_name_are_mistakes_that_limits_count(
    world: World, device: tuple[str, str]
) -> None:
    world.register.add_application(ApplicationWish("phone", public=True))
    form = {"grant_type": "password", "client_id": "phone", "username": "x", "password": "x"}
    async with another_server(world, limits=FEW_MISTAKES) as server:
        answers = [await post(server, "no.proof.x", form) for _ in range(4)]
    assert [answer.status_code for answer in answers][2:] == [429, 429]


async def test_whoever_has_to_wait_writes_nothing_by_his_proofs(
    world: World, device: tuple[str, str]
) -> None:
    """A public application's name is no secret: behind it only the device proves anything."""
    world.register.add_application(ApplicationWish("phone", public=True))
    form = {"grant_type": "password", "client_id": "phone"}
    form |= {"username": device[0], "password": "wrong"}
    nonce = await nonce_of(world, device)
    async with another_server(world, limits=FEW_MISTAKES) as server:
        answers = [
            await post(server, signed(KEY, claims_for(world.clock.now, nonce=nonce)), form)
            for _ in range(20)
        ]
    assert [answer.status_code for answer in answers] == [400] + [429] * 19
    store = open_store(world.settings.database)
    assert store.connection.execute("SELECT count(*) FROM used_dpop_proof").fetchone() == (1,)
    store.close()


# Clients that need one


async def test_a_client_that_is_registered_for_it_gets_nothing_without_a_proof(
    world: World,
) -> None:
    secret = world.register.add_device(
        DeviceWish("bound", metadata=ClientMetadata(dpop_bound_access_tokens=True))
    ).secret
    answer = await world.device_token("bound", secret)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_dpop_proof")
    assert world.events[-1].reason == "dpop_proof_required"
    shown = await proof(world, ("bound", secret))
    assert (await ask(world, shown, ("bound", secret))).json()["token_type"] == "DPoP"


async def test_a_proof_goes_with_private_key_jwt_and_the_keys_are_two(world: World) -> None:
    world.register.add_device(DeviceWish("dev2", jwks=assertions.jwks_of(OTHER)))
    device = "dev3", world.register.add_device("dev3").secret
    shown = await proof(world, device)
    assertion = assertions.signed(OTHER, assertions.claims_for(world.clock.now, "dev2"))
    form = {
        "grant_type": "client_credentials",
        "client_assertion_type": assertions.TYPE,
        "client_assertion": assertion,
    }
    answer = await post(world, shown, form)
    assert (answer.status_code, answer.json()["token_type"]) == (200, "DPoP")


# Refresh tokens


async def login(world: World, app: str, key: SigningKey | None, secret: str = "") -> str:
    device = f"d-{app}", world.register.add_device(f"d-{app}").secret
    form = {"grant_type": "password", "client_id": app, "client_secret": secret}
    form |= {"username": device[0], "password": device[1]}
    shown = [] if key is None else [await proof(world, device, key)]
    answer = await post(world, shown, form)
    assert answer.status_code == 200
    return str(answer.json()["refresh_token"])


async def refreshed(
    world: World, app: str, token: str, key: SigningKey | None, secret: str = ""
) -> httpx.Response:
    form = {"grant_type": "refresh_token", "client_id": app, "client_secret": secret}
    device = f"x-{len(world.events)}", ""
    device = device[0], world.register.add_device(device[0]).secret
    shown = [] if key is None else [await proof(world, device, key)]
    return await post(world, shown, form | {"refresh_token": token})


async def test_a_public_clients_refresh_token_is_bound_to_its_key(world: World) -> None:
    world.register.add_application(ApplicationWish("phone", public=True, refresh=True))
    token = await login(world, "phone", KEY)
    for wrong in (OTHER, None):
        answer = await refreshed(world, "phone", token, wrong)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
        assert world.events[-1].reason == "refresh_token_of_another_key"
        assert world.events[-1].subject == "d-phone"
    answer = await refreshed(world, "phone", token, KEY)
    assert (answer.status_code, answer.json()["token_type"]) == (200, "DPoP")
    successor = answer.json()["refresh_token"]
    assert (await refreshed(world, "phone", successor, OTHER)).is_error
    assert (await refreshed(world, "phone", successor, KEY)).status_code == 200


@pytest.mark.parametrize("public", [True, False])
async def test_a_family_from_before_dpop_goes_on_only_where_the_client_proves_itself(
    world: World, public: bool
) -> None:
    wish = ApplicationWish("app", public=public, refresh=True)
    secret = world.register.add_application(wish).secret or ""
    token = await login(world, "app", None, secret)
    store = open_store(world.settings.database)
    with store.transaction():
        store.set_metadata("app", ClientMetadata(dpop_bound_access_tokens=True))
    answer = await refreshed(world, "app", token, None, secret)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_dpop_proof")
    answer = await refreshed(world, "app", token, OTHER, secret)
    if not public:
        assert (answer.status_code, answer.json()["token_type"]) == (200, "DPoP")
    else:
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
        assert world.events[-1].reason == "refresh_token_not_bound"
        assert world.events[-1].subject == "d-app"
        # Nothing was used up or ended by it.
        with store.transaction():
            store.set_metadata("app", ClientMetadata())
        assert (await refreshed(world, "app", token, None)).status_code == 200
    store.close()


async def test_a_public_family_that_a_proof_was_shown_for_by_choice_needs_no_more_than_that(
    world: World,
) -> None:
    """A proof that nobody asked for binds the access token, and leaves the family as it began."""
    world.register.add_application(ApplicationWish("app", public=True, refresh=True))
    token = await login(world, "app", None)
    answer = await refreshed(world, "app", token, KEY)
    assert (answer.status_code, answer.json()["token_type"]) == (200, "DPoP")
    answer = await refreshed(world, "app", answer.json()["refresh_token"], None)
    assert (answer.status_code, answer.json()["token_type"]) == (200, "Bearer")


async def test_a_confidential_clients_refresh_token_is_not_and_it_may_change_its_key(
    world: World,
) -> None:
    secret = world.register.add_application(ApplicationWish("backend", refresh=True)).secret or ""
    token = await login(world, "backend", KEY, secret)
    answer = await refreshed(world, "backend", token, OTHER, secret)
    assert (answer.status_code, answer.json()["token_type"]) == (200, "DPoP")


async def test_a_login_without_a_proof_binds_no_refresh_token(world: World) -> None:
    world.register.add_application(ApplicationWish("phone", public=True, refresh=True))
    token = await login(world, "phone", None)
    answer = await refreshed(world, "phone", token, KEY)
    assert (answer.status_code, answer.json()["token_type"]) == (200, "DPoP")
