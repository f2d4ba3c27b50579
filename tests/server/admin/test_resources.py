# SPDX-License-Identifier: Apache-2.0
"""What operators' programs change is what the command line would, with its line in the trail."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from keyfob.server.admin.applications import CreatedApplication
from keyfob.server.admin.devices import IssuedDevice
from keyfob.server.admin.services import CreatedService
from keyfob.server.signing.timetable import JWKS_MAX_AGE
from keyfob.server.wishes import DeviceWish
from keyfob.tokens.sign import SigningKey
from tests.server.admin.asking import Admin
from tests.server.assertions import jwks_of
from tests.server.world import World

pytestmark = pytest.mark.anyio
KEYS = json.loads(jwks_of(SigningKey.generate()))


async def test_a_device_lives_its_life_over_http(world: World, admin: Admin) -> None:
    made = await admin(
        "POST", "/devices", {"id": "dev1", "rights": {"publish": ["a/{device}/#"]}, "lifetime": 60}
    )
    assert made.status_code == 201
    assert made.headers["location"] == "https://as.example:8443/admin/v1/devices/dev1"
    assert made.headers["cache-control"] == "no-store"
    device, secret = made.json()["device"], made.json()["client_secret"]
    assert device["scopes"] == ["mqtt.connect", "mqtt.publish:a/dev1/#"]
    assert (await admin("GET", "/devices/dev1")).json() == device
    assert (await world.device_token("dev1", secret)).json()["expires_in"] == 60

    changed = await admin("PATCH", "/devices/dev1", {"rights": {"scopes": ["x"]}})
    assert changed.json()["scopes"] == ["mqtt.connect", "x"]
    assert changed.json()["lifetime"] == 60
    assert (await admin("PATCH", "/devices/dev1", {"lifetime": None})).json()["lifetime"] is None
    assert (await world.device_token("dev1", secret)).json()["scope"] == "mqtt.connect x"

    assert (await admin("POST", "/devices/dev1/disable")).json()["state"] == "disabled"
    assert (await world.device_token("dev1", secret)).status_code == 401
    await admin("POST", "/devices/dev1/enable")
    rotated = (await admin("POST", "/devices/dev1/rotate-secret", {})).json()["client_secret"]
    assert (await world.device_token("dev1", secret)).status_code == 401
    assert (await world.device_token("dev1", rotated)).status_code == 200

    assert (await admin("DELETE", "/devices/dev1")).status_code == 204
    assert (await admin("GET", "/devices/dev1")).json()["code"] == "not_found"
    lines = [one for one in world.register.list_actions() if one.subject == "dev1"]
    assert [one.action for one in lines] == [
        *("device.add", "device.set", "device.set", "device.disable"),
        *("device.enable", "device.rotate-secret", "device.remove"),
    ]
    assert {one.actor for one in lines} == {"service:ops"}


async def test_a_device_with_keys_has_no_secret(admin: Admin) -> None:
    made = (await admin("POST", "/devices", {"id": "dev1", "jwks": KEYS})).json()
    assert made["client_secret"] is None
    assert len(made["device"]["keys"]) == 1
    other = json.loads(jwks_of(SigningKey.generate()))
    changed = (await admin("PUT", "/devices/dev1/keys", {"jwks": other})).json()
    assert changed["keys"] != made["device"]["keys"]
    assert (await admin("POST", "/devices/dev1/rotate-secret", {})).status_code == 409


async def test_revoked_tokens_are_revoked_and_new_ones_are_not(world: World, admin: Admin) -> None:
    secret = world.register.add_device("dev1").secret
    _, asker = world.register.add_service("asker", scopes=["keyfob.introspection"])

    async def active(token: str) -> bool:
        form = {"token": token}
        answer = await world.http.post("/oauth2/introspect", data=form, auth=("asker", asker))
        return bool(answer.json()["active"])

    old = (await world.device_token("dev1", secret)).json()["access_token"]
    assert await active(old)
    assert (await admin("POST", "/devices/dev1/revoke-tokens")).status_code == 204
    assert not await active(old)
    new = (await world.device_token("dev1", secret)).json()["access_token"]
    assert await active(new)


async def test_a_shortened_lifetime_does_not_shorten_what_is_known_of_older_tokens(
    world: World, admin: Admin
) -> None:
    """A token of a day, a lifetime of a minute, a revocation: it is remembered for the day."""
    world.register.add_device(DeviceWish("dev1", lifetime=86_400))
    await admin("PATCH", "/devices/dev1", {"lifetime": 60})
    await admin("POST", "/devices/dev1/disable")
    secret = world.register.ensure_guard_client("guard")
    feed = await world.http.get("/oauth2/revocations", auth=("guard", secret))
    (row,) = feed.json()["revocations"]
    assert row["until"] >= int(world.clock.now) + 86_400


async def test_lists_are_read_by_page(world: World, admin: Admin) -> None:
    for number in range(5):
        world.register.add_device(f"dev{number}")
        world.register.add_application(f"app{number}")
    for path, prefix in (("/devices", "dev"), ("/applications", "app")):
        seen: list[str] = []
        after: str | None = ""
        while after is not None:
            page = (await admin("GET", f"{path}?limit=2&after={after}")).json()
            assert len(page["items"]) <= 2
            seen += [one["id"] for one in page["items"]]
            after = page["next"]
        assert seen == [f"{prefix}{number}" for number in range(5)]
    exact = (await admin("GET", "/devices?limit=5")).json()
    assert (len(exact["items"]), exact["next"]) == (5, None)


async def test_applications_and_services_are_registered_and_removed(
    world: World, admin: Admin
) -> None:
    made = (await admin("POST", "/applications", {"id": "app", "refresh": True})).json()
    assert made["application"]["grants"] == ["password", "refresh_token"]
    assert made["client_secret"].startswith("kfs_")
    public = (await admin("POST", "/applications", {"id": "pub", "public": True})).json()
    assert public["client_secret"] is None
    wrong = await admin("POST", "/applications", {"id": "x", "public": True, "jwks": KEYS})
    assert (wrong.status_code, wrong.json()["code"]) == (422, "config_invalid")
    keys = await admin("PUT", "/applications/app/keys", {"jwks": KEYS, "remove_secret": True})
    assert keys.status_code == 200
    assert (await admin("DELETE", "/applications/app")).status_code == 204
    assert (await admin("GET", "/applications/app")).status_code == 404

    new = {"id": "guard", "scopes": ["keyfob.revocations"]}
    guard = (await admin("POST", "/services", new)).json()
    feed = await world.http.get("/oauth2/revocations", auth=("guard", guard["client_secret"]))
    assert feed.status_code == 200
    assert (await admin("GET", "/services/guard")).json()["scopes"] == ["keyfob.revocations"]
    assert (await admin("DELETE", "/services/guard")).status_code == 204
    assert [one["id"] for one in (await admin("GET", "/services")).json()["items"]] == ["ops"]


async def test_a_name_is_no_way_from_one_kind_of_client_to_another(
    world: World, admin: Admin
) -> None:
    world.register.add_device("dev1")
    for path in ("/services/dev1", "/applications/dev1"):
        assert (await admin("GET", path)).status_code == 404
        assert (await admin("DELETE", path)).status_code == 404
    for path in ("", "/disable", "/enable", "/rotate-secret", "/revoke-tokens"):
        method = "POST" if path else "GET"
        body: Any = {} if path == "/rotate-secret" else None
        assert (await admin(method, f"/devices/ops{path}", body)).status_code == 404
    assert (await admin("POST", "/devices", {"id": "ops"})).json()["code"] == "conflict"
    assert world.register.show_device("dev1").id == "dev1"


async def test_keys_are_listed_rotated_and_removed(world: World, admin: Admin) -> None:
    (first,) = (await admin("GET", "/keys")).json()["items"]
    assert first["state"] == "signing"
    announced = await admin("POST", "/keys/rotate", {})
    assert (announced.status_code, announced.json()["state"]) == (201, "announced")
    assert announced.json()["signs_from"] >= world.clock.now + JWKS_MAX_AGE
    assert (await admin("POST", "/keys/rotate", {})).status_code == 409
    assert (await admin("DELETE", f"/keys/{first['kid']}")).status_code == 409  # it signs
    assert (await admin("DELETE", f"/keys/{announced.json()['kid']}")).status_code == 204
    world.clock.now += 1
    at_once = (await admin("POST", "/keys/rotate", {"now": True})).json()
    assert at_once["state"] == "signing"
    shown = (await admin("GET", "/keys")).text
    assert "PRIVATE" not in shown
    assert '"d"' not in shown


async def test_the_trail_is_read_by_subject_and_number(world: World, admin: Admin) -> None:
    for name in ("a", "b"):
        await admin("POST", "/devices", {"id": name})
    await admin("POST", "/devices", {"id": "a"})
    found = (await admin("GET", "/actions?subject=a")).json()["items"]
    assert [(one["actor"], one["action"], one["result"]) for one in found] == [
        ("service:ops", "device.add", "done"),
        ("service:ops", "device.add", "conflict"),
    ]
    assert len((await admin("GET", "/actions?last=1")).json()["items"]) == 1


async def test_registration_tokens_are_made_listed_and_removed(admin: Admin) -> None:
    wish = {"name": "line1", "uses": 3, "expires_in": 60, "template": {"prefix": "t-"}}
    made = (await admin("POST", "/registration-tokens", wish)).json()
    assert made["token"].startswith("kfi_")
    listed = await admin("GET", "/registration-tokens")
    assert listed.json()["items"] == [made["registration_token"]]
    assert made["token"] not in listed.text
    assert (await admin("POST", "/registration-tokens", wish)).status_code == 409
    assert (await admin("DELETE", "/registration-tokens/line1")).status_code == 204
    assert (await admin("DELETE", "/registration-tokens/line1")).status_code == 404


JSON = "application/json"
LATIN = "application/json; charset=latin1"
FORM = "application/x-www-form-urlencoded"
SHARED = b'{"id": "a", "rights": {"publish": ["$share/g/x"]}}'
RESERVED = b'{"id": "a", "rights": {"scopes": ["keyfob.admin.devices:read"]}}'
SYMMETRIC = b'{"id": "a", "jwks": {"keys": [{"kty": "oct", "k": "AAAA"}]}}'
BODIES: dict[str, tuple[bytes, str, int, str]] = {
    "another type": (b"id=dev1", FORM, 415, "media_type_unsupported"),
    "no type": (b'{"id": "dev1"}', "", 415, "media_type_unsupported"),
    "another charset": (b'{"id":"d"}', LATIN, 415, "media_type_unsupported"),
    "nothing": (b"", JSON, 400, "json_malformed"),
    "no JSON": (b"{", JSON, 400, "json_malformed"),
    "a repeated member": (b'{"id": "a", "id": "b"}', JSON, 400, "json_malformed"),
    "not UTF-8": (b'{"id": "\xff"}', JSON, 400, "json_malformed"),
    "NaN": (b'{"id": "a", "lifetime": NaN}', JSON, 400, "json_malformed"),
    "too deep": (b"[" * 99 + b"]" * 99, JSON, 400, "json_malformed"),
    "too large": (b" " * 270_000, JSON, 413, "body_too_large"),
    "no object": (b"[]", JSON, 422, "body_invalid"),
    "an unknown member": (b'{"id": "a", "owner": "b"}', JSON, 422, "body_invalid"),
    "another type of value": (b'{"id": 1}', JSON, 422, "body_invalid"),
    "no name": (b'{"id": "a/b"}', JSON, 422, "body_invalid"),
    "a line feed behind a name": (b'{"id": "a\\n"}', JSON, 422, "config_invalid"),
    "a reserved name": (b'{"id": "auto-1"}', JSON, 422, "config_invalid"),
    "a secret for a name": (b'{"id": "kfs_abc"}', JSON, 422, "config_invalid"),
    "no filter": (b'{"id": "a", "rights": {"publish": ["a/#/b"]}}', JSON, 422, "body_invalid"),
    "a shared filter": (SHARED, JSON, 422, "topic_invalid"),
    "a reserved scope": (RESERVED, JSON, 422, "config_invalid"),
    "a symmetric key": (SYMMETRIC, JSON, 422, "config_invalid"),
}
LONG = "after=" + "x" * 200


@pytest.mark.parametrize("case", BODIES)
async def test_a_body_that_is_not_what_it_has_to_be_changes_nothing(
    world: World, admin: Admin, case: str
) -> None:
    body, media_type, status, code = BODIES[case]
    headers = {"Authorization": f"Bearer {admin.token}"}
    if media_type:
        headers["Content-Type"] = media_type
    answer = await world.http.post("/admin/v1/devices", content=body, headers=headers)
    problem = answer.json()
    assert (answer.status_code, problem["status"], problem["code"]) == (status, status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    assert world.register.list_devices() == ()


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=1001", "limit=x", "limit=1&limit=2", "other=1", LONG],
)
async def test_a_query_that_is_not_what_it_has_to_be_is_refused(admin: Admin, query: str) -> None:
    answer = await admin("GET", f"/devices?{query}")
    assert (answer.status_code, answer.json()["code"]) == (422, "query_invalid")


@pytest.mark.parametrize("name", ["%0A", "a%0A", "a%00", "%2e%2e", "a b", "x" * 200, "ü", "%ff"])
async def test_what_is_no_name_names_nothing(admin: Admin, name: str) -> None:
    for method, path in (("GET", ""), ("POST", "/disable"), ("DELETE", "")):
        answer = await admin(method, f"/devices/{name}{path}")
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"


async def test_a_method_that_there_is_not_says_which_there_are(admin: Admin) -> None:
    answer = await admin("PUT", "/devices")
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert {"GET", "POST"} <= set(answer.headers["allow"].replace(" ", "").split(","))


async def test_no_answer_but_the_one_that_shows_it_has_a_secret(world: World, admin: Admin) -> None:
    made: Any = (await admin("POST", "/devices", {"id": "dev1"})).json()["client_secret"]
    shown = [
        (await admin("GET", path)).text
        for path in ("/devices", "/devices/dev1", "/services", "/actions", "/applications")
    ]
    shown.append(repr(world.events))
    shown.append(repr(world.register.list_actions()))
    assert not any("kfs_" in text or made[4:] in text or admin.token in text for text in shown)


def set_mode(file: Path, mode: int) -> None:
    file.chmod(mode)


@pytest.mark.sqlite  # whose file may be one that others may read
async def test_a_register_that_cannot_be_opened_any_more_is_unavailable(
    world: World, admin: Admin, database: Path
) -> None:
    set_mode(database, 0o640)  # which the thread that opens it first refuses
    for method, body in (("GET", None), ("POST", {"id": "dev1"})):
        answer = await admin(method, "/devices", body)
        assert (answer.status_code, answer.json()["code"]) == (503, "upstream_unavailable")
        assert "retry-after" in answer.headers
        assert str(database) not in answer.text
    set_mode(database, 0o600)
    assert (await admin("POST", "/devices", {"id": "dev1"})).status_code == 201


async def test_no_answer_shows_its_secret_where_it_is_printed(world: World) -> None:
    issued = world.register.add_device("dev1")
    service, secret = world.register.add_service("asker", scopes=["keyfob.introspection"])
    made = world.register.add_application("app")
    answers = (
        IssuedDevice(device=issued.device, client_secret=issued.secret),
        CreatedService(service=service, client_secret=secret),
        CreatedApplication(application=made.application, client_secret=made.secret),
    )
    assert "kfs_" not in repr(answers)
    assert msgspec.json.encode(answers).count(b"kfs_") == 3
