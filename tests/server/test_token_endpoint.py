# SPDX-License-Identifier: Apache-2.0
"""POST /oauth2/token: what is answered, and every error of RFC 6749 section 5.2."""

from __future__ import annotations

import base64
import re
from urllib.parse import quote_plus

import httpx
import pytest

from keyfob.authorization.permissions import Rule
from keyfob.authorization.syntaxes.scopes import parse_scope
from keyfob.mqtt.topics import TopicFilter
from keyfob.server.clients import Client
from keyfob.server.oauth_errors import STATUS
from keyfob.server.stores.serving import ServingStore
from keyfob.server.stores.store import open_store
from keyfob.server.wishes import DeviceWish, Rights
from keyfob.tokens.keys import KeySet
from keyfob.tokens.verify import TrustedIssuer, VerifiedToken, verify
from tests.server.world import FORM, ISSUER, World, claims_of

pytestmark = pytest.mark.anyio

GRANT = "grant_type=client_credentials"


def basic(client_id: str, secret: str) -> dict[str, str]:
    """Write HTTP Basic as RFC 6749 section 2.3.1 says: form-encoded, then base64."""
    pair = f"{quote_plus(client_id)}:{quote_plus(secret)}".encode()
    return {"Authorization": "Basic " + base64.b64encode(pair).decode()}


def assert_error(answer: httpx.Response, error: str, status: int | None = None) -> None:
    """Check the shape that RFC 6749 section 5.2 gives every error."""
    assert answer.status_code == (status or STATUS[error])
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["pragma"] == "no-cache"
    document = answer.json()
    assert set(document) == {"error", "error_description"}
    assert document["error"] == error
    assert re.fullmatch(r"[\x20-\x21\x23-\x5b\x5d-\x7e]+", document["error_description"])
    assert ("www-authenticate" in answer.headers) == (answer.status_code == 401)


async def test_a_device_gets_a_token_in_exactly_the_shape_of_section_5_1(world: World) -> None:
    issued = world.register.add_device(DeviceWish("dev1", rights=Rights(publish=["a/{device}/#"])))
    answer = await world.device_token("dev1", issued.secret)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["pragma"] == "no-cache"
    document = answer.json()
    assert set(document) == {"access_token", "token_type", "expires_in", "scope"}
    assert document["token_type"] == "Bearer"
    assert document["expires_in"] == 3600
    assert document["scope"] == "mqtt.connect mqtt.publish:a/dev1/#"


async def test_a_foreign_library_reads_every_claim_of_rfc_9068(world: World) -> None:
    issued = world.register.add_device(DeviceWish("dev1", lifetime=5))
    answer = await world.device_token("dev1", issued.secret)
    jwks = (await world.http.get("/oauth2/jwks")).json()
    header, claims = claims_of(answer.json()["access_token"], jwks)
    assert header == {"alg": "ES256", "typ": "at+jwt", "kid": jwks["keys"][0]["kid"]}
    assert re.fullmatch(r"[A-Za-z0-9_-]{22}", claims.pop("jti"))
    now = int(world.clock.now)
    assert claims == {
        "iss": ISSUER,
        "sub": "dev1",
        "client_id": "dev1",
        "aud": "mqtt",
        "iat": now,
        "exp": now + 5,
        "scope": "mqtt.connect",
    }


async def test_our_own_verifier_accepts_the_token_by_the_published_keys(world: World) -> None:
    issued = world.register.add_device("dev1")
    token = (await world.device_token("dev1", issued.secret)).json()["access_token"]
    keys = KeySet.from_jwks((await world.http.get("/oauth2/jwks")).content)
    issuer = TrustedIssuer(
        name="as",
        issuer=ISSUER,
        audiences=frozenset({"mqtt"}),
        algorithms=frozenset({"ES256"}),
    )
    verified = verify(token, {ISSUER: issuer}, {ISSUER: keys}, world.clock.now)
    assert isinstance(verified, VerifiedToken)
    assert verified.device == "dev1"


async def test_every_token_has_its_own_identifier(world: World) -> None:
    issued = world.register.add_device("dev1")
    jwks = (await world.http.get("/oauth2/jwks")).json()
    seen = set()
    for _ in range(3):
        token = (await world.device_token("dev1", issued.secret)).json()["access_token"]
        seen.add(claims_of(token, jwks)[1]["jti"])
    assert len(seen) == 3


