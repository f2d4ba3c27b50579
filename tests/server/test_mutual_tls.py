# SPDX-License-Identifier: Apache-2.0
"""Certificates at the endpoints: who is let in by one, and what tokens are bound to."""

from __future__ import annotations

import base64
import datetime
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest

from keyfob.errors import ConfigError
from keyfob.http.client_certificate import (
    CLIENT_CERTIFICATE,
    CertificateHeaderError,
    ClientCertificate,
)
from keyfob.http.proxy import CertificateHeader, Proxies
from keyfob.server.app import create_app
from keyfob.server.audit import TokenEvent
from keyfob.server.certificates.identity import CertificateIdentity
from keyfob.server.client_metadata import ClientMetadata
from keyfob.server.mutual_tls import MutualTls
from keyfob.server.register import Register
from keyfob.server.settings import ServerSettings
from keyfob.server.wishes import ApplicationWish, DeviceWish, Rights
from tests.server.client_certificates import Shown, named, signed
from tests.server.test_same_work import counted, note_statements
from tests.server.world import ISSUER, Clock

pytestmark = pytest.mark.anyio

GRANT = {"grant_type": "client_credentials"}
AT = datetime.datetime.fromtimestamp(1_800_000_000, datetime.UTC)
BY_NAME = CertificateIdentity(subject_dn="CN=device")


def made(name: str = "device", **options: Any) -> Shown:
    return signed(named(name), now=AT, **options)


@dataclass
class Connections:
    """The server, as clients see it that show certificates."""

    app: Any
    events: list[TokenEvent]
    register: Register

    async def post(
        self,
        path: str,
        form: dict[str, str],
        shown: Shown | ClientCertificate | Exception | None = None,
        *,
        verified: bool = True,
        auth: tuple[str, str] | None = None,
    ) -> httpx.Response:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            value: Any = shown
            if isinstance(shown, Shown):
                value = ClientCertificate(der=shown.der, verified=verified)
            await self.app({**scope, CLIENT_CERTIFICATE: value}, receive, send)

        basic = httpx.USE_CLIENT_DEFAULT if auth is None else httpx.BasicAuth(*auth)
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url=ISSUER) as http:
            return await http.post(path, data=form, auth=basic)

    async def token(
        self, shown: Any = None, *, verified: bool = True, **form: str
    ) -> httpx.Response:
        return await self.post("/oauth2/token", GRANT | form, shown, verified=verified)

    @property
    def reason(self) -> str:
        return self.events[-1].reason


