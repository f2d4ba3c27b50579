# SPDX-License-Identifier: Apache-2.0
"""An issuer is asked within bounds, and whatever its server does harms nobody else."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from keyfob.errors import ConfigError
from keyfob.guard.backoff import Backoff
from keyfob.guard.breaker import MAX_FAILURES, Breaker, BreakerState
from keyfob.guard.fetching import MAX_CONNECTIONS
from keyfob.guard.introspection import MAX_ANSWER, MAX_QUESTIONS, NEW_TOKENS, Introspector
from keyfob.guard.introspection_answers import Active, Introspection, Refused, Unavailable
from keyfob.guard.key_sources import StaticKeySource
from keyfob.http.allowance import Allowance
from keyfob.oauth.client_authentication import ClientSecretBasic, ClientSecretPost
from keyfob.tokens.verify import NeedIntrospection, TrustedIssuer, verify
from tests.guard.world import (
    ISSUER,
    KEY,
    NOW,
    Clock,
    Handler,
    HttpServer,
    key_set,
    mint,
    trusted,
    until,
)

pytestmark = pytest.mark.anyio

TOKEN = b"opaque-token-0123456789"
AUTHENTICATION = ClientSecretBasic(client_id="guard", client_secret="s3cr3t")
JSON = "Content-Type: application/json\r\n"
PATH = "/introspect"


def good(**changes: Any) -> bytes:
    members = {"active": True, "sub": "dev1", "aud": "mqtt", "exp": NOW + 3600}
    return json.dumps({**members, "scope": "mqtt.connect", **changes}).encode()


def opaque(**changes: Any) -> TrustedIssuer:
    return trusted(introspect="opaque", **changes)


@asynccontextmanager
async def asking(http: HttpServer, clock: Clock, **changes: Any) -> AsyncIterator[Introspector]:
    arguments: dict[str, Any] = {
        "endpoint": http.url + PATH,
        "clock": clock,
        "monotonic": clock,
        **changes,
    }
    issuer = arguments.pop("issuer", opaque())
    tested = Introspector(issuer, arguments.pop("authentication", AUTHENTICATION), **arguments)
    try:
        yield tested
    finally:
        await tested.aclose()


async def asked(tested: Introspector, token: bytes = TOKEN, **more: Any) -> Introspection:
    return await tested.ask(token, **more)


def reason(answer: Introspection) -> str:
    assert isinstance(answer, Unavailable)
    return answer.reason


def hanging(let_go: asyncio.Event | None = None) -> Handler:
    async def handle(_: asyncio.StreamWriter, __: str) -> None:
        await (let_go or asyncio.Event()).wait()

    return handle


def by_token(http: HttpServer, answer: Callable[[str], bytes]) -> Handler:
    """Answer by the token that was asked about, as a server does."""

    async def handle(writer: asyncio.StreamWriter, _: str) -> None:
        body = answer(parse_qs(http.bodies[-1].decode())["token"][0])
        writer.write(b"HTTP/1.1 200 X\r\n" + JSON.encode())
        writer.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))

    return handle


# What is asked and answered


async def test_a_token_is_asked_about_as_rfc_7662_says(http: HttpServer, clock: Clock) -> None:
    http.answer(PATH, good(), headers=JSON)
    async with asking(http, clock) as tested:
        answer = await asked(tested)
    assert isinstance(answer, Active)
    assert (answer.token.device, answer.token.introspected) == ("dev1", True)
    assert http.requests == [PATH]
    assert parse_qs(http.bodies[0].decode()) == {
        "token": [TOKEN.decode()],
        "token_type_hint": ["access_token"],
    }
    sent = http.headers[0]
    assert sent["authorization"] == AUTHENTICATION.prove(NOW).headers["Authorization"]
    assert sent["accept"] == "application/json"


async def test_the_client_may_authenticate_in_the_form(http: HttpServer, clock: Clock) -> None:
    http.answer(PATH, good(), headers=JSON)
    method = ClientSecretPost(client_id="guard", client_secret="s3cr3t")
    async with asking(http, clock, authentication=method) as tested:
        assert isinstance(await asked(tested), Active)
    form = parse_qs(http.bodies[0].decode())
    assert (form["client_id"], form["client_secret"]) == (["guard"], ["s3cr3t"])
    assert "authorization" not in http.headers[0]


async def test_the_endpoint_is_found_in_the_metadata(http: HttpServer, clock: Clock) -> None:
    document = {"issuer": http.url, "introspection_endpoint": http.url + PATH}
    http.answer("/.well-known/oauth-authorization-server", json.dumps(document))
    http.answer(PATH, good(), headers=JSON)
    async with asking(http, clock, issuer=opaque(issuer=http.url), endpoint="") as tested:
        answers = await asyncio.gather(*(asked(tested, TOKEN + b"%d" % n) for n in range(5)))
    assert all(isinstance(answer, Active) for answer in answers)
    assert http.count("/.well-known/oauth-authorization-server") == 1
    assert http.count(PATH) == 5


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"active":false}', "token_inactive"),
        (good(aud="other"), "audience_mismatch"),
        (good(exp=NOW), "token_expired"),
        (good(scope="x"), "scope_missing"),
        (good(iss="https://other.example"), "issuer_unknown"),
        (good(token_use="refresh_token"), "type_refused"),
    ],
)
async def test_a_token_that_is_not_good_is_refused(
    http: HttpServer, clock: Clock, body: bytes, code: str
) -> None:
    http.answer(PATH, body, headers=JSON)
    async with asking(http, clock) as tested:
        answer = await asked(tested)
        assert isinstance(answer, Refused)
        assert answer.code == code
        assert tested.find(tested.digest(TOKEN), NOW) is answer
        assert tested.health().failures == 0


async def test_a_jwt_and_the_answer_about_it_become_one(http: HttpServer, clock: Clock) -> None:
    issuer = trusted(introspect="always")
    keys = StaticKeySource(key_set(KEY)).keys
    jwt = mint(exp=int(NOW) + 100)
    need = verify(jwt, {ISSUER: issuer}, {ISSUER: keys}, NOW)
    assert isinstance(need, NeedIntrospection)
    http.answer(PATH, b'{"active":true,"scope":"mqtt.connect"}', headers=JSON)
    async with asking(http, clock, issuer=issuer) as tested:
        answer = await asked(tested, jwt.encode(), presented=need.presented)
        assert isinstance(answer, Active)
        assert answer.presented is need.presented
        assert (answer.token.key_id, answer.token.expires_at) == (KEY.kid, NOW + 100)
        assert answer.token.claims.scope == ("mqtt.connect",)


# What is remembered


async def test_an_answer_is_used_again_until_it_has_aged(http: HttpServer, clock: Clock) -> None:
    http.routes[PATH] = by_token(
        http, lambda token: good() if token == TOKEN.decode() else b'{"active":false}'
    )
    async with asking(http, clock, cache=30.0, negative_cache=10.0) as tested:
        digest, other = tested.digest(TOKEN), tested.digest(TOKEN + b"x")
        assert tested.find(digest, NOW) is None
        answer, refusal = await asked(tested), await asked(tested, TOKEN + b"x")
        assert tested.find(digest, NOW + 29.9) is answer
        assert tested.find(digest, NOW + 30) is None
        assert tested.find(other, NOW + 9.9) is refusal
        assert tested.find(other, NOW + 10) is None
        health = tested.health()
    assert (health.hits, health.misses, health.active, health.refused) == (2, 3, 1, 1)


async def test_an_answer_is_as_old_as_its_question(http: HttpServer, clock: Clock) -> None:
    """The token may have been revoked while the answer was on its way."""
    let_go = asyncio.Event()

    http.answer(PATH, good(), headers=JSON, after=let_go)
    async with asking(http, clock, cache=30.0) as tested:
        flight = tested.ask(TOKEN)
        await until(lambda: http.requests)
        clock.now += 20
        let_go.set()
        assert isinstance(await flight, Active)
        assert tested.find(tested.digest(TOKEN), NOW + 29) is not None
        assert tested.find(tested.digest(TOKEN), NOW + 30) is None


@pytest.mark.parametrize(
    "echo",
    [
        {"token": TOKEN.decode()},
        {"authorization": f"Bearer {TOKEN.decode()}"},
        {"ext": {"request": [{"access_token": TOKEN.decode()}]}},
        {TOKEN.decode(): True},
        {"ext": {f"of {TOKEN.decode()}": True}},
    ],
)
async def test_a_token_that_its_issuer_repeats_is_none_of_the_claims_that_are_kept(
    http: HttpServer, clock: Clock, echo: dict[str, Any]
) -> None:
    http.answer(PATH, good(**echo, ext2={"kept": True}), headers=JSON)
    async with asking(http, clock) as tested:
        answer = await asked(tested)
    assert isinstance(answer, Active)
    assert TOKEN not in answer.token.payload
    assert b'"kept":true' in answer.token.payload.replace(b" ", b"")


async def test_that_an_issuer_could_not_be_asked_is_not_remembered_of_the_token(
    http: HttpServer, clock: Clock
) -> None:
    http.answer(PATH, b"", status=503)
    async with asking(http, clock) as tested:
        assert reason(await asked(tested))
        assert tested.find(tested.digest(TOKEN), NOW) is None
        http.answer(PATH, good(), headers=JSON)
        assert isinstance(await asked(tested), Active)


# One question for all


async def test_a_token_is_asked_about_once_however_many_ask(http: HttpServer, clock: Clock) -> None:
    http.answer(PATH, good(), headers=JSON)
    async with asking(http, clock) as tested:
        answers = await asyncio.gather(*(tested.ask(TOKEN) for _ in range(200)))
    assert len({id(answer) for answer in answers}) == 1
    assert http.count(PATH) == 1


async def test_giving_an_answer_up_takes_it_from_nobody(http: HttpServer, clock: Clock) -> None:
    let_go = asyncio.Event()

    http.answer(PATH, good(), headers=JSON, after=let_go)
    async with asking(http, clock) as tested:
        impatient, patient = tested.ask(TOKEN), tested.ask(TOKEN)
        impatient.cancel()
        let_go.set()
        assert isinstance(await patient, Active)
        assert isinstance(tested.find(tested.digest(TOKEN), NOW), Active)
    assert http.count(PATH) == 1


# A server that misbehaves


def _whole(body: bytes, headers: str = JSON, status: int = 200) -> Handler:
    async def handle(writer: asyncio.StreamWriter, _: str) -> None:
        head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
        writer.write(head.encode() + body)

    return handle


async def _drip(writer: asyncio.StreamWriter, _: str) -> None:
    writer.write(b"HTTP/1.1 200 X\r\n" + JSON.encode() + b"Content-Length: 9000\r\n\r\n")
    for _number in range(9000):
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.01)


async def _flood(writer: asyncio.StreamWriter, _: str) -> None:
    writer.write(b"HTTP/1.1 200 X\r\n" + JSON.encode() + b"Connection: close\r\n\r\n")
    while True:
        writer.write(b" " * 65536)
        await writer.drain()


async def _hang_up(writer: asyncio.StreamWriter, _: str) -> None:
    writer.close()


async def _no_http(writer: asyncio.StreamWriter, _: str) -> None:
    writer.write(b"SSH-2.0-OpenSSH_9.9\r\n\r\n")


MISBEHAVIOUR: dict[str, tuple[Handler, str]] = {
    "hangs": (hanging(), "no .*answer in"),
    "drips": (_drip, "no .*answer in"),
    "hangs up": (_hang_up, "disconnect|closed|reset"),
    "speaks something else": (_no_http, "."),
    "500": (_whole(good(), status=500), "answered 500"),
    "503": (_whole(good(), status=503), "answered 503"),
    "429": (_whole(good(), status=429), "answered 429"),
    "401": (_whole(good(), status=401), "answered 401"),
    "403": (_whole(good(), status=403), "answered 403"),
    "201": (_whole(good(), status=201), "answered 201"),
    "redirect": (_whole(b"", "Location: /other\r\n", 307), "redirects are not followed"),
    "garbage": (_whole(b"\x00\xff garbage"), "not UTF-8"),
    "empty": (_whole(b""), "not JSON"),
    "a login page": (_whole(good(), "Content-Type: text/html\r\n"), "no application/json"),
    "no content type": (_whole(good(), ""), "no application/json"),
    "a signed answer unasked": (
        _whole(good(), "Content-Type: application/token-introspection+jwt\r\n"),
        "no application/json",
    ),
    "compressed": (
        _whole(gzip.compress(good()), JSON + "Content-Encoding: gzip\r\n"),
        "compressed",
    ),
    "endless": (_flood, f"more than {MAX_ANSWER} bytes"),
    "oversized": (_whole(b" " * MAX_ANSWER + good()), f"more than {MAX_ANSWER} bytes"),
    "active as a text": (_whole(good(active="true")), "active"),
    "active as a number": (_whole(good(active=1)), "active"),
    "active missing": (_whole(b'{"sub":"dev1"}'), "active"),
    "an array": (_whole(b"[" + good() + b"]"), "not a JSON object"),
    "active twice": (_whole(b'{"active":true,' + good()[1:]), "twice"),
    "a member twice": (_whole(b'{"sub":"dev2",' + good()[1:]), "twice"),
}


def patience(name: str) -> float:
    """Short where a server never answers, long where a slow machine must not be taken for one."""
    return 1.0 if name in {"hangs", "drips"} else 30.0


@pytest.mark.parametrize("name", MISBEHAVIOUR)
async def test_a_server_that_misbehaves_says_nothing_about_the_token(
    http: HttpServer, clock: Clock, name: str
) -> None:
    handler, expected = MISBEHAVIOUR[name]
    http.routes[PATH] = handler
    async with asking(http, clock, timeout=patience(name)) as tested:
        answer = await asked(tested)
        assert isinstance(answer, Unavailable)
        assert re.search(expected, answer.reason)
        health = tested.health()
        assert (health.failures, health.failure) == (1, answer.reason)
        assert tested.find(tested.digest(TOKEN), NOW) is None
        # It has recovered as soon as it answers again.
        http.answer(PATH, good(), headers=JSON)
        assert isinstance(await asked(tested), Active)
        assert tested.health().failure == ""
    assert "/other" not in http.requests


async def test_nobody_listening_is_unavailable(http: HttpServer, clock: Clock) -> None:
    async with asking(http, clock, endpoint="http://127.0.0.1:1/introspect") as tested:
        assert reason(await asked(tested))


async def test_the_first_question_takes_no_longer_than_the_others_when_prepared(
    http: HttpServer, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    http.answer(PATH, good(), headers=JSON)
    async with asking(http, clock) as tested:
        tested.prepare()
        # The certificates have been read: some 50 ms, for which a broker may stand still.
        monkeypatch.delattr("ssl.create_default_context")
        assert isinstance(await asked(tested), Active)


async def test_ca_certificates_that_cannot_be_read_are_told_of_by_each_question(
    http: HttpServer, clock: Clock, tmp_path: Path
) -> None:
    async with asking(http, clock, ca=tmp_path / "none.pem") as tested:
        tested.prepare()
        assert "cannot use the CA file" in reason(await asked(tested))


async def test_an_untrusted_certificate_is_unavailable(https: HttpServer, clock: Clock) -> None:
    https.answer(PATH, good(), headers=JSON)
    async with asking(https, clock) as tested:
        assert "CERTIFICATE_VERIFY_FAILED" in reason(await asked(tested))
    assert https.requests == []


# The breaker


def breaker() -> Breaker:
    backoff = Backoff(base=1.0, cap=8.0, jitter=lambda ceiling: ceiling)
    return Breaker(patience=4.0, failures=3, backoff=backoff)


async def test_a_server_that_fails_is_left_alone_and_recovers_by_itself(
    http: HttpServer, clock: Clock
) -> None:
    http.answer(PATH, b"", status=500)
    async with asking(http, clock, breaker=breaker()) as tested:
        for _ in range(100):
            assert reason(await asked(tested))
        assert http.count(PATH) == 3
        assert tested.health().breaker is BreakerState.OPEN
        clock.now += 1.0
        for _ in range(100):
            assert reason(await asked(tested))
        assert http.count(PATH) == 4
        http.answer(PATH, good(), headers=JSON)
        clock.now += 2.0
        assert isinstance(await asked(tested), Active)
        assert tested.health().breaker is BreakerState.CLOSED


async def test_one_of_many_tries_a_server_that_failed(http: HttpServer, clock: Clock) -> None:
    http.answer(PATH, b"", status=500)
    async with asking(http, clock, breaker=breaker()) as tested:
        for _ in range(3):
            await asked(tested)
        http.answer(PATH, good(), headers=JSON)
        clock.now += 1.0
        flights = [tested.ask(TOKEN + b"%d" % number) for number in range(MAX_CONNECTIONS)]
        answers = await asyncio.gather(*flights)
        assert sum(isinstance(answer, Active) for answer in answers) == 1
        assert http.count(PATH) == 4
        assert isinstance(await asked(tested), Active)


async def test_bad_tokens_do_not_open_the_breaker(http: HttpServer, clock: Clock) -> None:
    http.answer(PATH, b'{"active":false}', headers=JSON)
    async with asking(http, clock, breaker=breaker()) as tested:
        for number in range(20):
            assert isinstance(await asked(tested, TOKEN + b"%d" % number), Refused)
        assert tested.health().breaker is BreakerState.CLOSED


@pytest.mark.parametrize(
    ("body", "status"), [(b"Forbidden", 403), (b"{", 200), (b" " * (MAX_ANSWER + 1), 200)]
)
async def test_what_a_stranger_makes_the_server_say_keeps_nobody_else_from_asking(
    http: HttpServer, clock: Clock, body: bytes, status: int
) -> None:
    """A firewall refuses some texts; that is no word about the others."""
    http.answer(PATH, body, status=status, headers=JSON)
    async with asking(http, clock, breaker=breaker()) as tested:
        for number in range(20):
            assert reason(await asked(tested, TOKEN + b"%d" % number))
        assert tested.health().breaker is BreakerState.CLOSED
        assert tested.may_wait(1.0)
        assert tested.health().failure  # and yet the operator knows
        for _ in range(3):  # the same about tokens that it vouched for means the server
            await tested.ask(TOKEN, known=True)
        assert tested.health().breaker is BreakerState.OPEN
        assert not tested.may_wait(1.0)
        clock.now += 1.0
        for number in range(5):  # one after the other tries, and none makes the pause longer
            assert reason(await asked(tested, TOKEN + b"%d" % number))
        http.answer(PATH, good(), headers=JSON)
        assert isinstance(await asked(tested), Active)
        assert tested.health().breaker is BreakerState.CLOSED


async def test_failure_and_recovery_are_told_once_each(http: HttpServer, clock: Clock) -> None:
    told: list[str] = []
    http.answer(PATH, b"", status=500)
    async with asking(http, clock) as tested:
        tested.watch(told.append)
        for _ in range(4):
            await asked(tested)
        http.answer(PATH, good(), headers=JSON)
        for _ in range(4):
            await asked(tested)
    assert len(told) == 2
    assert told[0].startswith("introspection: ")
    assert told[0].endswith("answered 500")
    assert told[1] == ""


# Storms


async def test_a_storm_of_unknown_tokens_is_no_storm_of_questions(
    http: HttpServer, clock: Clock
) -> None:
    http.answer(PATH, b'{"active":false}', headers=JSON)
    async with asking(http, clock, timeout=60.0) as tested:
        flights = [tested.ask(TOKEN + b"%d" % number) for number in range(1000)]
        answers = await asyncio.gather(*flights)
        assert sum(isinstance(answer, Refused) for answer in answers) == NEW_TOKENS
        refused = [answer for answer in answers if isinstance(answer, Unavailable)]
        assert {answer.reason for answer in refused} == {"too many unknown tokens at once"}
        assert tested.health().unasked == 1000 - NEW_TOKENS
    assert http.count(PATH) == NEW_TOKENS
    assert http.connections <= MAX_CONNECTIONS


async def test_a_storm_does_not_keep_known_tokens_out(http: HttpServer, clock: Clock) -> None:
    http.routes[PATH] = by_token(
        http, lambda token: good() if token == TOKEN.decode() else b'{"active":false}'
    )
    async with asking(http, clock, allowance=Allowance(rate=0.0, most=2)) as tested:
        assert isinstance(await asked(tested), Active)
        assert isinstance(await asked(tested, TOKEN + b"1"), Refused)
        assert reason(await asked(tested, TOKEN + b"2")) == "too many unknown tokens at once"
        clock.now += 60
        assert isinstance(await asked(tested), Active)
        assert isinstance(await asked(tested, TOKEN + b"3", known=True), Refused)


async def test_what_waits_for_a_hanging_server_is_bounded_and_let_go(
    http: HttpServer, clock: Clock
) -> None:
    http.routes[PATH] = hanging()
    async with asking(http, clock, timeout=0.2) as tested:
        flights = [
            tested.ask(TOKEN + b"%d" % number, known=True) for number in range(MAX_QUESTIONS + 50)
        ]
        assert tested.health().waiting == MAX_QUESTIONS
        answers = await asyncio.gather(*flights)
        assert all(isinstance(answer, Unavailable) for answer in answers)
        assert tested.health().waiting == 0
        assert tested.health().breaker is BreakerState.OPEN
    assert http.count(PATH) <= MAX_CONNECTIONS + MAX_FAILURES


# Brokers that stop while they wait


async def test_nobody_waits_for_a_server_that_let_one_wait_in_vain(
    http: HttpServer, clock: Clock
) -> None:
    let_go = asyncio.Event()

    http.answer(PATH, good(), headers=JSON, after=let_go)
    async with asking(http, clock) as tested:
        assert tested.may_wait(0.02)
        flight = tested.ask(TOKEN)
        assert tested.may_wait(0.02)
        clock.now += 0.03
        assert not tested.may_wait(0.02)
        clock.now += 0.08
        let_go.set()
        assert isinstance(await flight, Active)
        # It answers, but not fast enough; for who waits longer it is.
        assert not tested.may_wait(0.02)
        assert tested.may_wait(0.2)
        await asked(tested)
        assert tested.may_wait(0.02)


async def test_nobody_waits_for_a_server_that_fails(http: HttpServer, clock: Clock) -> None:
    http.answer(PATH, b"", status=500)
    async with asking(http, clock, breaker=breaker()) as tested:
        await asked(tested)
        assert not tested.may_wait(10.0)
        await asked(tested)
        await asked(tested)
        assert tested.health().breaker is BreakerState.OPEN
        assert not tested.may_wait(10.0)
        http.answer(PATH, good(), headers=JSON)
        clock.now += 1.0
        assert not tested.may_wait(10.0)
        await asked(tested)
        assert tested.may_wait(0.02)


# Ends


async def test_closing_answers_whoever_waits(http: HttpServer, clock: Clock) -> None:
    http.routes[PATH] = hanging()
    async with asking(http, clock) as tested:
        flights = [tested.ask(TOKEN + b"%d" % number) for number in range(MAX_CONNECTIONS + 5)]
        await until(lambda: http.requests)
        await tested.aclose()
        answers = await asyncio.gather(*flights)
        assert {reason(answer) for answer in answers} == {"the guard stops asking"}
        assert reason(await asked(tested)) == "the guard stops asking"


async def test_an_address_that_may_not_be_asked_is_refused_at_once() -> None:
    for endpoint in ("http://as.example/introspect", "https://a:b@as.example/introspect"):
        with pytest.raises(ConfigError):
            Introspector(opaque(), AUTHENTICATION, endpoint=endpoint)
    with pytest.raises(ConfigError):
        Introspector(opaque(issuer="http://as.example"), AUTHENTICATION)


@pytest.mark.parametrize("name", MISBEHAVIOUR)
async def test_a_token_and_a_secret_leave_no_trace(
    http: HttpServer, clock: Clock, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)  # of every library
    http.routes[PATH] = MISBEHAVIOUR[name][0]
    token, told = b"t0p-s3cr3t-token-0123456789", list[str]()
    async with asking(http, clock, timeout=patience(name)) as tested:
        tested.watch(told.append)
        answer = await asked(tested, token)
        shown = [repr(answer), repr(tested), repr(tested.health()), repr(vars(tested)), *told]
    shown += [record.getMessage() for record in caplog.records]
    assert caplog.records
    for text in shown:
        assert "s3cr3t" not in text
        assert AUTHENTICATION.prove(NOW).headers["Authorization"] not in text


async def test_a_mistake_of_ours_is_unavailable_and_quotes_nothing(
    http: HttpServer, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    not_ascii = "t0p-s3cr3t-\u00e9-0123456789".encode()
    async with asking(http, clock) as tested:
        assert reason(await asked(tested, not_ascii)) == "the guard failed to ask"
    assert "s3cr3t" not in caplog.text
    assert "UnicodeDecodeError" in caplog.text


async def test_a_verified_token_is_kept_and_the_token_is_not(
    http: HttpServer, clock: Clock
) -> None:
    http.answer(PATH, good(token=TOKEN.decode(), access_token=TOKEN.decode()), headers=JSON)
    async with asking(http, clock) as tested:
        answer = await asked(tested)
        assert isinstance(answer, Active)
        assert tested.find(tested.digest(TOKEN), NOW) is answer
        assert TOKEN.decode() not in repr(vars(tested))
        assert TOKEN.decode() not in str(dict(answer.token.claims.members))


async def test_a_server_that_answers_with_the_question_leaves_no_trace(
    http: HttpServer, clock: Clock
) -> None:
    async def echo(writer: asyncio.StreamWriter, _: str) -> None:
        writer.write(http.bodies[-1] + b"\r\n\r\n")

    http.routes[PATH] = echo
    async with asking(http, clock) as tested:
        assert TOKEN.decode() not in reason(await asked(tested))