async def test_both_ways_to_show_a_secret_work_and_agree(world: World) -> None:
    issued = world.register.add_device("dev1")
    for answer in (
        await world.token(auth=("dev1", issued.secret), grant_type="client_credentials"),
        await world.http.post(
            "/oauth2/token",
            content=GRANT + "&client_id=dev1",  # repeating the name beside Basic is allowed
            headers=FORM | basic("dev1", issued.secret),
        ),
        await world.device_token("dev1", issued.secret),
    ):
        assert answer.status_code == 200


async def test_basic_is_form_decoded_after_base64(world: World) -> None:
    issued = world.register.add_device("dev1")
    encoded = "".join(f"%{ord(letter):02x}" for letter in issued.secret)
    pair = base64.b64encode(f"%64ev1:{encoded}".encode()).decode()
    answer = await world.http.post(
        "/oauth2/token", content=GRANT, headers=FORM | {"Authorization": "bAsIc " + pair}
    )
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "application/json",
        "text/plain",
        "multipart/form-data; boundary=x",
        "application/x-www-form-urlencoded; charset=latin-1",
        "application/x-www-form-urlencodedx",
    ],
)
async def test_another_content_type_is_an_invalid_request(
    world: World, content_type: str | None
) -> None:
    issued = world.register.add_device("dev1")
    body = f"{GRANT}&client_id=dev1&client_secret={issued.secret}"
    headers = {} if content_type is None else {"Content-Type": content_type}
    assert_error(
        await world.http.post("/oauth2/token", content=body, headers=headers), "invalid_request"
    )


async def test_the_charset_that_some_clients_add_is_no_other_content_type(world: World) -> None:
    issued = world.register.add_device("dev1")
    answer = await world.http.post(
        "/oauth2/token",
        content=f"{GRANT}&client_id=dev1&client_secret={issued.secret}",
        headers={"Content-Type": 'Application/X-WWW-Form-URLEncoded; charset="UTF-8"'},
    )
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "addition",
    [
        "&grant_type=client_credentials",
        "&client_id=dev1",
        "&scope=&scope=mqtt.connect",
        "&unknown=1&unknown=2",
        "&%67rant_type=password",  # the same name, spelled otherwise
    ],
)
async def test_a_repeated_parameter_is_an_invalid_request(world: World, addition: str) -> None:
    issued = world.register.add_device("dev1")
    body = f"{GRANT}&client_id=dev1&client_secret={issued.secret}{addition}"
    assert_error(
        await world.http.post("/oauth2/token", content=body, headers=FORM), "invalid_request"
    )


@pytest.mark.parametrize("body", ["", "client_id=dev1", "grant_type=&client_id=dev1", "&&&"])
async def test_no_grant_type_is_an_invalid_request(world: World, body: str) -> None:
    assert_error(
        await world.http.post("/oauth2/token", content=body, headers=FORM), "invalid_request"
    )


@pytest.mark.parametrize(
    "body",
    [
        b"grant_type=%zz",
        b"grant_type=%f",
        b"grant_type=%ff%fe",
        b"grant_type=\xff",
        b"grant_type=\xc3\xa9",
        "&".join(f"p{number}=1" for number in range(65)).encode(),
    ],
)
async def test_a_form_that_is_not_well_formed_is_an_invalid_request(
    world: World, body: bytes
) -> None:
    assert_error(
        await world.http.post("/oauth2/token", content=body, headers=FORM), "invalid_request"
    )


async def test_a_body_without_end_is_cut_off(world: World) -> None:
    body = GRANT + "&filling=" + "x" * 65_536
    assert_error(
        await world.http.post("/oauth2/token", content=body, headers=FORM), "invalid_request", 413
    )


async def test_parameters_in_the_url_are_an_invalid_request(world: World) -> None:
    issued = world.register.add_device("dev1")
    answer = await world.http.post(
        f"/oauth2/token?client_secret={issued.secret}",
        content=GRANT + "&client_id=dev1",
        headers=FORM,
    )
    assert_error(answer, "invalid_request")


@pytest.mark.parametrize(
    ("header", "body"),
    [
        (True, "&client_id=dev1&client_secret={secret}"),
        (True, "&client_secret={secret}"),
        (True, "&client_id=dev2"),
    ],
)
async def test_two_ways_to_authenticate_are_an_invalid_request(
    world: World, header: bool, body: str
) -> None:
    secret = world.register.add_device("dev1").secret
    answer = await world.http.post(
        "/oauth2/token",
        content=GRANT + body.format(secret=secret),
        headers=FORM | (basic("dev1", secret) if header else {}),
    )
    assert_error(answer, "invalid_request")


