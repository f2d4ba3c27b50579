# SPDX-License-Identifier: Apache-2.0
"""JWT bearer (RFC 7523 section 2.1): another issuer vouches for devices, and only for its own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from keyfob.errors import ConfigError
from keyfob.server.client_metadata import ClientMetadata
from keyfob.server.endpoints.metadata import assertion_rules
from keyfob.server.oauth_errors import OAuthError
from keyfob.server.settings import ServerSettings
from keyfob.server.stores.used_assertions import StoredUsedAssertions
from keyfob.server.stores.writer import Writer
from keyfob.server.trusted_issuers.assertions import trusted_assertions
from keyfob.server.trusted_issuers.settings import TrustedAssertionIssuer
from keyfob.server.wishes import ApplicationWish, DeviceWish, Rights
from keyfob.tokens.sign import SigningKey
from tests.server.assertions import ENDPOINT, claims_for, jwks_of, signed
from tests.server.databases import rows
from tests.server.granting import JWT_BEARER
from tests.server.world import ISSUER, World, claims_of

pytestmark = pytest.mark.anyio

CLOUD, FACTORY = "https://cloud.example", "https://factory.example"
KEY, FACTORY_KEY, STRANGER = (SigningKey.generate() for _ in range(3))
PREFIX = "system:serviceaccount:fleet:"


@pytest.fixture
def settings(settings: ServerSettings) -> ServerSettings:
    cloud = TrustedAssertionIssuer(
        name="cloud",
        issuer=CLOUD,
        devices=("dev*",),
        jwks=jwks_of(KEY).decode(),
        audience=("api://exchange",),
    )
    factory = TrustedAssertionIssuer(
        name="factory",
        issuer=FACTORY,
        devices=("dev1", "off"),
        jwks=jwks_of(FACTORY_KEY).decode(),
        device_prefix=PREFIX,
        single_use=False,
        without_client=True,
    )
    return replace(settings, trusted_issuers=(cloud, factory))


@pytest.fixture
def application(world: World) -> str:
    """Register devices and an application that may use the grant; return its secret."""
    register = world.register
    for name in ("dev1", "dev2", "off", "dev-off"):
        register.add_device(DeviceWish(name, rights=Rights(publish=["devices/{device}/#"])))
        register.allow_grant(name, "jwt-bearer")
    register.disable_device("off")
    register.disable_device("dev-off")
    world.clock.now += 2
    issued = register.add_application("app")
    register.allow_grant("app", "jwt-bearer")
    return str(issued.secret)


def made(world: World, key: SigningKey = KEY, header: Any = None, **changes: Any) -> str:
    claims = claims_for(world.clock.now, iss=CLOUD, sub="dev1") | changes
    claims = {name: value for name, value in claims.items() if value is not None}
    return signed(key, claims, **(header or {}))


async def ask(world: World, secret: str, assertion: str, **more: str) -> httpx.Response:
    form = {"grant_type": JWT_BEARER, "assertion": assertion} | more
    return await world.token(auth=("app", secret), **form)


async def alone(world: World, assertion: str, **more: str) -> httpx.Response:
    form = {"grant_type": JWT_BEARER, "assertion": assertion} | more
    return await world.http.post("/oauth2/token", data=form)


async def of(world: World, answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    jwks = (await world.http.get("/oauth2/jwks")).json()
    return claims_of(answer.json()["access_token"], jwks)[1]


async def test_the_token_is_the_devices_and_was_issued_to_the_application(
    world: World, application: str
) -> None:
    answer = await ask(world, application, made(world))
    claims = await of(world, answer)
    assert (claims["sub"], claims["client_id"]) == ("dev1", "app")
    assert claims["scope"] == "mqtt.connect mqtt.publish:devices/dev1/#"
    assert "refresh_token" not in answer.json()


@pytest.mark.sqlite
@pytest.mark.parametrize(
    "changes",
    [
        {"aud": [ISSUER]},
        {"aud": ENDPOINT},
        {"aud": "api://exchange"},
        {"header": {"typ": "JWT"}},
        {"header": {"typ": "authorization-grant+jwt"}},
        {"iat": None},
    ],
)
async def test_what_issuers_of_the_field_write_is_accepted(
    world: World, application: str, changes: dict[str, Any]
) -> None:
    assert (await ask(world, application, made(world, **changes))).status_code == 200


ATTACKS: list[tuple[dict[str, Any], str]] = [
    ({"iss": "https://other.example"}, "assertion_issuer_unknown"),
    ({"iss": CLOUD + "/"}, "assertion_issuer_unknown"),
    ({"iss": ISSUER}, "assertion_issuer_unknown"),
    ({"iss": FACTORY}, "assertion_key_unknown"),
    ({"key": STRANGER}, "assertion_key_unknown"),
    ({"key": STRANGER, "header": {"kid": KEY.kid}}, "assertion_signature_invalid"),
    ({"header": {"alg": "none"}}, "assertion_algorithm_refused"),
    ({"header": {"alg": "HS256"}}, "assertion_algorithm_refused"),
    ({"header": {"typ": "at+jwt"}}, "assertion_type_refused"),
    ({"header": {"typ": "dpop+jwt"}}, "assertion_type_refused"),
    ({"header": {"typ": "client-authentication+jwt"}}, "assertion_type_refused"),
    ({"header": {"crit": ["exp"]}}, "assertion_critical_header_refused"),
    (
        {"header": {"jku": "https://evil.example", "kid": None}, "key": STRANGER},
        "assertion_signature_invalid",
    ),
    ({"events": {}}, "assertion_type_refused"),
    ({"at_hash": "x"}, "assertion_type_refused"),
    ({"cnf": {"jkt": "x" * 43}}, "assertion_cnf_unproven"),
    ({"aud": None}, "assertion_claim_missing"),
    ({"aud": "https://other.example"}, "assertion_audience_mismatch"),
    ({"aud": [ISSUER, "https://other.example"]}, "assertion_aud_others"),
    ({"aud": []}, "assertion_audience_mismatch"),
    ({"exp": None}, "assertion_claim_missing"),
    ({"exp": 1_800_000_000, "iat": None}, "assertion_token_expired"),
    ({"exp": 1_800_100_000}, "assertion_exp_too_far"),
    ({"exp": "1800000060"}, "assertion_claim_invalid"),
    ({"nbf": 1_800_000_050}, "assertion_token_not_yet_valid"),
    ({"iat": 1_800_000_050}, "assertion_token_not_yet_valid"),
    ({"jti": None}, "assertion_jti_missing"),
    ({"sub": None}, "assertion_claim_missing"),
    ({"sub": ""}, "assertion_claim_invalid"),
    ({"sub": ["dev1"]}, "assertion_claim_invalid"),
    ({"sub": "off"}, "assertion_device_not_its_own"),
    ({"sub": "dev1/#"}, "assertion_device_not_its_own"),
    ({"sub": "app"}, "assertion_device_not_its_own"),
    ({"sub": "dev-unknown"}, "device_unknown"),
    ({"sub": "dev-off"}, "device_disabled"),
]


@pytest.mark.sqlite
@pytest.mark.parametrize(("changes", "reason"), ATTACKS)
async def test_whatever_is_wrong_the_answer_is_the_same(
    world: World, application: str, changes: dict[str, Any], reason: str
) -> None:
    assertion = made(world, **changes)
    answer = await ask(world, application, assertion)
    assert (answer.status_code, answer.json()) == (
        400,
        {"error": "invalid_grant", "error_description": "the assertion is not valid"},
    )
    assert world.events[-1].reason == reason
    assert not any(part and part in repr(world.events[-1]) for part in assertion.split("."))


async def test_an_assertion_is_good_once_and_a_refused_request_costs_nothing(
    world: World, application: str
) -> None:
    assertion = made(world)
    answer = await ask(world, application, assertion, scope="mqtt.publish:#")
    assert answer.json()["error"] == "invalid_scope"
    assert (await ask(world, application, assertion)).status_code == 200
    assert (await ask(world, application, assertion)).json()["error"] == "invalid_grant"
    assert world.events[-1].reason == "assertion_replayed"
    assert (await ask(world, application, made(world))).status_code == 200


async def test_a_replayed_assertion_puts_no_opaque_token_in_the_place_of_others(
    world: World, application: str
) -> None:
    issued = world.register.add_application(
        ApplicationWish("app2", metadata=ClientMetadata(access_token_format="opaque"))
    )
    world.register.allow_grant("app2", "jwt-bearer")
    form = {"grant_type": JWT_BEARER, "assertion": made(world)}
    answers = [await world.token(auth=("app2", str(issued.secret)), **form) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 400, 400]
    assert rows(world.settings.database, "SELECT count(*) FROM opaque_token") == [(1,)]
    assert application


async def test_of_many_who_show_one_assertion_at_once_one_is_served(
    world: World, application: str
) -> None:
    assertion = made(world)
    answers = await asyncio.gather(*(ask(world, application, assertion) for _ in range(10)))
    assert sorted(answer.status_code for answer in answers) == [200, *[400] * 9]


async def test_the_same_jti_of_two_issuers_is_two_assertions(
    world: World, application: str
) -> None:
    factory: dict[str, Any] = {
        "key": FACTORY_KEY,
        "iss": FACTORY,
        "sub": PREFIX + "dev1",
        "jti": "one",
    }
    assert (await ask(world, application, made(world, jti="one"))).status_code == 200
    assert (await ask(world, application, made(world, **factory))).status_code == 200


async def test_without_an_assertion_or_with_another_clients_rights_nothing_is_given(
    world: World, application: str
) -> None:
    answer = await world.token(auth=("app", application), grant_type=JWT_BEARER)
    assert answer.json()["error"] == "invalid_request"
    world.register.withdraw_grant("app", "jwt-bearer")
    answer = await ask(world, application, made(world))
    assert answer.json()["error"] == "unauthorized_client"


async def test_a_device_gets_a_token_for_itself_alone(world: World, application: str) -> None:
    secret = world.register.rotate_secret("dev2").secret
    answers = [
        await world.token(auth=("dev2", secret), grant_type=JWT_BEARER, assertion=one)
        for one in (made(world), made(world, sub="dev2"))
    ]
    assert answers[0].json()["error"] == "invalid_grant"
    claims = await of(world, answers[1])
    assert (claims["sub"], claims["client_id"]) == ("dev2", "dev2")


# The assertion alone (RFC 7521 section 3.1)


def workload(world: World, **changes: Any) -> str:
    """As Kubernetes makes it: no typ, the same token for an hour, a subject with colons."""
    claims: dict[str, Any] = {"iss": FACTORY, "sub": PREFIX + "dev1", "jti": None}
    return made(world, **{"key": FACTORY_KEY, **claims, **changes})


async def test_an_assertion_stands_alone_where_its_issuer_is_trusted_that_far(
    world: World, application: str
) -> None:
    assertion = workload(world)
    for _ in range(2):  # its issuer gives out one for many uses
        claims = await of(world, await alone(world, assertion))
        assert (claims["sub"], claims["client_id"]) == ("dev1", "dev1")
    answer = await alone(world, made(world))
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    world.register.withdraw_grant("dev1", "jwt-bearer")
    assert (await alone(world, assertion)).json()["error"] == "unauthorized_client"
    assert application


async def test_the_name_of_a_public_application_authenticates_nobody(
    world: World, application: str
) -> None:
    world.register.add_application(ApplicationWish("open", public=True))
    world.register.allow_grant("open", "jwt-bearer")
    answer = await alone(world, made(world), client_id="open")
    assert answer.json()["error"] == "invalid_grant"
    assert world.events[-1].reason == "client_public"
    answer = await alone(world, workload(world), client_id="open")
    claims = await of(world, answer)
    assert (claims["sub"], claims["client_id"]) == ("dev1", "open")
    assert application


@pytest.mark.sqlite
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"sub": "dev1"}, "assertion_device_prefix_missing"),
        ({"sub": PREFIX + "dev2"}, "assertion_device_not_its_own"),
        ({"sub": PREFIX}, "assertion_device_not_its_own"),
        ({"sub": PREFIX + "off"}, "device_disabled"),
        ({"key": KEY}, "assertion_key_unknown"),
        ({"exp": 1_700_000_000, "iat": None}, "assertion_token_expired"),
    ],
)
async def test_alone_it_is_checked_as_beside_a_client(
    world: World, application: str, changes: dict[str, Any], reason: str
) -> None:
    answer = await alone(world, workload(world, **changes))
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
    assert world.events[-1].reason == reason
    assert application


async def test_it_proves_nobody_anywhere_else(world: World, application: str) -> None:
    token = (await alone(world, workload(world))).json()["access_token"]
    form = {"grant_type": JWT_BEARER, "assertion": workload(world), "token": token}
    for path in ("/oauth2/revoke", "/oauth2/introspect"):
        answer = await world.http.post(path, data=form)
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    answer = await alone(world, workload(world), grant_type="client_credentials")
    assert answer.json()["error"] == "invalid_client"
    assert application


async def test_beside_a_wrong_secret_it_helps_nobody(world: World, application: str) -> None:
    form = {"grant_type": JWT_BEARER, "assertion": workload(world)}
    answer = await world.token(auth=("dev1", "wrong"), **form)
    assert answer.json()["error"] == "invalid_client"
    answer = await alone(world, workload(world), client_id="dev1")
    assert answer.json()["error"] == "invalid_client"
    assert application


async def test_garbage_is_refused_as_an_assertion_is(world: World) -> None:
    for text in ("x", "a.b.c", "é", ".." * 20_000):
        answer = await alone(world, text)
        assert answer.json()["error"] == "invalid_grant"


async def test_the_metadata_names_the_grant_where_an_issuer_is_trusted(world: World) -> None:
    document = (await world.http.get("/.well-known/oauth-authorization-server")).json()
    assert JWT_BEARER in document["grant_types_supported"]


@pytest.fixture
def writer(settings: ServerSettings) -> Iterator[Writer]:
    """What writes the server's database."""
    writer = Writer(settings.database)
    yield writer
    writer.close()


