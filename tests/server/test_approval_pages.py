# SPDX-License-Identifier: Apache-2.0
"""The pages on which devices are approved: who is let in, what a form needs, what is shown."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from keyfob.server.app import create_app
from keyfob.server.approval.desk import Desk
from keyfob.server.audit import TokenEvent
from keyfob.server.device_limits import WrongCodesInMemory
from keyfob.server.limits import LimitSettings
from keyfob.server.oauth_errors import OAuthError
from keyfob.server.register import Register
from keyfob.server.settings import ServerSettings
from keyfob.server.stores.device_codes import StoredDeviceCodes, withdraw_approvals
from keyfob.server.stores.operators import end_sessions_of
from keyfob.server.stores.reads import InLoop
from keyfob.server.stores.serving import ServingStore
from keyfob.server.stores.store import open_store
from keyfob.server.stores.writer import Writer
from keyfob.server.wishes import DeviceWish, Rights
from tests.server.approving import (
    PASSWORD,
    Approver,
    Gateway,
    add_operator,
    approver,
    gateway,
    operators_of,
)
from tests.server.databases import everything
from tests.server.world import Clock, World

pytestmark = pytest.mark.anyio


@pytest.fixture
def client(world: World) -> Gateway:
    add_operator(world)
    world.register.add_device(
        DeviceWish("dev1", rights=Rights(publish=["{device}/#"], subscribe=["{device}/in"]))
    )
    return gateway(world)


@pytest.fixture
async def browser(world: World, client: Gateway) -> AsyncIterator[Approver]:
    async with approver(world) as browser:
        yield browser


# Signing in


async def test_where_nobody_is_an_operator_there_are_no_pages(world: World) -> None:
    async with approver(world) as browser:
        for path in ("/device", "/device/sign-in", "/device/decision"):
            assert (await browser.http.get(path)).status_code == 404
            assert (await browser.post(path, {"username": "a"})).status_code in (404, 405)


async def test_only_name_and_password_together_let_somebody_in(
    world: World, browser: Approver
) -> None:
    refused = []
    for name, password in (
        *(("alice", "wrong"), ("alice", ""), ("bob", PASSWORD), ("", PASSWORD), ("a b", PASSWORD)),
        *(
            ("Alice", PASSWORD),
            ("alice", PASSWORD + " "),
            ("alice", "x" * 5_000),
            ("a\0b", PASSWORD),
        ),
    ):
        page = await browser.sign_in(name, password)
        assert page.status == 403
        assert not page.has("request")
        page.answer.headers.pop("set-cookie", None)
        refused.append(re.sub(r'name="username" value="[^"]*"', "", page.answer.text))
    assert len(set(refused)) == 1  # one answer, whatever was wrong
    assert (await browser.sign_in()).has("request")
    reasons = [event.reason for event in world.events if event.outcome == "refused"]
    assert set(reasons) == {"operator_unknown", "operator_password_wrong"}
    named = {event.operator for event in world.events}
    assert named == {"", "alice"}  # what was typed as a name may be a password


async def test_an_unknown_name_costs_the_same_work(
    world: World, browser: Approver, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, int, int]] = []
    scrypt = hashlib.scrypt

    def counted(password: bytes, **options: Any) -> bytes:
        asked.append((options["n"], options["r"], options["p"]))
        return scrypt(password, **options)

    monkeypatch.setattr(hashlib, "scrypt", counted)
    await browser.sign_in("alice", "wrong")
    await browser.sign_in("nobody", "wrong")
    assert len(asked) == 2
    assert asked[0] == asked[1]


async def test_each_sign_in_has_another_session_and_ends_the_one_before(
    browser: Approver,
) -> None:
    await browser.sign_in()
    first = browser.http.cookies["__Host-keyfob-session"]
    form = (await _signed_out(browser)).form("sign-in")
    browser.http.cookies.set("__Host-keyfob-session", first, domain="as.example", path="/")
    await browser.submit(form, username="alice", password=PASSWORD)
    second = browser.http.cookies["__Host-keyfob-session"]
    assert second != first
    assert await _is_signed_in(browser)
    _show(browser, first)
    assert not await _is_signed_in(browser)


async def test_cookies_are_for_this_host_over_tls_and_not_for_scripts(browser: Approver) -> None:
    answer = await browser.http.get("/device")
    form = answer.headers["set-cookie"]
    assert form.startswith("__Host-keyfob-form=")
    page = await browser.open()
    signed_in = await browser.post(
        "/device/sign-in", page.form("sign-in").values | {"username": "alice", "password": PASSWORD}
    )
    for cookie in (form, *signed_in.headers.get_list("set-cookie")):
        attributes = {part.strip().lower() for part in cookie.split(";")[1:]}
        assert {"path=/", "secure", "httponly", "samesite=lax"} <= attributes
        assert not any(one.startswith("domain") for one in attributes)
    assert signed_in.status_code == 303
    assert signed_in.headers["location"] == "https://as.example:8443/device"


async def test_a_session_ends_when_it_is_idle_and_at_the_end_of_its_day(
    world: World, browser: Approver
) -> None:
    await browser.sign_in()
    world.clock.now += 899
    assert await _is_signed_in(browser)
    world.clock.now += 899
    assert await _is_signed_in(browser)
    world.clock.now += 961
    assert not await _is_signed_in(browser)
    await browser.sign_in()
    began = world.clock.now
    while world.clock.now < began + 8 * 3_600 - 600:
        assert await _is_signed_in(browser)
        world.clock.now += 600
    world.clock.now += 600
    assert not await _is_signed_in(browser)


@pytest.mark.parametrize("act", ["remove", "set_password"])
async def test_a_session_ends_with_its_password_and_its_account(
    world: World, browser: Approver, act: str
) -> None:
    add_operator(world, "bob")
    await browser.sign_in()
    with operators_of(world) as operators:
        if act == "remove":
            operators.remove("alice")
        else:
            operators.set_password("alice", "another battery staple")
    assert not await _is_signed_in(browser)


async def test_signing_out_ends_the_session_on_the_server(browser: Approver) -> None:
    await browser.sign_in()
    token = browser.http.cookies["__Host-keyfob-session"]
    assert (await _signed_out(browser)).has("sign-in")
    _show(browser, token)
    assert not await _is_signed_in(browser)


async def test_the_register_keeps_no_session_token(world: World, browser: Approver) -> None:
    await browser.sign_in()
    token = browser.http.cookies["__Host-keyfob-session"]
    assert token.encode() not in everything(world.settings.database)


# Forms


@pytest.mark.sqlite
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "null"},
        {"Origin": "https://evil.example"},
        {"Origin": "http://as.example:8443"},
        {"Origin": "https://as.example"},
        {"Origin": "https://as.example:8443.evil.example"},
        {"Origin": "https://as.example:8443", "Sec-Fetch-Site": "cross-site"},
        {"Origin": "https://as.example:8443", "Sec-Fetch-Site": "same-site"},
    ],
)
@pytest.mark.sqlite
@pytest.mark.parametrize("path", ["sign-in", "request", "decision", "sign-out"])
async def test_a_form_of_another_origin_does_nothing(
    world: World, browser: Approver, client: Gateway, headers: dict[str, str], path: str
) -> None:
    begun = await client.begun(login_hint="dev1")
    page = await browser.sign_in()
    fields = page.form("sign-out").values | {
        "user_code": begun["user_code"],
        "decision": "approve",
        "compared": "yes",
        "username": "alice",
        "password": PASSWORD,
    }
    answer = await browser.post(f"/device/{path}", fields, headers=headers)
    assert answer.status_code == 403
    assert await _is_signed_in(browser)
    assert await client.error(begun["device_code"]) == "authorization_pending"
    assert world.events[-1].reason == "origin_foreign"


@pytest.mark.sqlite
@pytest.mark.parametrize("token", [None, "", "x", "0" * 64, "é"])
async def test_a_form_without_this_browsers_token_does_nothing(
    world: World, browser: Approver, client: Gateway, token: str | None
) -> None:
    begun = await client.begun(login_hint="dev1")
    await browser.sign_in()
    page = await browser.compare(begun["user_code"])
    fields = page.form("decision").values | {"compared": "yes", "decision": "approve"}
    del fields["token"]
    if token is not None:
        fields["token"] = token
    for path in ("decision", "request", "sign-out"):
        assert (await browser.post(f"/device/{path}", fields)).status_code == 403
        assert world.events[-1].reason == "form_token_wrong"
    assert await _is_signed_in(browser)
    assert await client.error(begun["device_code"]) == "authorization_pending"


async def test_the_token_of_another_session_is_not_good(world: World, browser: Approver) -> None:
    add_operator(world, "mallory")
    page = await browser.sign_in()
    async with approver(world) as other:
        stolen = (await other.sign_in("mallory")).form("sign-out").values["token"]
    form = page.form("sign-out")
    assert (await browser.submit(form, token=stolen)).status == 403
    assert await _is_signed_in(browser)


async def test_nobody_is_signed_in_by_somebody_elses_form(world: World, browser: Approver) -> None:
    """Login CSRF: the token of a form before the sign-in is of one browser, too."""
    async with approver(world) as attacker:
        form = (await attacker.open()).form("sign-in")
    await browser.open()  # has a cookie of its own
    page = await browser.submit(form, username="alice", password=PASSWORD)
    assert page.status == 403
    browser.http.cookies.clear()
    assert (await browser.submit(form, username="alice", password=PASSWORD)).status == 403
    assert not await _is_signed_in(browser)


async def test_a_form_after_the_sessions_end_asks_to_sign_in_and_keeps_the_code(
    world: World, browser: Approver, client: Gateway
) -> None:
    begun = await client.begun(login_hint="dev1")
    await browser.sign_in()
    form = (await browser.compare(begun["user_code"])).form("decision")
    world.clock.now += 1_000
    begun = await client.begun(login_hint="dev1")
    page = await browser.submit(form, user_code=begun["user_code"], decision="approve")
    assert page.status == 403
    again = await browser.submit(page.form("sign-in"), username="alice", password=PASSWORD)
    assert again.form("request").values["user_code"] == begun["user_code"]


@pytest.mark.sqlite
@pytest.mark.parametrize("code", ["//evil.example", "https://evil.example", "BCDF-GHJK", "<b>", ""])
async def test_after_the_sign_in_a_browser_comes_back_to_this_page_and_nowhere_else(
    browser: Approver, code: str
) -> None:
    form = (await browser.open()).form("sign-in")
    fields = {"username": "alice", "password": PASSWORD, "user_code": code, "next": code}
    answer = await browser.post(form.action, form.values | fields)
    expected = "?user_code=BCDF-GHJK" if code == "BCDF-GHJK" else ""
    assert answer.headers["location"] == "https://as.example:8443/device" + expected


async def test_every_page_allows_no_script_and_no_frame_and_is_not_kept(
    browser: Approver, client: Gateway
) -> None:
    begun = await client.begun(login_hint="dev1")
    pages = [await browser.open(), await browser.sign_in("alice", "wrong")]
    pages += [await browser.sign_in(), await browser.compare("BCDF-GHJK")]
    pages += [await browser.compare(begun["user_code"]), await browser.decide(begun["user_code"])]
    pages += [await browser.submit(pages[-1].form("sign-out"), token="x")]
    for page in pages:
        headers = page.answer.headers
        policy = headers["content-security-policy"]
        for part in ("default-src 'none'", "frame-ancestors 'none'", "form-action 'self'"):
            assert part in policy
        assert "unsafe" not in policy
        assert "script" not in page.answer.text
        assert " style=" not in page.answer.text
        assert headers["cache-control"] == "no-store"
        assert headers["x-frame-options"] == "DENY"
        assert '<html lang="en">' in page.answer.text


# Approving


async def test_a_link_with_a_code_still_asks(
    world: World, browser: Approver, client: Gateway
) -> None:
    begun = await client.begun(login_hint="dev1")
    query = "?" + begun["verification_uri_complete"].partition("?")[2]
    page = await browser.sign_in(query=query)
    assert page.form("request").values["user_code"] == begun["user_code"]
    assert "Nothing is approved yet" in page.text
    assert await client.error(begun["device_code"]) == "authorization_pending"
    shown = await browser.submit(page.form("request"))
    form = shown.form("decision")
    refused = await browser.submit(form, decision="approve")  # did not say that he compared
    assert refused.status == 400
    assert "Compare the code" in refused.text
    assert await client.error(begun["device_code"]) == "slow_down"
    assert "Approved" in (await browser.submit(form, decision="approve", compared="yes")).text


async def test_what_is_asked_for_is_shown_before_it_is_approved(
    browser: Approver, client: Gateway
) -> None:
    begun = await client.begun(login_hint="dev1", scope="mqtt.connect mqtt.publish:dev1/a%20b")
    await browser.sign_in()
    page = await browser.compare(begun["user_code"].lower().replace("-", " "))
    for shown in (
        *("dev1", "setup", begun["user_code"], "connect to the broker", "publish to dev1/a b"),
        *("127.0.0.1", "15 January 2027, 08:00:00 UTC"),
    ):
        assert shown in page.text
    assert "subscribe" not in page.text
    assert "another network" not in page.text


async def test_a_request_from_elsewhere_is_said_to_be_from_elsewhere(
    world: World, browser: Approver, client: Gateway
) -> None:
    app: Any = world.http._transport
    transport = httpx.ASGITransport(app.app, client=("203.0.113.9", 1))
    async with httpx.AsyncClient(transport=transport, base_url=browser.origin) as http:
        answer = await http.post(
            "/oauth2/device_authorization",
            data={"login_hint": "dev1"},
            auth=("setup", client.secret),
        )
    await browser.sign_in()
    page = await browser.compare(answer.json()["user_code"])
    assert "203.0.113.9" in page.text
    assert "another network than yours" in page.text


async def test_the_approver_names_the_device_where_the_client_did_not(
    world: World, browser: Approver, client: Gateway
) -> None:
    world.register.add_device("dev2")
    begun = await client.begun()
    await browser.sign_in()
    page = await browser.compare(begun["user_code"])
    assert "Which device" in page.text
    page = await browser.submit(page.form("request"), device="dev9")
    assert (page.status, "There is no device dev9" in page.text) == (400, True)
    page = await browser.submit(page.form("request"), device="dev2")
    assert (
        "Approved"
        in (await browser.submit(page.form("decision"), decision="approve", compared="yes")).text
    )
    assert (await client.poll(begun["device_code"])).json()["scope"] == "mqtt.connect"
    assert world.events[-1].subject == "dev2"


async def test_the_device_that_a_client_named_cannot_be_exchanged_on_the_page(
    world: World, browser: Approver, client: Gateway
) -> None:
    world.register.add_device(DeviceWish("dev2", rights=Rights(publish=["#"])))
    begun = await client.begun(login_hint="dev1")
    await browser.sign_in()
    assert "Approved" in (await browser.decide(begun["user_code"], device="dev2")).text
    await client.poll(begun["device_code"])
    assert world.events[-1].subject == "dev1"


@pytest.mark.sqlite
@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"login_hint": "dev9"}, "no device dev9"),
        ({"login_hint": "setup"}, "no device setup"),
        ({"login_hint": "dev2"}, "disabled"),
        ({"login_hint": "dev3"}, "not activated yet"),
        ({"login_hint": "dev1", "scope": "mqtt.publish:#"}, "more than dev1 is registered for"),
    ],
)
async def test_what_cannot_be_given_cannot_be_approved_but_denied(
    world: World, browser: Approver, client: Gateway, asked: dict[str, str], why: str
) -> None:
    world.register.add_device("dev2")
    world.register.disable_device("dev2")
    world.register.add_device(DeviceWish("dev3", pending=True))
    begun = await client.begun(**asked)
    await browser.sign_in()
    page = await browser.compare(begun["user_code"])
    assert (page.status, why in page.text) == (400, True)
    form = page.form("decision")
    tried = await browser.submit(form, decision="approve", compared="yes", shown="0" * 64)
    assert (tried.status, "Approved" in tried.text) == (400, False)
    assert await client.error(begun["device_code"]) == "authorization_pending"
    assert "Denied" in (await browser.submit(form, decision="deny")).text
    assert await client.error(begun["device_code"]) == "access_denied"


async def test_an_approval_counts_for_what_was_shown_only(
    world: World, browser: Approver, client: Gateway
) -> None:
    begun = await client.begun(login_hint="dev1")
    await browser.sign_in()
    form = (await browser.compare(begun["user_code"])).form("decision")
    world.register.remove_device("dev1")
    world.clock.now += 2
    world.register.add_device(DeviceWish("dev1", rights=Rights(publish=["#"])))
    page = await browser.submit(form, decision="approve", compared="yes")
    assert (page.status, "has changed meanwhile" in page.text) == (400, True)
    assert "publish to #" in page.text
    assert await client.error(begun["device_code"]) == "authorization_pending"


async def test_a_request_is_decided_once(browser: Approver, client: Gateway) -> None:
    begun = await client.begun(login_hint="dev1")
    await browser.sign_in()
    form = (await browser.compare(begun["user_code"])).form("decision")
    assert "Denied" in (await browser.submit(form, decision="deny")).text
    for decision in ("approve", "deny"):
        page = await browser.submit(form, decision=decision, compared="yes")
        assert (page.status, "No request waits" in page.text) == (400, True)
    assert await client.error(begun["device_code"]) == "access_denied"


@pytest.mark.parametrize("decision", ["approve", "deny"])
async def test_nobody_decides_whose_session_ended_while_the_decision_waited_for_the_database(
    world: World, browser: Approver, client: Gateway, decision: str
) -> None:
    begun = await client.begun(login_hint="dev1")
    await browser.sign_in()
    form = (await browser.compare(begun["user_code"])).form("decision")
    store = open_store(world.settings.database)
    try:
        with store.transaction():
            # It has looked at the session, and waits for the writer's lock now.
            sent = asyncio.create_task(browser.submit(form, decision=decision, compared="yes"))
            await asyncio.sleep(0.3)
            end_sessions_of(store.connection, "alice")
            withdraw_approvals(store.connection, "alice")
        assert (await sent).status == 400
    finally:
        store.close()
    assert await client.error(begun["device_code"]) == "authorization_pending"


@pytest.mark.sqlite
@pytest.mark.parametrize("fields", [{"decision": "maybe"}, {"decision": ""}])
async def test_a_form_that_says_neither_decides_nothing(
    browser: Approver, client: Gateway, fields: dict[str, str]
) -> None:
    begun = await client.begun(login_hint="dev1")
    await browser.sign_in()
    form = (await browser.compare(begun["user_code"])).form("decision")
    assert (await browser.submit(form, compared="yes", **fields)).status == 400
    assert await client.error(begun["device_code"]) == "authorization_pending"


async def test_what_others_write_is_text_and_no_markup(
    world: World, browser: Approver, client: Gateway
) -> None:
    evil = "<img/src=x>'&{{7*7}}"
    world.register.add_device(
        DeviceWish("dev2", rights=Rights(scopes=[evil], publish=["<b>/{device}"]))
    )
    begun, named = await client.begun(), await client.begun(login_hint="dev2")
    pages = [await browser.sign_in(evil, "x"), await browser.open("?user_code=<script>")]
    await browser.sign_in()
    pages += [await browser.open("?user_code=<script>"), await browser.compare(evil)]
    pages += [await browser.compare(begun["user_code"], device=evil)]
    shown = await browser.compare(named["user_code"])
    assert evil in shown.text
    assert "publish to <b>/dev2" in shown.text
    for page in (*pages, shown):
        for tag in ("<img", "<script", "<b>"):
            assert tag not in page.answer.text


async def test_what_cannot_be_seen_or_turns_a_line_around_is_shown_percent_encoded(
    world: World, browser: Approver, client: Gateway
) -> None:
    world.register.add_device(DeviceWish("dev2", rights=Rights(publish=["a/#"])))
    scope = "mqtt.publish:a/%E2%80%AEgnihton%20ylno mqtt.publish:a/%E2%80%8Bb mqtt.publish:a/c%20d"
    begun = await client.begun(login_hint="dev2", scope=scope)
    await browser.sign_in()
    text = (await browser.compare(begun["user_code"])).text
    assert "mqtt.publish:a/%E2%80%AEgnihton" in text
    assert "publish to a/c d" in text
    assert not {"\u202e", "\u200b"} & set(text)


# Limits


async def test_wrong_codes_of_all_operators_together_are_limited(
    world: World, client: Gateway
) -> None:
    store = open_store(world.settings.database)
    ticks = [0.0]
    writer = Writer(world.settings.database)
    requests = StoredDeviceCodes(InLoop(store), writer)
    wrong = WrongCodesInMemory(lambda: ticks[0])
    desk = Desk(requests, ServingStore(InLoop(store), writer), world.clock, wrong)

    async def tried(code: str) -> tuple[str, int]:
        with pytest.raises(OAuthError) as caught:
            await desk.find(code)
        return caught.value.reason, caught.value.retry_after

    for _ in range(100):
        assert await tried("BCDF-GHJK") == ("user_code_unknown", 0)
    begun = await client.begun()
    assert await tried(begun["user_code"]) == ("limit_user_codes", 2)  # or the answer would tell
    ticks[0] = 1.0
    _, found = await desk.find(begun["user_code"])  # a right one costs nothing
    assert found.client_id == "setup"
    assert await tried("nonsense") == ("user_code_unknown", 0)
    assert (await tried("nonsense"))[0] == "limit_user_codes"
    store.close()


async def test_guesses_of_passwords_and_codes_are_limited_by_name_and_address(
    settings: ServerSettings, register: Register, clock: Clock, world: World, client: Gateway
) -> None:
    events: list[TokenEvent] = []
    limited = ServerSettings(
        issuer=settings.issuer,
        audience="mqtt",
        database=settings.database,
        limits=LimitSettings(failure_burst=3, failure_rate=0.001),
    )
    app = create_app(limited, audit=events.append, clock=clock)
    transport = httpx.ASGITransport(app)
    add_operator(world, "bob")
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url=settings.issuer) as http,
    ):
        browser = Approver(http, settings.issuer)
        await browser.sign_in("alice")
        for _ in range(3):
            async with approver(world, app) as stranger:
                assert (await stranger.sign_in("alice", "wrong")).status == 403
        # Who is signed in already decides all the same.
        denied = await browser.decide((await client.begun())["user_code"], "deny", device="dev1")
        assert "Denied" in denied.text
        http.cookies.clear()
        page = await browser.sign_in("alice")
        assert (page.status, "Too many tries" in page.text) == (429, True)
        assert events[-1].reason == "limit_failures"
        assert (await browser.sign_in("bob")).has("request")
        for _ in range(3):
            assert (await browser.compare("BCDF-GHJK")).status == 400
        assert (await browser.compare("BCDF-GHJK")).status == 429


# Other issuers


async def test_pages_stand_below_the_issuers_path_and_over_http_on_this_machine(
    database: Any, register: Register, clock: Clock
) -> None:
    settings = ServerSettings(
        issuer="http://127.0.0.1:8080/tenant", audience="mqtt", database=database, limits=None
    )
    app = create_app(settings, clock=clock)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080") as http,
    ):
        world = World(settings, register, http, clock, [], [], app.state.keyring)
        add_operator(world)
        register.add_device("dev1")
        client = gateway(world, public=True)
        begun = await client.begun(login_hint="dev1")
        assert begun["verification_uri"] == "http://127.0.0.1:8080/tenant/device"
        async with approver(world) as browser:
            await browser.sign_in()
            assert "keyfob-session" in browser.http.cookies
            assert "Approved" in (await browser.decide(begun["user_code"])).text
            assert (await browser.http.get("/tenant/device/style.css")).status_code == 200
        assert (await client.poll(begun["device_code"])).status_code == 200


async def _is_signed_in(browser: Approver) -> bool:
    return (await browser.open()).has("request")


async def _signed_out(browser: Approver) -> Any:
    page = await browser.open()
    return await browser.submit(page.form("sign-out"))


def _show(browser: Approver, token: str) -> None:
    browser.http.cookies.clear()
    browser.http.cookies.set("__Host-keyfob-session", token, domain="as.example", path="/")