async def test_two_authorization_headers_are_an_invalid_request(world: World) -> None:
    secret = world.register.add_device("dev1").secret
    one = basic("dev1", secret)["Authorization"]
    headers = [("Authorization", one), ("Authorization", one), *FORM.items()]
    assert_error(
        await world.http.post("/oauth2/token", content=GRANT, headers=headers), "invalid_request"
    )


@pytest.mark.parametrize(
    "header",
    [
        "Bearer abc",
        "Digest username=dev1",
        "Basic",
        "Basic !!!!",
        "Basic ZGV2MQ",  # no padding
        "Basic ZGV2MQ==",  # no colon
        "Basic OnNlY3JldA==",  # no name
        "Basic /////w==",  # not UTF-8
        "Basic ZGV2MTolZmY=",  # form-encoded bytes that are not UTF-8
        "Basic \xe9",
    ],
)
async def test_an_authorization_header_that_proves_nothing_is_an_invalid_client(
    world: World, header: str
) -> None:
    world.register.add_device("dev1")
    headers = [(b"Authorization", header.encode("latin-1"))]
    headers += [(name.encode(), value.encode()) for name, value in FORM.items()]
    answer = await world.http.post("/oauth2/token", content=GRANT, headers=headers)
    assert_error(answer, "invalid_client")


async def test_no_credentials_at_all_are_an_invalid_client(world: World) -> None:
    assert_error(
        await world.http.post("/oauth2/token", content=GRANT, headers=FORM), "invalid_client"
    )


async def test_unknown_wrong_missing_and_disabled_get_one_answer_for_one_work(
    world: World,
) -> None:
    """Neither the answer nor the number of hashes tells which devices exist."""
    world.register.add_device("dev1")
    disabled = world.register.add_device("dev2")
    world.register.disable_device("dev2")
    service = world.register.ensure_guard_client("guard")
    answers = []
    for client_id, secret in (
        ("nobody", "kfs_wrong"),
        ("x" * 4_000, "kfs_wrong"),
        ("dev1", "kfs_wrong"),
        ("dev1", service),
        ("dev1", ""),
        ("DEV1", "kfs_wrong"),
        ("dev2", disabled.secret),
    ):
        world.verified.clear()
        answer = await world.device_token(client_id, secret)
        assert_error(answer, "invalid_client")
        assert len(world.verified) == 2  # the secret of now, and the one before
        answers.append((answer.content, sorted(answer.headers.items())))
    assert all(answer == answers[0] for answer in answers)


async def test_a_secret_that_was_rotated_stops_at_once(world: World) -> None:
    old = world.register.add_device("dev1").secret
    new = world.register.rotate_secret("dev1").secret
    assert_error(await world.device_token("dev1", old), "invalid_client")
    assert (await world.device_token("dev1", new)).status_code == 200


async def test_an_unknown_grant_is_unsupported(world: World) -> None:
    issued = world.register.add_device("dev1")
    for grant in ("authorization_code", "Refresh_Token", "Client_Credentials", "implicit"):
        answer = await world.token(grant_type=grant, client_id="dev1", client_secret=issued.secret)
        assert_error(answer, "unsupported_grant_type")


async def test_a_grant_that_the_client_is_not_registered_for_is_unauthorized(
    world: World,
) -> None:
    device = world.register.add_device("dev1")
    application = world.register.add_application("app1")
    guard = world.register.ensure_guard_client("guard")
    for grant, client_id, secret in (
        ("password", "dev1", device.secret),
        ("client_credentials", "app1", application.secret or ""),
        ("client_credentials", "guard", guard),
        ("password", "guard", guard),
    ):
        answer = await world.token(
            grant_type=grant,
            client_id=client_id,
            client_secret=secret,
            username="dev1",
            password=device.secret,
        )
        assert_error(answer, "unauthorized_client")


async def test_a_request_narrows_the_scope(world: World) -> None:
    issued = world.register.add_device(
        DeviceWish("dev1", rights=Rights(publish=["a/#"], scopes=["billing"]))
    )
    for scope in ("billing", "mqtt.connect mqtt.publish:a/b", "mqtt.publish:a/+/c"):
        answer = await world.device_token("dev1", issued.secret, scope=scope)
        assert answer.json()["scope"] == scope
    answer = await world.device_token("dev1", issued.secret, scope="billing billing")
    assert answer.json()["scope"] == "billing"


