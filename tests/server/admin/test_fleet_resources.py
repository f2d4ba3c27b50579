# SPDX-License-Identifier: Apache-2.0
"""Groups, labels, states and many devices at once over the admin API."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from keyfob.server.admin.bulk import MAX_NAMES
from keyfob.server.admin_scopes import DEVICES_READ
from keyfob.server.fleet_batch import MAX_ROWS
from keyfob.server.wishes import DeviceWish, Rights
from tests.server.admin.asking import Admin
from tests.server.world import World

pytestmark = pytest.mark.anyio


async def lines(admin: Admin, *rows: object, content: bytes | None = None) -> httpx.Response:
    body = content or b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    return await admin.world.http.post(
        "/admin/v1/bulk/import",
        content=body,
        headers={
            "Authorization": f"Bearer {admin.token}",
            "Content-Type": "application/x-ndjson",
        },
    )


async def test_a_group_lives_its_life_and_counts_from_the_next_token(
    world: World, admin: Admin
) -> None:
    wish = {"name": "meters", "publish": ["meters/{device}/#"], "lifetime": 900}
    made = await admin("POST", "/groups", wish)
    assert made.status_code == 201
    assert (await admin("POST", "/groups", wish)).json()["code"] == "conflict"
    device = {"id": "m1", "groups": ["meters"], "labels": {"site": "north"}}
    secret = (await admin("POST", "/devices", device)).json()["client_secret"]
    token = (await world.device_token("m1", secret)).json()
    assert token["expires_in"] == 900
    assert token["scope"] == "mqtt.connect mqtt.publish:meters/m1/#"
    rights = (await admin("GET", "/devices/m1/rights")).json()["scopes"]
    assert " ".join(rights) == token["scope"]
    changed = await admin("PATCH", "/groups/meters", {"publish": [], "lifetime": None})
    assert (changed.json()["publish"], changed.json()["lifetime"]) == ([], None)
    assert (await world.device_token("m1", secret)).json()["scope"] == "mqtt.connect"
    assert [one["name"] for one in (await admin("GET", "/groups")).json()["items"]] == ["meters"]
    assert (await admin("DELETE", "/groups/meters")).status_code == 204
    assert (await admin("GET", "/groups/meters")).status_code == 404
    assert (await admin("GET", "/devices/m1")).json()["groups"] == []


async def test_groups_and_labels_are_given_and_taken(world: World, admin: Admin) -> None:
    for name in ("a", "b"):
        await admin("POST", "/groups", {"name": name})
    await admin("POST", "/devices", {"id": "d1", "groups": ["a"], "labels": {"x": "1", "y": "2"}})
    change = {"into": ["b"], "out_of": ["a"], "labels": {"z": "3"}, "unlabel": ["x"]}
    device = (await admin("PATCH", "/devices/d1", change)).json()
    assert (device["groups"], device["labels"]) == (["b"], {"y": "2", "z": "3"})
    missing = await admin("PATCH", "/devices/d1", {"into": ["nowhere"]})
    assert missing.status_code == 404
    (line,) = [
        one for one in world.register.list_actions(subject="d1") if one.result == "not_found"
    ]
    assert line.actor == "service:ops"


async def test_lists_are_filtered_by_group_label_and_state(admin: Admin) -> None:
    await admin("POST", "/groups", {"name": "g"})
    await admin("POST", "/devices", {"id": "d1", "groups": ["g"]})
    await admin("POST", "/devices", {"id": "d2", "labels": {"site": "north"}, "pending": True})
    await admin("POST", "/devices", {"id": "d3"})
    await admin("POST", "/devices/d3/disable")

    async def found(query: str) -> list[str]:
        return [one["id"] for one in (await admin("GET", f"/devices?{query}")).json()["items"]]

    assert await found("group=g") == ["d1"]
    assert await found("label=site%3Dnorth") == ["d2"]
    for state, name in (("active", "d1"), ("pending", "d2"), ("disabled", "d3")):
        assert await found(f"state={state}") == [name]
    assert await found("group=g&state=disabled") == []
    for query in ("state=gone", "label=nothing", "group=/"):
        assert (await admin("GET", f"/devices?{query}")).status_code == 422


async def test_many_are_disabled_and_their_tokens_revoked(world: World, admin: Admin) -> None:
    secrets = {name: world.register.add_device(name).secret for name in ("d1", "d2", "d3")}
    answer = await admin("POST", "/bulk/disable", {"devices": ["d1", "d3", "nobody", "ops", "/"]})
    outcome = answer.json()
    assert (outcome["done"], outcome["missing"]) == (2, 3)
    assert outcome["examples"] == ["nobody", "ops", "?"]
    states = {one.id: one.state for one in world.register.list_devices()}
    assert states == {"d1": "disabled", "d2": "active", "d3": "disabled"}
    assert (await world.device_token("d1", secrets["d1"])).status_code == 401
    again = await admin("POST", "/bulk/disable", {"devices": ["d1"]})
    assert again.json()["done"] == 1
    assert (await admin("GET", "/services/ops")).status_code == 200  # a name of another kind


async def test_many_get_new_secrets_with_an_overlap(world: World, admin: Admin) -> None:
    old = {name: world.register.add_device(name).secret for name in ("d1", "d2")}
    wish = {"devices": ["d1", "d2", "d1", "nobody"], "overlap": 600}
    answer = (await admin("POST", "/bulk/rotate-secrets", wish)).json()
    assert (answer["outcome"]["done"], answer["outcome"]["missing"]) == (2, 1)
    new = {one["device"]: one["secret"] for one in answer["secrets"]}
    assert set(new) == {"d1", "d2"}
    for secret in (old["d1"], new["d1"]):
        assert (await world.device_token("d1", secret)).status_code == 200
    world.clock.now += 601
    assert (await world.device_token("d1", old["d1"])).status_code == 401
    assert (await world.device_token("d1", new["d1"])).status_code == 200


async def test_no_more_are_done_in_a_request_than_a_transaction_takes(admin: Admin) -> None:
    names = [f"d{number}" for number in range(MAX_NAMES + 1)]
    for path in ("/bulk/disable", "/bulk/rotate-secrets"):
        assert (await admin("POST", path, {"devices": names})).status_code == 422
        assert (await admin("POST", path, {"devices": []})).status_code == 422
    rows = [{"device": name} for name in names[: MAX_ROWS + 1]]
    answer = await lines(admin, *rows)
    assert (answer.status_code, answer.json()["code"]) == (422, "config_invalid")
    assert (await admin("GET", "/devices")).json()["items"] == []


async def test_as_many_names_as_are_allowed_fit_into_a_request(admin: Admin) -> None:
    names = [f"{number:0128}" for number in range(MAX_NAMES)]
    answer = await admin("POST", "/bulk/disable", {"devices": names})
    assert (answer.status_code, answer.json()["missing"]) == (200, MAX_NAMES)


async def test_rows_are_imported_and_what_is_wrong_is_told_without_a_secret(
    world: World, admin: Admin
) -> None:
    world.register.add_device("there")
    own = "A9f8Zq1LmN2oPq3RsT4uVw5XyZ6aBc7D"
    answer = await lines(
        admin,
        {"device": "d1", "publish": ["a/{device}"], "labels": {"site": "north"}},
        {"device": "d2", "secret": own},
        {"device": "there"},
        {"device": "d3", "groups": ["nowhere"]},
        {"device": "d4", "secret": "weak-secret"},
        {"device": "d5", "owner": "x"},
        {"device": "d1"},
    )
    outcome = answer.json()
    assert (answer.status_code, outcome["registered"]) == (200, 2)
    assert [one["device"] for one in outcome["secrets"]] == ["d1"]
    assert [(one["row"], one["code"]) for one in outcome["rejected"]] == [
        *((3, "conflict"), (4, "not_found"), (5, "config_invalid")),
        *((6, "config_invalid"), (7, "conflict")),
    ]
    assert own not in answer.text
    assert "weak-secret" not in answer.text
    made = outcome["secrets"][0]["secret"]
    assert (await world.device_token("d1", made)).json()["scope"].endswith("mqtt.publish:a/d1")
    assert (await world.device_token("d2", own)).status_code == 200
    done = [one for one in world.register.list_actions() if one.action == "device.import"]
    assert [(one.subject, one.actor) for one in done] == [
        ("d1", "service:ops"),
        ("d2", "service:ops"),
    ]


LONG = b'{"device": "' + b"x" * 70_000 + b'"}\n'


@pytest.mark.sqlite
@pytest.mark.parametrize(
    "content", [b"\xff\n", b"[]\n", b'{"device": 1}\n', b"{", b'"x"\n' * 9, LONG]
)
async def test_lines_that_are_no_rows_are_rejected_rows(admin: Admin, content: bytes) -> None:
    outcome = (await lines(admin, content=content)).json()
    assert outcome["registered"] == 0
    assert {one["code"] for one in outcome["rejected"]} == {"config_invalid"}


async def test_what_is_no_json_lines_is_refused(admin: Admin) -> None:
    answer = await admin("POST", "/bulk/import", {"device": "d1"})
    assert answer.status_code == 415
    assert (await lines(admin, content=b"x" * 4_200_000)).status_code == 413


async def test_what_is_exported_page_by_page_is_imported_again(world: World, admin: Admin) -> None:
    for number in range(5):
        world.register.add_device(
            DeviceWish(
                f"d{number}", rights=Rights(publish=["a/{device}"]), labels={"n": str(number)}
            )
        )
    text, place = "", "/bulk/export?limit=2"
    while place:
        answer = await admin("GET", place)
        assert answer.headers["content-type"].startswith("application/x-ndjson")
        text += answer.text
        place = answer.links.get("next", {}).get("url", "").partition("/admin/v1")[2]
    assert [json.loads(line)["device"] for line in text.splitlines()] == [f"d{n}" for n in range(5)]
    assert "kfs_" not in text
    for number in range(5):
        world.register.remove_device(f"d{number}")
    assert (await lines(admin, content=text.encode())).json()["registered"] == 5
    again = await admin("GET", "/bulk/export")
    assert again.text == text
    assert "link" not in again.headers


async def test_who_may_only_read_changes_nobody(world: World) -> None:
    world.register.add_device("d1")
    reader = await Admin.of(world, "reader", [DEVICES_READ])
    assert (await reader("GET", "/bulk/export")).status_code == 200
    assert (await lines(reader, {"device": "x"})).status_code == 403
    for path in ("/bulk/disable", "/bulk/rotate-secrets"):
        assert (await reader("POST", path, {"devices": ["d1"]})).status_code == 403
    assert world.register.show_device("d1").state == "active"


@pytest.mark.parametrize("resource", ["groups", "registration-tokens"])
async def test_groups_and_tokens_are_listed_by_page(admin: Admin, resource: str) -> None:
    names = [f"n{number}" for number in range(5)]
    more: dict[str, Any] = {} if resource == "groups" else {"uses": 1, "expires_in": 60}
    for name in reversed(names):
        assert (await admin("POST", f"/{resource}", {"name": name} | more)).status_code == 201
    found: list[list[str]] = []
    after: str | None = ""
    while after is not None:
        page = (await admin("GET", f"/{resource}?limit=2&after={after}")).json()
        found.append([one["name"] for one in page["items"]])
        after = page["next"]
    assert found == [names[:2], names[2:4], names[4:]]
    assert (await admin("GET", f"/{resource}?limit=0")).status_code == 422