def claims(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    payload = answer.json()["access_token"].split(".")[1]
    members: dict[str, Any] = json.loads(
        base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
    )
    return members


async def serving(settings: ServerSettings, register: Register, clock: Clock) -> Any:
    events: list[TokenEvent] = []
    app = create_app(settings, audit=events.append, clock=clock, sleep=clock.sleep)
    return app, Connections(app, events, register)


@pytest.fixture
async def server(
    settings: ServerSettings, register: Register, clock: Clock
) -> AsyncIterator[Connections]:
    app, connections = await serving(settings, register, clock)
    async with app.router.lifespan_context(app):
        yield connections


async def test_a_device_authenticates_by_a_name_that_an_authority_vouches_for(
    server: Connections,
) -> None:
    server.register.add_device(
        DeviceWish("dev1", rights=Rights(publish=["a"]), certificate=BY_NAME)
    )
    answer = await server.token(made(), client_id="dev1")
    assert claims(answer)["sub"] == "dev1"
    assert "cnf" not in claims(answer)


@pytest.mark.parametrize("verified", [True, False])
async def test_a_device_authenticates_by_a_certificate_that_is_registered(
    server: Connections, verified: bool
) -> None:
    one = made()
    pins = CertificateIdentity(thumbprints=(one.thumbprint,))
    server.register.add_device(DeviceWish("dev1", certificate=pins))
    assert claims(await server.token(one, client_id="dev1", verified=verified))["sub"] == "dev1"


async def test_every_refusal_is_the_same_answer_and_tells_the_operator_why(
    server: Connections,
) -> None:
    pinned = made()
    server.register.add_device(DeviceWish("named", certificate=BY_NAME))
    pins = CertificateIdentity(thumbprints=(pinned.thumbprint,))
    server.register.add_device(DeviceWish("pinned", certificate=pins))
    server.register.add_device("secret")
    server.register.add_device(DeviceWish("off", certificate=BY_NAME))
    server.register.disable_device("off")
    server.register.ensure_guard_client("guard")
    day = datetime.timedelta(days=1)
    tries: list[tuple[str, Shown | None, bool, str]] = [
        ("nobody", made(), True, "client_unknown"),
        ("named", made("other"), True, "certificate_wrong"),
        ("named", made(), False, "certificate_unverified"),
        ("named", made(begins=-2 * day, ends=-day), True, "certificate_expired"),
        ("named", made(begins=day, ends=2 * day), True, "certificate_not_yet_valid"),
        ("named", None, True, "certificate_missing"),
        ("pinned", made(), True, "certificate_wrong"),
        ("pinned", None, True, "certificate_missing"),
        ("secret", made(), True, "certificate_not_registered"),
        ("guard", made(), True, "certificate_not_registered"),
        ("off", made(), True, "client_disabled"),
        ("kfs_no-name", made(), True, "client_unknown"),
    ]
    answers = set()
    for client_id, shown, verified, reason in tries:
        answer = await server.token(shown, client_id=client_id, verified=verified)
        assert server.reason == reason, client_id
        answers.add((answer.status_code, answer.content))
    assert len(answers) == 1
    assert {status for status, _ in answers} == {401}


async def test_unknown_and_wrong_cost_the_same_work(
    server: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    note_statements(monkeypatch)
    pins = CertificateIdentity(thumbprints=(made().thumbprint,))
    server.register.add_device(DeviceWish("pinned", certificate=pins))
    server.register.add_device(DeviceWish("named", certificate=BY_NAME))
    server.register.add_device("secret")
    other = made("other")
    await server.token(other, client_id="warm")
    found = [
        (await counted(server.token(other, client_id=name)))[0]
        for name in ("nobody", "named", "pinned", "secret")
    ]
    assert found[1:] == found[:1] * 3
    assert found[0]["execute"] == 1


async def test_a_certificate_beside_another_way_authenticates_nobody(server: Connections) -> None:
    """Neither does it count as a second authentication, nor does it make up for a wrong first."""
    server.register.add_device(DeviceWish("named", certificate=BY_NAME))
    secret = server.register.add_device("dev1").secret
    right = await server.token(made("any"), client_id="dev1", client_secret=secret)
    assert claims(right)["sub"] == "dev1"
    for wrong in ("kfs_wrong", secret):
        answer = await server.token(made(), client_id="named", client_secret=wrong)
        assert (answer.status_code, server.reason) == (401, "secret_wrong")
    answer = await server.post(
        "/oauth2/token", GRANT | {"client_id": "named"}, made(), auth=("dev1", secret)
    )
    assert (answer.status_code, server.reason) == (400, "two_client_ids")
    answer = await server.post("/oauth2/token", GRANT, made())
    assert (answer.status_code, server.reason) == (401, "credentials_missing")


async def test_what_a_proxy_hands_over_and_cannot_be_read_is_refused_whoever_asks(
    server: Connections,
) -> None:
    secret = server.register.add_device("dev1").secret
    answer = await server.token(CertificateHeaderError(), client_id="dev1", client_secret=secret)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    assert server.reason == "certificate_header_invalid"
    broken = ClientCertificate(der=b"\x30\x03\x02\x01\x00", verified=True)
    answer = await server.token(broken, client_id="dev1")
    assert (answer.status_code, server.reason) == (401, "certificate_malformed")


async def test_a_client_with_a_certificate_only_is_not_public(server: Connections) -> None:
    register = server.register
    issued = register.add_application(ApplicationWish("gateway", certificate=BY_NAME, refresh=True))
    assert issued.secret is None
    assert not issued.application.public
    device = register.add_device("dev1").secret
    login = {"grant_type": "password", "username": "dev1", "password": device}
    form = login | {"client_id": "gateway"}
    assert (await server.post("/oauth2/token", form)).status_code == 401
    answer = await server.post("/oauth2/token", form, made())
    assert claims(answer)["client_id"] == "gateway"
    refresh = {"grant_type": "refresh_token", "refresh_token": answer.json()["refresh_token"]}
    again = refresh | {"client_id": "gateway"}
    assert (await server.post("/oauth2/token", again)).json()["error"] == "invalid_client"
    assert (await server.post("/oauth2/token", again, made("other"))).status_code == 401
    assert (await server.post("/oauth2/token", again, made())).status_code == 200
    ended = {"token": answer.json()["access_token"], "client_id": "gateway"}
    assert (await server.post("/oauth2/revoke", ended)).status_code == 401
    assert (await server.post("/oauth2/revoke", ended, made())).status_code == 200


async def test_a_certificate_that_was_replaced_stops_at_once(server: Connections) -> None:
    one, other = made("one"), made("other")
    pins = CertificateIdentity(thumbprints=(one.thumbprint,))
    server.register.add_device(DeviceWish("dev1", certificate=pins))
    both = CertificateIdentity(thumbprints=(one.thumbprint, other.thumbprint))
    server.register.set_device_certificate("dev1", both)
    for shown in (one, other):
        assert (await server.token(shown, client_id="dev1")).status_code == 200
    server.register.set_device_certificate("dev1", replace(both, thumbprints=both.thumbprints[1:]))
    assert (await server.token(one, client_id="dev1")).status_code == 401
    assert (await server.token(other, client_id="dev1")).status_code == 200


async def test_a_certificate_that_is_replaced_while_a_request_waits_does_not_count(
    server: Connections, clock: Clock
) -> None:
    """A token in the second of a revocation waits for the next one, and looks again."""
    server.register.add_device(DeviceWish("dev1", certificate=BY_NAME))
    server.register.disable_device("dev1")
    server.register.enable_device("dev1")
    other = CertificateIdentity(subject_dn="CN=other")
    clock.on_sleep = lambda: server.register.set_device_certificate("dev1", other)
    answer = await server.token(made(), client_id="dev1")
    assert clock.slept
    assert (answer.status_code, server.reason) == (401, "client_unknown")


# Bound tokens


async def bound_secret(server: Connections, **more: Any) -> str:
    return server.register.add_device(DeviceWish("dev1", certificate_bound=True, **more)).secret


async def test_a_token_is_bound_to_the_certificate_that_is_shown(server: Connections) -> None:
    secret, one = await bound_secret(server), made("any")
    answer = await server.token(one, client_id="dev1", client_secret=secret, verified=False)
    assert claims(answer)["cnf"] == {"x5t#S256": one.thumbprint}
    assert answer.json()["token_type"] == "Bearer"  # RFC 8705 section 3
    _, asker = server.register.add_service("asker", scopes=["keyfob.introspection"])
    form = {"token": answer.json()["access_token"]}
    told = await server.post("/oauth2/introspect", form, auth=("asker", asker))
    assert told.json()["cnf"] == {"x5t#S256": one.thumbprint}


async def test_no_token_is_bound_to_nothing_where_it_has_to_be_bound(server: Connections) -> None:
    secret = await bound_secret(server)
    answer = await server.token(client_id="dev1", client_secret=secret)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    assert server.reason == "certificate_missing"
    # The answer tells nobody more who has not proven to be the client.
    assert (await server.token(client_id="dev1", client_secret="kfs_no")).status_code == 401


async def test_a_device_that_is_not_registered_for_it_gets_a_plain_token(
    server: Connections,
) -> None:
    secret = server.register.add_device("dev1").secret
    answer = await server.token(made(), client_id="dev1", client_secret=secret)
    assert "cnf" not in claims(answer)
    server.register.set_device_certificate("dev1", bound=True)
    assert (await server.token(client_id="dev1", client_secret=secret)).status_code == 400
    server.register.set_device_certificate("dev1", bound=False)
    assert (await server.token(client_id="dev1", client_secret=secret)).status_code == 200


async def test_every_grant_binds_and_every_client_where_the_server_says_so(
    settings: ServerSettings, register: Register, clock: Clock
) -> None:
    settings = replace(settings, mutual_tls=MutualTls(asked=True, bound=True))
    app, server = await serving(settings, register, clock)
    secret = register.add_device("dev1").secret
    gateway = register.add_application(ApplicationWish("gateway", refresh=True)).secret
    assert gateway is not None
    one, other = made("one"), made("other")
    async with app.router.lifespan_context(app):
        assert (await server.token(client_id="dev1", client_secret=secret)).status_code == 400
        answer = await server.token(one, client_id="dev1", client_secret=secret)
        assert claims(answer)["cnf"] == {"x5t#S256": one.thumbprint}
        login = {"grant_type": "password", "username": "dev1", "password": secret}
        answer = await server.post("/oauth2/token", login, one, auth=("gateway", gateway))
        assert claims(answer)["cnf"] == {"x5t#S256": one.thumbprint}
        # A confidential client may renew its certificate: its refresh token is bound to itself.
        refresh = {"grant_type": "refresh_token", "refresh_token": answer.json()["refresh_token"]}
        answer = await server.post("/oauth2/token", refresh, other, auth=("gateway", gateway))
        assert claims(answer)["cnf"] == {"x5t#S256": other.thumbprint}


async def test_refresh_tokens_of_a_public_client_are_bound_to_its_certificate(
    server: Connections,
) -> None:
    register = server.register
    register.add_application(
        ApplicationWish("app", public=True, refresh=True, certificate_bound=True)
    )
    secret = register.add_device("dev1").secret
    one, other = made("one"), made("other")
    client = {"client_id": "app"}
    login = client | {"grant_type": "password", "username": "dev1", "password": secret}
    assert (await server.post("/oauth2/token", login)).json()["error"] == "invalid_request"
    answer = await server.post("/oauth2/token", login, one, verified=False)
    assert claims(answer)["cnf"] == {"x5t#S256": one.thumbprint}
    refresh = client | {"grant_type": "refresh_token"}
    for _ in range(2):  # the successor is bound, too
        refresh["refresh_token"] = answer.json()["refresh_token"]
        stolen = await server.post("/oauth2/token", refresh, other)
        assert (stolen.status_code, stolen.json()["error"]) == (400, "invalid_grant")
        assert server.reason == "refresh_token_of_another_certificate"
        assert (await server.post("/oauth2/token", refresh)).status_code == 400
        answer = await server.post("/oauth2/token", refresh, one, verified=False)
        assert claims(answer)["cnf"] == {"x5t#S256": one.thumbprint}
    # It stays bound when the application's later tokens no longer are.
    register.set_application_certificate("app", bound=False)
    refresh["refresh_token"] = answer.json()["refresh_token"]
    assert (await server.post("/oauth2/token", refresh)).json()["error"] == "invalid_grant"
    assert "cnf" not in claims(await server.post("/oauth2/token", refresh, one))


@pytest.mark.parametrize("public", [True, False])
async def test_a_family_from_before_the_binding_goes_on_only_where_the_client_proves_itself(
    server: Connections, public: bool
) -> None:
    secret = server.register.add_device("dev1").secret
    wish = ApplicationWish("app", public=public, refresh=True)
    auth = None if public else ("app", server.register.add_application(wish).secret or "")
    if public:
        server.register.add_application(wish)
    client = {"client_id": "app"} if public else {}
    login = client | {"grant_type": "password", "username": "dev1", "password": secret}
    answer = await server.post("/oauth2/token", login, auth=auth)
    refresh = client | {"grant_type": "refresh_token"}
    refresh["refresh_token"] = answer.json()["refresh_token"]

    shown = made()
    server.register.set_application_certificate("app", bound=True)
    answer = await server.post("/oauth2/token", refresh, auth=auth)
    assert answer.json()["error"] == "invalid_request"
    assert server.reason == "certificate_missing"
    answer = await server.post("/oauth2/token", refresh, shown, auth=auth)
    if not public:
        assert claims(answer)["cnf"] == {"x5t#S256": shown.thumbprint}
        return
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
    assert server.reason == "refresh_token_not_bound"
    # Nothing was used up or ended by it.
    server.register.set_application_certificate("app", bound=False)
    assert (await server.post("/oauth2/token", refresh)).status_code == 200


# Metadata and settings

HEADER = CertificateHeader(name="x-client-cert")
SELF, PKI, BOTH = (
    "self_signed_tls_client_auth",
    "tls_client_auth",
    {
        "self_signed_tls_client_auth",
        "tls_client_auth",
    },
)


@pytest.mark.parametrize(
    ("mutual_tls", "methods"),
    [
        (MutualTls(), set()),
        (MutualTls(proxies=Proxies.at(["10.0.0.1"])), set()),
        (MutualTls(asked=True), {PKI}),
        (MutualTls(proxies=Proxies.at(["10.0.0.1"], certificate=HEADER)), {SELF}),
        (
            MutualTls(
                proxies=Proxies.at(["10.0.0.1"], certificate=replace(HEADER, verification="v"))
            ),
            BOTH,
        ),
        (
            MutualTls(
                proxies=Proxies.at(["10.0.0.1"], certificate=replace(HEADER, verified=True)),
                base="https://mtls.example:8444/",
            ),
            {PKI},
        ),
    ],
)
async def test_the_metadata_tells_what_works(
    settings: ServerSettings,
    register: Register,
    clock: Clock,
    mutual_tls: MutualTls,
    methods: set[str],
) -> None:
    app, _ = await serving(replace(settings, mutual_tls=mutual_tls), register, clock)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url=ISSUER) as http,
    ):
        told = (await http.get("/.well-known/oauth-authorization-server")).json()
    for name in ("token_endpoint", "revocation_endpoint"):
        assert set(told[f"{name}_auth_methods_supported"]) & BOTH == methods
    assert told.get("tls_client_certificate_bound_access_tokens", False) == bool(methods)
    assert ("mtls_endpoint_aliases" in told) == bool(mutual_tls.base)
    if mutual_tls.base:
        assert told["mtls_endpoint_aliases"] == {
            "token_endpoint": "https://mtls.example:8444/oauth2/token",
            "revocation_endpoint": "https://mtls.example:8444/oauth2/revoke",
        }


