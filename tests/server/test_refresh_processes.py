# SPDX-License-Identifier: Apache-2.0
"""Several server processes over one database are one; and what one answered outlives it."""

from __future__ import annotations

import asyncio
import itertools
import random
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlencode

import httpx
import pytest

from keyfob.server.register import Register
from keyfob.server.stores.place import Place
from keyfob.server.wishes import ApplicationWish
from tests.server.refresh_servers import ServerProcess, server_process
from tests.server.refreshing import families

pytestmark = pytest.mark.timeout(300)
REQUESTS = 500


@pytest.fixture
def secret(database: Place) -> str:
    """The secret of a device; it logs in through a public application."""
    with Register.open(database) as register:
        register.add_application(ApplicationWish("app", public=True, refresh=True))
        return register.add_device("dev1").secret


@pytest.fixture
def pair(database: Place, secret: str) -> Iterator[tuple[str, str]]:
    # Without limits: several servers count what they refuse together.
    with (
        server_process(database, limited=False) as one,
        server_process(database, limited=False) as two,
    ):
        yield one.url, two.url


def log_in(url: str, device: str, secret: str) -> str:
    form = {"grant_type": "password", "client_id": "app", "username": device, "password": secret}
    answer = httpx.post(f"{url}/oauth2/token", data=form)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["refresh_token"])


def form_of(token: str) -> dict[str, str]:
    return {"grant_type": "refresh_token", "client_id": "app", "refresh_token": token}


def refresh(url: str, token: str) -> httpx.Response:
    return httpx.post(f"{url}/oauth2/token", data=form_of(token))


def renewed(url: str, token: str) -> str:
    answer = refresh(url, token)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["refresh_token"])


def at_once(
    urls: tuple[str, ...], token: str, requests: int = REQUESTS, connections: int = 100
) -> list[httpx.Response]:
    """Use one token many times at the same moment, at all servers in turn.

    With as little work for each as possible: the servers shall be busy, not this process.
    """
    left = itertools.count()
    body = urlencode(form_of(token))

    async def some(url: str) -> list[httpx.Response]:
        host, _, port = url.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        request = (
            f"POST /oauth2/token HTTP/1.1\r\nHost: {host}:{port}\r\n"
            "Content-Type: application/x-www-form-urlencoded\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}"
        ).encode()
        answers = []
        while next(left) < requests:
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
            content = await reader.readexactly(length)
            answers.append(httpx.Response(int(head.split(maxsplit=2)[1]), content=content))
        writer.close()
        return answers

    async def run() -> list[httpx.Response]:
        parts = await asyncio.gather(
            *(some(urls[number % len(urls)]) for number in range(connections))
        )
        return [answer for part in parts for answer in part]

    return asyncio.run(run())


def test_inside_the_window_all_get_one_successor_and_one_token_lives(
    database: Place, secret: str, pair: tuple[str, str]
) -> None:
    first = log_in(pair[0], "dev1", secret)
    answers = at_once(pair, first)
    assert Counter(answer.status_code for answer in answers) == {200: REQUESTS}
    (successor,) = {answer.json()["refresh_token"] for answer in answers}
    assert len({answer.json()["access_token"] for answer in answers}) == REQUESTS
    assert families(database) == [("dev1", "")]
    third = renewed(pair[1], successor)
    assert third not in (first, successor)


def test_a_late_reuse_at_all_servers_kills_the_family_and_none_lives(
    database: Place, secret: str, pair: tuple[str, str]
) -> None:
    first = log_in(pair[0], "dev1", secret)
    second = renewed(pair[1], first)
    third = renewed(pair[0], second)
    answers = at_once(pair, first)
    assert Counter(answer.status_code for answer in answers) == {400: REQUESTS}
    assert families(database) == [("dev1", "reused")]
    for token in (first, second, third):
        assert [refresh(url, token).status_code for url in pair] == [400, 400]


def test_good_and_replaced_tokens_at_once_leave_none_alive(
    database: Place, secret: str, pair: tuple[str, str]
) -> None:
    """Whichever comes first: once the reuse was answered, no token of the family is good."""
    first = log_in(pair[0], "dev1", secret)
    second = renewed(pair[1], first)
    third = renewed(pair[0], second)
    tokens = [first if number % 2 else third for number in range(100)]

    async def run() -> list[httpx.Response]:
        async with httpx.AsyncClient(timeout=120) as http:
            return await asyncio.gather(
                *(
                    http.post(f"{pair[number // 2 % 2]}/oauth2/token", data=form_of(token))
                    for number, token in enumerate(tokens)
                )
            )

    answers = asyncio.run(run())
    given = {answer.json()["refresh_token"] for answer in answers if answer.status_code == 200}
    assert len(given) <= 1
    assert families(database) == [("dev1", "reused")]
    for token in {first, second, third} | given:
        assert [refresh(url, token).status_code for url in pair] == [400, 400]


