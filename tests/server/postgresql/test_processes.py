# SPDX-License-Identifier: Apache-2.0
"""Two server processes on one PostgreSQL are one server, and what they answered stays true."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator

import httpx
import pytest

from keyfob.server.register import Register
from keyfob.server.signing.key_register import KeyRegister
from keyfob.server.signing.settings import DEFAULT_SIGNING
from keyfob.server.stores.place import PostgresqlUrl
from keyfob.server.wishes import ApplicationWish
from tests.postgresql import Cluster
from tests.running import until
from tests.server.databases import rows
from tests.server.refresh_servers import ServerProcess, server_process
from tests.server.refreshing import families
from tests.server.test_refresh_processes import Client, at_once, log_in, refresh, renewed

pytestmark = pytest.mark.timeout(300)

Pair = tuple[ServerProcess, ServerProcess]


@pytest.fixture
def secret(url: PostgresqlUrl) -> str:
    with Register.open(url) as register:
        register.add_application(ApplicationWish("app", public=True, refresh=True))
        return register.add_device("dev1").secret


@pytest.fixture
def pair(url: PostgresqlUrl, secret: str) -> Iterator[Pair]:
    with server_process(url) as one, server_process(url) as two:
        yield one, two


@pytest.fixture
def free_pair(url: PostgresqlUrl, secret: str) -> Iterator[Pair]:
    """Without limits, for those who ask from one address more than anybody may."""
    with server_process(url, limited=False) as one, server_process(url, limited=False) as two:
        yield one, two


@pytest.mark.parametrize(
    "requests",
    [pytest.param(1_000, id="short"), pytest.param(10_000, id="full", marks=pytest.mark.soak)],
)
def test_one_family_used_by_all_at_once_at_two_servers(
    url: PostgresqlUrl, secret: str, free_pair: Pair, requests: int
) -> None:
    """Inside the window one successor for all; a late reuse ends the family, and none lives."""
    urls = (free_pair[0].url, free_pair[1].url)
    first = log_in(urls[0], "dev1", secret)

    began = time.monotonic()
    answers = at_once(urls, first, requests)
    took = time.monotonic() - began
    assert Counter(answer.status_code for answer in answers) == {200: requests}
    successors = Counter(answer.json()["refresh_token"] for answer in answers)
    assert list(successors.values()) == [requests]
    assert rows(url, "SELECT counter, ended FROM refresh_family") == [(1, "")]
    (second,) = successors
    third = renewed(urls[1], second)
    assert third not in (first, second)  # one token lives, and it is the successor's

    began_late = time.monotonic()
    late = at_once(urls, first, requests)
    took_late = time.monotonic() - began_late
    assert Counter(answer.status_code for answer in late) == {400: requests}
    assert {answer.json()["error"] for answer in late} == {"invalid_grant"}
    assert families(url) == [("dev1", "reused")]
    living = [t for t in (first, second, third) for u in urls if refresh(u, t).status_code == 200]
    assert living == []
    print(
        f"\n{requests} uses inside the window in {took:.1f} s: {len(successors)} successor;"
        f" {requests} late uses in {took_late:.1f} s: {len(living)} alive"
    )


def test_a_rotation_is_made_once_for_all(url: PostgresqlUrl, pair: Pair) -> None:
    """The first key at two starts, and one that somebody makes while both serve."""

    def keys(server: ServerProcess) -> list[str]:
        answer = httpx.get(f"{server.url}/oauth2/jwks")
        assert answer.status_code == 200, answer.text
        return [key["kid"] for key in answer.json()["keys"]]

    assert keys(pair[0]) == keys(pair[1])
    assert len(keys(pair[0])) == 1
    with KeyRegister.open(url, DEFAULT_SIGNING) as register:
        new = register.rotate(at_once=True).kid
    for server in pair:
        until("the new key signs", lambda server=server: keys(server)[0] == new)
    assert rows(url, "SELECT count(*) FROM signing_key") == [(2,)]


def test_a_revocation_at_one_server_holds_at_the_other_at_once(
    url: PostgresqlUrl, secret: str, pair: Pair
) -> None:
    with Register.open(url) as register:
        asker = register.add_service("asker", scopes=["keyfob.introspection"])[1]
    form = {"grant_type": "client_credentials", "client_id": "dev1", "client_secret": secret}
    token = httpx.post(f"{pair[0].url}/oauth2/token", data=form).json()["access_token"]
    answer = httpx.post(
        f"{pair[0].url}/oauth2/revoke", data={"token": token}, auth=("dev1", secret)
    )
    assert answer.status_code == 200
    asked = httpx.post(
        f"{pair[1].url}/oauth2/introspect", data={"token": token}, auth=("asker", asker)
    )
    assert asked.json() == {"active": False}


def test_guesses_at_one_server_count_at_the_other(url: PostgresqlUrl, pair: Pair) -> None:
    """Ten wrong proofs under one name, wherever they are shown; then both say to wait."""
    form = {"grant_type": "client_credentials", "client_id": "dev1", "client_secret": "kfs_wrong"}
    told = [
        httpx.post(f"{pair[number % 2].url}/oauth2/token", data=form).status_code
        for number in range(14)
    ]
    assert told[:10] == [401] * 10
    assert told[12:] == [429, 429]


def test_guards_at_both_servers_see_one_order(url: PostgresqlUrl, pair: Pair) -> None:
    """Both feeds, while devices are disabled from elsewhere: every cursor, once, in order."""
    with Register.open(url) as register:
        guard = register.ensure_guard_client("guard")
        for number in range(60):
            register.add_device(f"d{number}")

    async def follow(server: ServerProcess) -> list[int]:
        seen: list[int] = []
        async with httpx.AsyncClient(timeout=60, auth=("guard", guard)) as http:
            while len(seen) < 60:
                cursor = seen[-1] if seen else 0
                path = f"{server.url}/oauth2/revocations?wait=20&cursor={cursor}"
                answer = await http.get(path)
                seen += [row["cursor"] for row in answer.json()["revocations"]]
        return seen

    def disable(first: int) -> None:
        with Register.open(url) as register:
            for number in range(first, 60, 3):
                register.disable_device(f"d{number}")

    async def run() -> list[list[int]]:
        following = [asyncio.create_task(follow(server)) for server in pair]
        await asyncio.gather(*(asyncio.to_thread(disable, first) for first in range(3)))
        return await asyncio.gather(*following)

    for seen in asyncio.run(run()):
        # Disabling over the end of a second writes a second row: at least one for each.
        assert seen == list(range(1, len(seen) + 1))


@pytest.mark.parametrize(
    "rounds",
    [pytest.param(1, id="short"), pytest.param(10, id="full", marks=pytest.mark.soak)],
)
def test_a_database_that_is_restarted_under_load_makes_no_answer_untrue(
    durable: Cluster, rounds: int
) -> None:
    """Stopped in order, stopped at once, and killed, while two servers are asked all the time.

    Whoever got 503 or nothing shows what he has; whoever got an answer, relies on it.
    """
    names = [f"dev{number}" for number in range(6)]
    with durable.database() as url:
        with Register.open(url) as register:
            register.add_application(ApplicationWish("app", public=True, refresh=True))
            secrets = {name: register.add_device(name).secret for name in names}
        stop = threading.Event()
        with server_process(url) as one, server_process(url) as two:
            clients = [
                Client(name, secrets[name], (one, two)[number % 2].url)
                for number, name in enumerate(names)
            ]
            threads = [threading.Thread(target=client.run, args=(stop,)) for client in clients]
            for thread in threads:
                thread.start()
            try:
                for how in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL) * rounds:
                    answered_more(clients, 40)
                    durable.restart(how)
                answered_more(clients, 40)
            finally:
                stop.set()
                for thread in threads:
                    thread.join(120)
            assert [client.wrong for client in clients] == [[]] * len(clients)
            assert sum(len(client.ended) for client in clients) > 0
            for client in clients:
                for server in (one, two):
                    told = {refresh(server.url, token).status_code for token in client.ended}
                    assert told <= {400}
                if client.last:
                    last = renewed(one.url, client.last)
                    assert refresh(two.url, last).status_code == 200
            for server in (one, two):
                assert httpx.get(f"{server.url}/healthz").status_code == 200
                until("ready again", lambda s=server: ready(s) == 200)
        print(
            f"\n{3 * rounds} restarts: {sum(client.answered for client in clients)} answered,"
            f" {sum(client.unanswered for client in clients)} told to try again,"
            f" {sum(len(client.ended) for client in clients)} families ended by reuse, 0 untrue"
        )


def answered_more(clients: list[Client], number: int) -> None:
    """Wait for so many more answers."""
    goal = sum(client.answered for client in clients) + number

    def reached() -> bool:
        assert not any(client.wrong for client in clients), [c.wrong for c in clients]
        return sum(client.answered for client in clients) >= goal

    until("more answers", reached)


def ready(server: ServerProcess) -> int:
    return httpx.get(f"{server.url}/readyz").status_code


def test_a_database_that_is_away_is_told_as_temporary_and_soon(
    durable: Cluster,
) -> None:
    with durable.database() as url:
        with Register.open(url) as register:
            secret = register.add_device("dev1").secret
        form = {"grant_type": "client_credentials", "client_id": "dev1", "client_secret": secret}
        with server_process(url) as server:
            assert httpx.post(f"{server.url}/oauth2/token", data=form).status_code == 200
            durable.stop()
            try:
                answer = httpx.post(f"{server.url}/oauth2/token", data=form, timeout=30)
                assert (answer.status_code, answer.json()["error"]) == (
                    503,
                    "temporarily_unavailable",
                )
                assert answer.headers["retry-after"] == "1"
                until("not ready", lambda: ready(server) == 503)
                assert httpx.get(f"{server.url}/healthz").status_code == 200
                assert httpx.get(f"{server.url}/oauth2/jwks").status_code == 200
            finally:
                durable.start()

            def works() -> bool:
                return httpx.post(f"{server.url}/oauth2/token", data=form).status_code == 200

            until("tokens again", works)