@pytest.mark.parametrize(
    "wrong",
    [
        {"bound": True},
        {"base": "https://mtls.example"},
        {"asked": True, "base": "http://mtls.example"},
        {"asked": True, "base": "mtls.example"},
        {"asked": True, "base": "https://mtls.example/?a"},
    ],
)
def test_what_nobody_could_use_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        MutualTls(**wrong)


# The register


def test_nobody_is_left_without_a_way_to_prove_himself(register: Register) -> None:
    register.add_device(DeviceWish("dev1", certificate=BY_NAME))
    register.add_application(ApplicationWish("gateway", certificate=BY_NAME))
    register.add_application(ApplicationWish("open", public=True))
    nothing = CertificateIdentity()
    for change in (register.set_device_certificate, register.set_application_certificate):
        name = "dev1" if change == register.set_device_certificate else "gateway"
        with pytest.raises(ConfigError):
            change(name, nothing)
    register.add_device("secret")
    with pytest.raises(ConfigError):
        register.set_device_certificate("secret", remove_secret=True)
    with pytest.raises(ConfigError):
        register.set_application_certificate("open", BY_NAME)
    with pytest.raises(ConfigError):
        register.add_application(ApplicationWish("open2", public=True, certificate=BY_NAME))
    with pytest.raises(ConfigError):
        register.add_device(DeviceWish("dev2", certificate=CertificateIdentity(san_dns="*.a")))
    assert register.show_device("dev1").certificate == BY_NAME
    assert register.show_device("secret").has_secret
    assert [one.public for one in register.list_applications()] == [False, True]


def test_a_device_goes_from_a_secret_to_a_certificate_and_has_no_gap(register: Register) -> None:
    register.add_device("dev1")
    device = register.set_device_certificate("dev1", BY_NAME)
    assert (device.has_secret, device.certificate) == (True, BY_NAME)
    device = register.set_device_certificate("dev1", remove_secret=True, bound=True)
    assert (device.has_secret, device.certificate) == (False, BY_NAME)
    assert device.certificate_bound


def test_a_token_is_not_bound_to_a_certificate_and_to_a_key(register: Register) -> None:
    by_proof = ClientMetadata(dpop_bound_access_tokens=True)
    with pytest.raises(ConfigError):
        register.add_device(DeviceWish("dev1", certificate_bound=True, metadata=by_proof))
    register.add_device(DeviceWish("dev1", metadata=by_proof))
    with pytest.raises(ConfigError):
        register.set_device_certificate("dev1", bound=True)
    register.add_device(DeviceWish("dev2", certificate_bound=True))
    with pytest.raises(ConfigError):
        register.set_device_tokens("dev2", by_proof)
    assert register.show_device("dev2").certificate_bound
