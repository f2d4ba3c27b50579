# SPDX-License-Identifier: Apache-2.0
"""Grants, operators, receivers, certificates over the admin API; what nobody gets by them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from rich.pretty import pretty_repr

from keyfob.server.admin.operators import NewOperator, NewPassword
from keyfob.server.admin.receivers import NewReceiver
from keyfob.server.admin_scopes import (
    ADMIN_SCOPES,
    DEVICES_WRITE,
    GRANTS_WRITE,
    OPERATORS_READ,
    OPERATORS_WRITE,
    SERVICES_WRITE,
)
from keyfob.server.certificates.identity import CertificateIdentity
from keyfob.server.wishes import ApplicationWish, DeviceWish
from tests.server.admin.asking import API, Admin
from tests.server.world import World

pytestmark = pytest.mark.anyio
PASSWORD = "correct horse battery"
URL = "https://guard.example/events"


async def test_allowing_and_withdrawing_a_grant_twice_is_as_once(
    world: World, admin: Admin
) -> None:
    world.register.add_device(DeviceWish("gw"))
    wish = {"grant": "token-exchange", "may_act_for": ["gw-*"]}
    once = (await admin("POST", "/grants/gw/allow", wish)).json()
    assert once["may_act_for"] == ["gw-*"]
    assert (await admin("POST", "/grants/gw/allow", wish)).json() == once
    assert (await admin("GET", "/grants/gw")).json() == once
    for _ in range(2):
        left = await admin("POST", "/grants/gw/withdraw", {"grant": "token-exchange"})
        assert left.json() == {
            "client_id": "gw",
            "grant_types": ["client_credentials"],
            "may_act_for": [],
        }


@pytest.mark.sqlite
@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/grants/gw/allow", {"grant": "password"}, 422),
        ("/grants/gw/allow", {"grant": "token-exchange", "may_act_for": ["*"]}, 422),
        ("/grants/gw/allow", {"grant": "token-exchange", "may_act_for": None}, 422),
        ("/grants/gw/allow", {"grant": "token-exchange", "act_for": ["a"]}, 422),
        ("/grants/nobody/allow", {"grant": "token-exchange"}, 404),
        ("/grants/ops/allow", {"grant": "client_credentials"}, 404),
        ("/operators", {"name": "a", "password": "short"}, 422),
        ("/operators", {"name": "a"}, 422),
        ("/operators", {"name": "/", "password": PASSWORD}, 422),
        ("/receivers", {"name": "a", "url": "http://127.0.0.1:1/"}, 422),
        ("/receivers", {"name": "a", "url": "https://a b/"}, 422),
        ("/receivers", {"name": "a", "url": URL, "secret": "a b"}, 422),
        ("/receivers", {"name": "a", "url": URL, "ca": "none"}, 422),
        ("/receivers", {"name": "a", "url": URL, "ca": "é"}, 422),
    ],
)
async def test_what_is_wrong_changes_nothing(
    world: World, admin: Admin, path: str, body: Any, status: int
) -> None:
    world.register.add_device(DeviceWish("gw"))
    answer = await admin("POST", path, body)
    assert answer.status_code == status, answer.text
    assert PASSWORD not in answer.text
    assert world.register.show_grants("gw").grant_types == ("client_credentials",)
    assert (await admin("GET", "/operators")).json()["items"] == []
    assert (await admin("GET", "/receivers")).json()["items"] == []


async def test_an_operator_lives_his_life_and_no_answer_has_his_password(
    world: World, admin: Admin
) -> None:
    made = await admin("POST", "/operators", {"name": "bob", "password": PASSWORD})
    assert (made.status_code, made.json()["openid_subject"]) == (201, None)
    for name in ("alice", "carol"):
        body = {"name": name, "openid_subject": name}
        assert (await admin("POST", "/operators", body)).status_code == 201
    first = (await admin("GET", "/operators?limit=2")).json()
    assert ([one["name"] for one in first["items"]], first["next"]) == (["alice", "bob"], "bob")
    rest = (await admin("GET", "/operators?after=bob")).json()
    assert ([one["name"] for one in rest["items"]], rest["next"]) == (["carol"], None)
    again = await admin("POST", "/operators", {"name": "bob", "password": PASSWORD})
    assert (again.status_code, again.json()["code"]) == (409, "conflict")
    changed = await admin("PUT", "/operators/bob/password", {"password": PASSWORD + "!"})
    assert (changed.status_code, changed.content) == (204, b"")
    assert (await admin("DELETE", "/operators/bob")).status_code == 204
    assert (await admin("DELETE", "/operators/bob")).status_code == 404
    lines = [one for one in world.register.list_actions() if one.subject == "bob"]
    assert [(one.actor, one.action, one.result) for one in lines] == [
        ("service:ops", "operator.add", "done"),
        ("service:ops", "operator.add", "conflict"),
        ("service:ops", "operator.set-password", "done"),
        ("service:ops", "operator.remove", "done"),
        ("service:ops", "operator.remove", "not_found"),
    ]
    assert PASSWORD not in repr(lines) + made.text + again.text


async def test_a_receivers_secret_is_in_no_answer(admin: Admin) -> None:
    body = {"name": "guard", "url": URL, "secret": "0123456789abcdef"}
    made = await admin("POST", "/receivers", body)
    assert made.status_code == 201
    assert made.headers["location"].endswith("/admin/v1/receivers/guard")
    answers = [made, await admin("GET", "/receivers"), await admin("GET", "/receivers/guard")]
    assert all("0123456789abcdef" not in one.text for one in answers)
    assert answers[2].json()["receiver"] == made.json()
    assert made.json()["has_secret"] is True
    assert (await admin("DELETE", "/receivers/guard")).status_code == 204
    assert (await admin("GET", "/receivers/guard")).status_code == 404


async def test_a_certificate_is_given_left_and_taken_away(world: World, admin: Admin) -> None:
    world.register.add_device(DeviceWish("dev1"))
    path = "/devices/dev1/certificate"
    wish = {"certificate": {"tls_client_auth_san_dns": "d.example"}, "bound": True}
    given = (await admin("PUT", path, wish)).json()
    assert (await admin("PUT", path, wish)).json() == given
    left = (await admin("PUT", path, {"bound": False})).json()["metadata"]
    assert left == {"tls_client_auth_san_dns": "d.example"}
    taken = (await admin("PUT", path, {"certificate": None})).json()
    assert (taken["metadata"], taken["has_secret"]) == ({}, True)
    nothing_left = await admin("PUT", path, {"remove_secret": True})
    assert nothing_left.status_code == 422
    assert world.register.show_device("dev1").has_secret


@pytest.mark.parametrize("empty", [{}, {"tls_client_auth_san_dns": ""}])
async def test_a_certificate_that_says_nothing_takes_none_away(
    world: World, admin: Admin, empty: dict[str, str]
) -> None:
    """Only null does: a form that was not filled in is a mistake, as it is for a new device."""
    known = CertificateIdentity(san_dns="d.example")
    world.register.add_device(DeviceWish("dev1"))
    world.register.set_device_certificate("dev1", known)
    world.register.add_application(ApplicationWish("app1", certificate=known))
    for path in ("/devices/dev1/certificate", "/applications/app1/certificate"):
        answer = await admin("PUT", path, {"certificate": empty})
        assert answer.status_code == 422
        assert "a client has one of" in answer.json()["detail"]
    assert world.register.show_device("dev1").certificate == known


async def test_a_certificate_that_is_none_is_refused_in_the_trail(
    world: World, admin: Admin
) -> None:
    world.register.add_device(DeviceWish("dev1"))
    wish = {"certificate": {"tls_client_auth_san_dns": "*.example"}}
    assert (await admin("PUT", "/devices/dev1/certificate", wish)).status_code == 422
    last = world.register.list_actions(subject="dev1")[-1]
    assert (last.action, last.result) == ("device.set-certificate", "config_invalid")


def test_nothing_that_is_sent_shows_a_secret() -> None:
    sent = (
        NewOperator(name="ada", password=PASSWORD, openid_subject=PASSWORD),
        NewPassword(password=PASSWORD),
        NewReceiver(name="guard", url=URL, secret=PASSWORD, ca=PASSWORD),
    )
    for one in sent:
        assert PASSWORD not in repr(one) + pretty_repr(one)


async def test_who_makes_operators_widens_nothing_of_his_own(world: World) -> None:
    """An operator is no client: his account is no way to a token for this API."""
    his = await Admin.of(world, "his", [OPERATORS_READ, OPERATORS_WRITE])
    made = await his("POST", "/operators", {"name": "his2", "password": PASSWORD})
    assert made.status_code == 201
    asked = await world.token(auth=("his2", PASSWORD), grant_type="client_credentials")
    assert (asked.status_code, asked.json()["error"]) == (401, "invalid_client")
    # Nor is one of a service's name that service, before or after.
    assert (await his("POST", "/operators", {"name": "his", "password": PASSWORD})).is_success
    assert (await world.token(auth=("his", PASSWORD), grant_type="client_credentials")).is_error
    for method, path, body in (
        ("POST", "/services", {"id": "more", "scopes": list(ADMIN_SCOPES)}),
        ("POST", "/devices", {"id": "dev1"}),
        ("POST", "/grants/his/allow", {"grant": "token-exchange"}),
        ("GET", "/receivers", None),
    ):
        refused = await his(method, path, body)
        assert (refused.status_code, refused.json()["code"]) == (403, "insufficient_scope")


@pytest.mark.sqlite
@pytest.mark.parametrize("wanted", [one for one in ADMIN_SCOPES if one != SERVICES_WRITE])
async def test_a_service_gives_none_of_the_scopes_that_it_lacks(world: World, wanted: str) -> None:
    maker = await Admin.of(world, "maker", [SERVICES_WRITE])
    refused = await maker("POST", "/services", {"id": "more", "scopes": [SERVICES_WRITE, wanted]})
    assert (refused.status_code, refused.json()["code"]) == (403, "scope_exceeded")
    assert [one.id for one in world.register.list_services()] == ["maker"]


async def test_who_changes_devices_makes_no_gateway_of_one(world: World) -> None:
    """Neither by its grants nor by what an import may say of them."""
    world.register.add_device(DeviceWish("gw"))
    his = await Admin.of(world, "his", [DEVICES_WRITE])
    refused = await his("POST", "/grants/gw/allow", {"grant": "token-exchange"})
    assert refused.json()["code"] == "insufficient_scope"
    row = {"device": "gw2", "metadata": {"may_act_for": ["gw2-*"]}}
    assert (await imported(his, row))["registered"] == 0
    assert world.register.list_devices()[-1].id == "gw"
    both = await Admin.of(world, "both", [DEVICES_WRITE, GRANTS_WRITE])
    assert (await imported(both, row))["registered"] == 1
    assert world.register.show_grants("gw2").may_act_for == ("gw2-*",)


async def imported(admin: Admin, row: Any) -> Any:
    answer = await admin.world.http.post(
        API + "/bulk/import",
        content=json.dumps(row),
        headers={
            "Authorization": f"Bearer {admin.token}",
            "Content-Type": "application/x-ndjson",
        },
    )
    assert answer.status_code == 200, answer.text
    return answer.json()