@pytest.mark.parametrize(
    "scope",
    [
        "admin",
        "mqtt.connect admin",
        "mqtt.publish:#",
        "mqtt.publish:b",
        "mqtt.subscribe:a/b",
        "mqtt.publish:a/#/c",
        "keyfob.revocations",
        "MQTT.CONNECT",
        " ",
        "mqtt.connect ",
        "mqtt.connect  billing",
        'a"b',
        "a\\b",
        "a\nb",
        "é",
    ],
)
async def test_a_scope_that_is_wider_or_malformed_is_invalid(world: World, scope: str) -> None:
    issued = world.register.add_device(
        DeviceWish("dev1", rights=Rights(publish=["a/#"], scopes=["billing"]))
    )
    assert_error(await world.device_token("dev1", issued.secret, scope=scope), "invalid_scope")


async def test_an_empty_parameter_counts_as_left_out_and_an_unknown_one_is_ignored(
    world: World,
) -> None:
    issued = world.register.add_device("dev1")
    answer = await world.device_token(
        "dev1", issued.secret, scope="", resource="", nonce="x", username="dev2"
    )
    assert answer.json()["scope"] == "mqtt.connect"


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_another_method_is_not_allowed(world: World, method: str) -> None:
    answer = await world.http.request(method, "/oauth2/token")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"


async def test_a_path_with_a_closing_slash_is_not_redirected(world: World) -> None:
    answer = await world.http.post("/oauth2/token/", content=GRANT, headers=FORM)
    assert answer.status_code == 404


async def test_a_device_that_is_enabled_within_the_second_waits_for_the_next(
    world: World,
) -> None:
    """Else its token would be revoked from its birth: iat and revocation are whole seconds."""
    issued = world.register.add_device("dev1")
    world.register.disable_device("dev1")
    world.register.enable_device("dev1")
    second = int(world.clock.now)
    answer = await world.device_token("dev1", issued.secret)
    jwks = (await world.http.get("/oauth2/jwks")).json()
    assert claims_of(answer.json()["access_token"], jwks)[1]["iat"] == second + 1
    assert world.clock.slept == [pytest.approx(0.755)]


async def test_a_device_that_is_disabled_again_during_the_wait_gets_nothing(
    world: World,
) -> None:
    issued = world.register.add_device("dev1")
    world.register.disable_device("dev1")
    world.register.enable_device("dev1")
    world.clock.on_sleep = lambda: world.register.disable_device("dev1")
    assert_error(await world.device_token("dev1", issued.secret), "invalid_client")


async def test_a_device_that_is_disabled_while_its_secret_is_checked_gets_no_token(
    world: World,
) -> None:
    issued = world.register.add_device("dev1")
    world.on_verify = lambda: world.register.disable_device("dev1")
    answer = await world.device_token("dev1", issued.secret)
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