def test_without_a_window_one_of_all_is_answered_and_none_lives(
    database: Place, secret: str
) -> None:
    """The compare-and-set itself, with no grace before it."""
    with (
        server_process(database, grace=-1e9) as one,
        server_process(database, grace=-1e9) as two,
    ):
        urls = (one.url, two.url)
        answers = at_once(urls, log_in(one.url, "dev1", secret), 200)
        assert Counter(answer.status_code for answer in answers) == {200: 1, 400: 199}
        (successor,) = [a.json()["refresh_token"] for a in answers if a.status_code == 200]
        assert [refresh(url, successor).status_code for url in urls] == [400, 400]


@dataclass
class Client:
    """A device that refreshes all the time, and what it was answered."""

    device: str
    secret: str
    url: str
    first: str = ""
    last: str = ""
    answered: int = 0
    unanswered: int = 0
    ended: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def run(self, stop: threading.Event) -> None:
        with httpx.Client(timeout=60) as http:
            while not stop.is_set() and not self.wrong:
                if not self.last:
                    self._log_in(http)
                elif self.answered % 20 == 19:
                    self._reuse(http)
                else:
                    self._refresh(http)

    def _post(self, http: httpx.Client, form: dict[str, str], expected: int) -> httpx.Response:
        """Ask until there is an answer; it must be the one that what was answered before needs."""
        while True:
            try:
                answer = http.post(f"{self.url}/oauth2/token", data=form)
            except httpx.TransportError:
                self.unanswered += 1
                threading.Event().wait(0.02)
                continue
            if answer.status_code == 503:  # the database is away, and nothing was done
                self.unanswered += 1
                threading.Event().wait(0.02)
                continue
            if answer.status_code != expected:
                self.wrong.append(answer.text)
            return answer

    def _log_in(self, http: httpx.Client) -> None:
        form = {"grant_type": "password", "client_id": "app"}
        form |= {"username": self.device, "password": self.secret}
        self.first = self.last = self._post(http, form, 200).json().get("refresh_token", "")

    def _refresh(self, http: httpx.Client) -> None:
        self.last = self._post(http, form_of(self.last), 200).json().get("refresh_token", "")
        self.answered += 1

    def _reuse(self, http: httpx.Client) -> None:
        self._post(http, form_of(self.first), 400)
        self.ended.append(self.last)
        self.last = ""
        self.answered += 1


def test_kill_9_in_a_loop_makes_no_answer_untrue(database: Place) -> None:
    """The last token that was answered is good, one that was ended is not, after every restart.

    A client that got no answer shows the token that it has; by the grace it is good whether or
    not the server had written the rotation down.
    """
    names = [f"dev{number}" for number in range(6)]
    with Register.open(database) as register:
        register.add_application(ApplicationWish("app", public=True, refresh=True))
        secrets = {name: register.add_device(name).secret for name in names}
    stop = threading.Event()
    with server_process(database) as server:
        clients = [Client(name, secrets[name], server.url) for name in names]
        threads = [threading.Thread(target=client.run, args=(stop,)) for client in clients]
        for thread in threads:
            thread.start()
        try:
            killed_often(server, clients)
        finally:
            stop.set()
            for thread in threads:
                thread.join(120)
        assert [client.wrong for client in clients] == [[]] * len(clients)
        assert sum(client.unanswered for client in clients) > 0
        assert sum(len(client.ended) for client in clients) > 0
        for client in clients:
            assert {refresh(server.url, token).status_code for token in client.ended} <= {400}
            if client.last:
                last = renewed(server.url, client.last)
                assert refresh(server.url, last).status_code == 200


def killed_often(server: ServerProcess, clients: list[Client], rounds: int = 8) -> None:
    """Kill the server in the middle of its answers, each time after some more of them."""
    for _ in range(rounds):
        goal = sum(client.answered for client in clients) + random.randint(10, 60)
        while sum(client.answered for client in clients) < goal:
            assert not any(client.wrong for client in clients)
            threading.Event().wait(0.005)
        server.kill_and_restart()