async def test_other_issuers_may_be_trusted_while_it_runs(
    settings: ServerSettings, writer: Writer
) -> None:
    """One that stays keeps the keys that were fetched; one that cannot be changes nothing."""
    cloud, factory = settings.trusted_issuers
    used = StoredUsedAssertions(writer)
    fetched = replace(factory, jwks="", jwks_uri="https://factory.example/keys")
    trusted = trusted_assertions((cloud, fetched), assertion_rules(settings), used)
    assertion, now = signed(KEY, claims_for(NOW, "dev1", iss=CLOUD)), NOW

    def keys(issuer: str) -> object:
        return trusted._known.issuers[issuer].keys

    kept = keys(FACTORY)
    trusted.trust((fetched, replace(cloud, lifetime=60)))
    assert keys(FACTORY) is kept
    assert (await trusted.read(assertion, now)).device == "dev1"
    with pytest.raises(ConfigError):
        trusted.trust((replace(cloud, jwks="", jwks_file=Path("/nowhere")),))
    assert (await trusted.read(assertion, now)).device == "dev1"
    trusted.trust((replace(cloud, devices=("other*",)),))
    with pytest.raises(OAuthError):
        await trusted.read(assertion, now)
    trusted.trust(())
    assert not trusted


# Settings

NOW = 1_800_000_000
GOOD: dict[str, Any] = {
    "name": "n", "issuer": CLOUD, "devices": ("a*",), "jwks": jwks_of(KEY).decode(),
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"devices": ()}, "devices"),
        ({"devices": ("*",)}, "devices"),
        ({"jwks": ""}, "jwks"),
        ({"jwks": "{}"}, "jwks"),
        ({"jwks": '{"keys":[]}'}, "jwks"),
        ({"jwks_uri": "https://a.example"}, "jwks"),
        ({"jwks_file": Path("x")}, "jwks"),
        ({"algorithms": ("HS256",)}, "algorithms"),
        ({"algorithms": ()}, "algorithms"),
        ({"lifetime": 0}, "lifetime"),
        ({"lifetime": 86_401}, "lifetime"),
        ({"audience": ("",)}, "audience"),
        ({"issuer": ""}, "name"),
        ({"device_claim": ""}, "device_claim"),
    ],
)
def test_an_issuer_that_means_nothing_is_refused_at_the_start(
    change: dict[str, Any], key: str
) -> None:
    TrustedAssertionIssuer(**GOOD)
    with pytest.raises(ConfigError) as caught:
        TrustedAssertionIssuer(**GOOD | change)
    assert caught.value.key == key


def test_an_issuer_stands_once(settings: ServerSettings) -> None:
    with pytest.raises(ConfigError):
        replace(settings, trusted_issuers=settings.trusted_issuers * 2)
    itself = TrustedAssertionIssuer(**GOOD | {"issuer": settings.issuer})
    with pytest.raises(ConfigError):
        replace(settings, trusted_issuers=(itself,))