async def test_nothing_is_read_of_a_client_before_it_has_proven_to_be_that_client(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a registered name would cost more than one that is not, and could be told by that."""
    world.register.add_device("dev1")
    read: list[str] = []
    find_client = ServingStore.find_client

    async def counted(store: ServingStore, client_id: str) -> Client | None:
        read.append(client_id)
        return await find_client(store, client_id)

    monkeypatch.setattr(ServingStore, "find_client", counted)
    for name in ("dev1", "nobody"):
        assert (await world.device_token(name, "wrong")).status_code == 401
    assert read == []


async def test_a_new_device_of_an_old_name_waits_as_well(world: World) -> None:
    world.register.add_device("dev1")
    world.register.remove_device("dev1")
    issued = world.register.add_device("dev1")
    assert (await world.device_token("dev1", issued.secret)).status_code == 200
    assert world.clock.slept == [pytest.approx(0.755)]


async def test_a_clock_that_was_set_back_is_a_failure_that_says_try_again(world: World) -> None:
    issued = world.register.add_device("dev1")
    world.register.disable_device("dev1")
    world.register.enable_device("dev1")
    world.clock.now -= 3_600
    answer = await world.device_token("dev1", issued.secret)
    assert_error(answer, "temporarily_unavailable")
    assert answer.headers["retry-after"] == "1"


async def test_the_audit_tells_what_happened_and_never_a_secret(world: World) -> None:
    issued = world.register.add_device("dev1")
    token = (await world.device_token("dev1", issued.secret)).json()["access_token"]
    await world.device_token("dev1", "kfs_wrong")
    await world.device_token(issued.secret, "dev1")  # the fields exchanged by mistake
    await world.device_token("dev1\nforged line", "x")
    await world.token(grant_type=issued.secret)
    told = [(event.outcome, event.client_id, event.reason) for event in world.events]
    assert told == [
        ("issued", "dev1", ""),
        ("refused", "dev1", "secret_wrong"),
        ("refused", "?", "client_unknown"),
        ("refused", "?", "client_unknown"),
        ("refused", "", "grant_unknown"),
    ]
    assert world.events[0].subject == "dev1"
    assert world.events[0].expires_at == int(world.clock.now) + 3600
    text = repr(world.events)
    assert issued.secret not in text
    assert token not in text
    assert token.rpartition(".")[2] not in text


async def test_a_failure_of_the_server_says_nothing_about_itself(world: World) -> None:
    issued = world.register.add_device("dev1")

    def fail() -> None:
        raise RuntimeError("inner matters")

    world.on_verify = fail
    transport = world.http._transport
    assert isinstance(transport, httpx.ASGITransport)
    transport.raise_app_exceptions = False
    answer = await world.device_token("dev1", issued.secret)
    assert_error(answer, "server_error")
    assert "inner matters" not in answer.text


async def test_scopes_survive_the_way_into_the_token(world: World) -> None:
    """What a scope token cannot hold is percent-encoded once, and a verifier reads it back."""
    text = 'räume/{device}/"a b"/%2f\\'
    issued = world.register.add_device(
        DeviceWish("dev1", rights=Rights(publish=[text.replace("{device}", "{sub}")]))
    )
    scope = issued.device.scopes[1]
    answer = await world.device_token("dev1", issued.secret, scope=scope)
    assert answer.json()["scope"] == scope
    assert parse_scope(scope).filter == TopicFilter.parse(text.replace("{device}", "dev1"))


async def test_narrowing_parses_every_scope_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Comparing each with each is quick; parsing each for each would hold up everybody else."""
    issued = world.register.add_device(
        DeviceWish("dev1", rights=Rights(publish=[f"a/{number}/#" for number in range(50)]))
    )
    parsed: list[str] = []

    def counted(scope: str) -> Rule:
        parsed.append(scope)
        return parse_scope(scope)

    monkeypatch.setattr("keyfob.server.scopes.parse_scope", counted)
    wanted = [f"mqtt.publish:a/{number}/b" for number in range(50)]
    answer = await world.device_token("dev1", issued.secret, scope=" ".join(wanted))
    assert answer.json()["scope"].split() == wanted
    assert len(parsed) == len(set(parsed)) == 101


async def test_a_token_that_overtakes_a_disabling_is_covered_by_its_revocation(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The device is disabled between the server's read of it and the signature, seconds long."""
    issued = world.register.add_device("dev1")
    find_client = ServingStore.find_client

    async def overtaken(store: ServingStore, client_id: str) -> Client | None:
        client = await find_client(store, client_id)
        world.clock.now += 2
        world.register.disable_device("dev1")
        world.clock.now += 2
        return client

    monkeypatch.setattr(ServingStore, "find_client", overtaken)
    answer = await world.device_token("dev1", issued.secret)
    jwks = (await world.http.get("/oauth2/jwks")).json()
    iat = claims_of(answer.json()["access_token"], jwks)[1]["iat"]
    store = open_store(world.settings.database)
    (row,) = store.revocations_after(0, now=0, limit=10)
    store.close()
    assert iat <= row.issued_before


async def test_a_secret_that_is_rotated_while_it_is_checked_proves_nothing(world: World) -> None:
    application = world.register.add_application("gateway")
    device = world.register.add_device("dev1")

    def rotate() -> None:
        world.register.rotate_secret("dev1")

    world.on_verify = rotate
    assert_error(await world.device_token("dev1", device.secret), "invalid_client")
    world.on_verify = None
    secret = world.register.rotate_secret("dev1").secret
    world.on_verify = rotate
    answer = await world.token(
        auth=("gateway", application.secret or ""),
        grant_type="password",
        username="dev1",
        password=secret,
    )
    assert answer.status_code == 400
