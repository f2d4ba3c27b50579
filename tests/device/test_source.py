# SPDX-License-Identifier: Apache-2.0
"""TokenSource: states, failures, refusals and clocks; against a server whose answers are set."""

from __future__ import annotations

import asyncio
import gc
import logging
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from keyfob.device import FileStore, Freshness, MemoryStore, Password, Token, TokenSource
from keyfob.device.renewal import LATER_EARLIEST
from keyfob.device.watching import Asked
from keyfob.errors import ConfigError, TokenRequestError, TokenUnavailableError
from tests.device.world import SECRET, Rogue, SetClock, good, rogue, sends
from tests.running import until

Made = Callable[..., TokenSource]
HOUR = 3600.0


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def server() -> Iterator[Rogue]:
    with rogue(good()) as server:
        yield server


@pytest.fixture
def made(server: Rogue, clock: SetClock) -> Made:
    def make(**changes: Any) -> TokenSource:
        values: dict[str, Any] = {"client_id": "dev1", "clock": clock, "chance": lambda: 0.5}
        return TokenSource(server.url, **(values | changes))

    return make


@pytest.fixture
def source(made: Made) -> TokenSource:
    return made()


def settled(source: TokenSource) -> None:
    """Wait until no renewal is under way."""
    until("the renewal ends", lambda: source._running is None)


def to_stale(source: TokenSource, clock: SetClock) -> None:
    clock.pass_by(source.renewal_in() + 1)
    assert source.state is Freshness.STALE


# States


def test_a_source_asks_nothing_before_it_is_asked(source: TokenSource, server: Rogue) -> None:
    assert source.token is None
    assert source.state is Freshness.EXPIRED
    assert source.renewal_in() == 0
    assert server.requests == []


def test_a_fresh_token_is_shown_without_a_question(
    source: TokenSource, server: Rogue, clock: SetClock
) -> None:
    token = source.get()
    clock.pass_by(source.renewal_in() - 1)
    assert source.state is Freshness.FRESH
    assert source.get() is token
    assert server.asked == 1


def test_a_stale_token_is_shown_while_a_new_one_is_fetched(
    source: TokenSource, server: Rogue, clock: SetClock
) -> None:
    old = source.get()
    to_stale(source, clock)
    assert source.renewal_in() == 0
    assert source.get() is old
    settled(source)
    assert source.state is Freshness.FRESH
    assert source.get().access_token == "token-2"
    assert server.asked == 2


def test_an_expired_token_is_shown_to_nobody(
    source: TokenSource, server: Rogue, clock: SetClock
) -> None:
    source.get()
    clock.pass_by(HOUR)
    assert source.state is Freshness.EXPIRED
    server.token = sends({}, "503 No")
    with pytest.raises(TokenUnavailableError):
        source.get()
    assert source.token is not None  # whatever its state


def test_the_first_renewal_is_early_and_the_later_ones_are_late(
    source: TokenSource, clock: SetClock
) -> None:
    source.get()
    assert source.renewal_in() < 0.6 * HOUR
    to_stale(source, clock)
    source.get()
    settled(source)
    assert source.renewal_in() > LATER_EARLIEST * 0.9 * HOUR


LATE = LATER_EARLIEST * 0.9 * HOUR
"""Where renewals on schedule lie; the first ones lie before it where 0.5 is drawn."""


@pytest.mark.parametrize("hours", [0.97, 1.5])
def test_a_token_that_a_power_cut_left_stale_or_ended_is_followed_by_a_first_one(
    made: Made, clock: SetClock, tmp_path: Path, hours: float
) -> None:
    made(store=FileStore(tmp_path / "token")).get()
    clock.pass_by(hours * HOUR)
    clock.boot = "the next boot"
    source = made(store=FileStore(tmp_path / "token"))
    source.renew().result(10)
    assert 0 < source.renewal_in() < LATE


def test_a_kept_token_that_lives_on_is_followed_by_a_first_one(
    made: Made, clock: SetClock, tmp_path: Path
) -> None:
    made(store=FileStore(tmp_path / "token")).get()
    clock.boot, clock.elapsed = "the next boot", 0.0
    source = made(store=FileStore(tmp_path / "token"))
    # The time server answers, and all who had no clock of their own see how old their tokens are.
    clock.step(0.95 * HOUR)
    source.get()
    settled(source)
    assert 0 < source.renewal_in() < LATE


def end(source: TokenSource, server: Rogue, clock: SetClock) -> None:
    clock.pass_by(HOUR)


def step(source: TokenSource, server: Rogue, clock: SetClock) -> None:
    clock.step(HOUR)


def refuse(source: TokenSource, server: Rogue, clock: SetClock) -> None:
    clock.pass_by(31)
    assert source.refused(source.get())


def fail(source: TokenSource, server: Rogue, clock: SetClock) -> None:
    to_stale(source, clock)
    works, server.token = server.token, sends({}, "503 No")
    source.get()
    settled(source)
    server.token = works
    clock.pass_by(source.renewal_in() + 0.01)
    assert source.state is Freshness.STALE


def ask(source: TokenSource, server: Rogue, clock: SetClock) -> None:
    source.renew().result(10)


@pytest.mark.parametrize("happens", [end, step, refuse, fail, ask])
def test_what_may_happen_to_all_at_once_is_followed_by_a_first_renewal(
    source: TokenSource, server: Rogue, clock: SetClock, happens: Callable[..., None]
) -> None:
    source.get()
    to_stale(source, clock)
    source.get()
    settled(source)
    assert source.renewal_in() > LATE
    happens(source, server, clock)
    source.get()
    settled(source)
    assert source.state is Freshness.FRESH
    assert 0 < source.renewal_in() < LATE
    # Once: who was spread by it stays so.
    to_stale(source, clock)
    source.get()
    settled(source)
    assert source.renewal_in() > LATE


def test_a_token_that_had_ended_when_it_came_is_a_failure_and_not_shown(
    source: TokenSource, server: Rogue, clock: SetClock
) -> None:
    def slow(request: bytes, connection: Any) -> None:
        clock.pass_by(61)
        good(expires_in=60)(request, connection)

    server.token = slow
    for _ in range(5):
        with pytest.raises(TokenUnavailableError, match="ended before"):
            source.get()
    assert server.asked == 1


def test_who_subscribed_is_told_of_each_token_and_one_that_fails_spoils_nothing(
    source: TokenSource, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[Token] = []

    def broken(token: Token) -> None:
        raise ValueError(token.access_token)

    end = source.subscribe(told.append)
    source.subscribe(broken)
    source.get()
    until("it is told", lambda: len(told) == 1 and "ValueError" in caplog.text)
    end()
    end()
    source.renew().result(10)
    until("the second fails, too", lambda: caplog.text.count("ValueError") == 2)
    assert [token.access_token for token in told] == ["token-1"]
    assert "token-1" not in caplog.text


# Single flight


def test_fifty_threads_at_once_are_one_request(source: TokenSource, server: Rogue) -> None:
    begin = threading.Barrier(50)

    def get(_: int) -> str:
        begin.wait()
        return source.get().access_token

    with ThreadPoolExecutor(50) as pool:
        assert set(pool.map(get, range(50))) == {"token-1"}
    assert server.asked == 1


def test_fifty_tasks_at_once_are_one_request(source: TokenSource, server: Rogue) -> None:
    async def main() -> set[str]:
        found = await asyncio.gather(*(source.aget() for _ in range(50)))
        return {token.access_token for token in found}

    assert asyncio.run(main()) == {"token-1"}
    assert server.asked == 1


def test_renewals_that_many_ask_for_are_one(source: TokenSource, server: Rogue) -> None:
    held = threading.Event()

    def slow(request: bytes, connection: Any) -> None:
        held.wait(20)
        good()(request, connection)

    server.token = slow
    futures = {source.renew() for _ in range(20)}
    assert len(futures) == 1
    assert not futures.copy().pop().cancel()
    held.set()
    assert futures.pop().result(10).access_token == "token-1"
    assert server.asked == 1


def test_fifty_who_fail_share_no_traceback(source: TokenSource, server: Rogue) -> None:
    server.token = sends({}, "500 No")
    begin = threading.Barrier(50)

    def get(_: int) -> BaseException:
        begin.wait()
        with pytest.raises(TokenUnavailableError) as caught:
            source.get()
        return caught.value

    with ThreadPoolExecutor(50) as pool:
        errors = list(pool.map(get, range(50)))
    assert len({id(error) for error in errors}) == 50
    assert server.asked == 1


def test_a_task_that_is_cancelled_ends_nothing_for_the_others(
    source: TokenSource, server: Rogue
) -> None:
    held = threading.Event()

    def slow(request: bytes, connection: Any) -> None:
        held.wait(20)
        good()(request, connection)

    server.token = slow

    async def main() -> str:
        waiting = [asyncio.create_task(source.aget()) for _ in range(3)]
        await asyncio.sleep(0.05)
        waiting[0].cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting[0]
        held.set()
        return {(await task).access_token for task in waiting[1:]}.pop()

    assert asyncio.run(main()) == "token-1"
    assert server.asked == 1


def test_a_loop_that_is_closed_while_it_waits_leaves_nothing_unsaid(
    source: TokenSource, server: Rogue, caplog: pytest.LogCaptureFixture
) -> None:
    held = threading.Event()

    def slow(request: bytes, connection: Any) -> None:
        held.wait(20)
        sends({}, "500 No")(request, connection)

    server.token = slow

    async def main() -> None:
        with pytest.raises(TokenUnavailableError, match="within"):
            await source.aget(0.05)
        task = asyncio.create_task(source.aget())
        await asyncio.sleep(0.05)
        assert not task.done()

    asyncio.run(main())
    held.set()
    settled(source)
    assert [record.name for record in caplog.records if record.levelno >= logging.WARNING] == [
        "keyfob.device"
    ]


def test_get_waits_no_longer_than_it_is_told(source: TokenSource, server: Rogue) -> None:
    held = threading.Event()

    def slow(request: bytes, connection: Any) -> None:
        held.wait(20)
        good()(request, connection)

    server.token = slow
    with pytest.raises(TokenUnavailableError, match=r"within 0\.05 s"):
        source.get(0.05)
    held.set()
    assert source.get().access_token == "token-1"
    assert server.asked == 1


def test_who_is_asked_for_a_grant_and_asks_for_the_token_is_told_so_at_once(
    made: Made, server: Rogue
) -> None:
    said: list[str] = []

    class Circular:
        def parameters(self) -> dict[str, str]:
            with pytest.raises(TokenUnavailableError) as caught:
                circular.get(1000)
            said.append(caught.value.message)
            return {"grant_type": "client_credentials"}

    circular = made(grant=Circular())
    assert circular.get().access_token == "token-1"
    assert said == ["a renewal cannot wait for itself"]


def test_a_thread_that_got_the_number_of_a_renewals_is_not_taken_for_it(
    made: Made, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    renewers: list[int] = []

    class Noting:
        def parameters(self) -> dict[str, str]:
            renewers.append(threading.get_ident())
            return {"grant_type": "client_credentials"}

    source, said = made(grant=Noting()), list[str]()
    source.get()
    until("its thread has ended", lambda: renewers[0] not in threads())
    clock.pass_by(2 * HOUR)
    begun = threading.Thread.start

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    def ask() -> None:
        if threading.get_ident() == renewers[0]:
            # So that it is not this renewal's own thread that says who renews.
            monkeypatch.setattr(threading.Thread, "start", refuse)
            with pytest.raises(TokenUnavailableError) as caught:
                source.get()
            said.append(caught.value.message)

    for _ in range(500):  # most likely the first one gets it
        thread = threading.Thread(target=ask)
        begun(thread)
        thread.join()
        if said:
            break
    else:
        pytest.skip("this system gives no thread the number of one that has ended")
    assert said == ["no thread for a renewal"]


def threads() -> set[int | None]:
    return {thread.ident for thread in threading.enumerate()}


def test_who_is_called_when_a_renewal_ends_may_ask_at_once(source: TokenSource) -> None:
    states: list[Freshness] = []
    source.renew().add_done_callback(lambda _: states.append(source.state))
    until("it is called", lambda: states == [Freshness.FRESH])


# Failures


def test_a_server_that_is_away_costs_nothing_until_the_token_ends(
    source: TokenSource, server: Rogue, clock: SetClock
) -> None:
    old = source.get()
    to_stale(source, clock)
    server.token = sends({}, "500 No")
    while clock.elapsed - old.obtained.elapsed < HOUR - 6:
        assert source.get() is old
        settled(source)
        clock.pass_by(30)
    assert 3 <= server.asked - 1 < 40
    server.token = good()
    clock.pass_by(600)
    assert source.get() is not old


def test_nobody_who_asks_often_asks_the_server_often(
    source: TokenSource, server: Rogue, clock: SetClock
) -> None:
    server.token = sends({}, "503 No", "Retry-After: 0\r\n")
    for _ in range(200):
        with pytest.raises(TokenUnavailableError):
            source.get()
    assert server.asked == 1
    wait = source.renewal_in()
    assert wait > 0
    with pytest.raises(TokenUnavailableError) as caught:
        source.get()
    assert caught.value.retry_after == wait
    clock.pass_by(wait + 0.01)
    with pytest.raises(TokenUnavailableError):
        source.get()
    assert server.asked == 2


def test_what_the_server_says_is_waited_for(
    source: TokenSource, server: Rogue, clock: SetClock
) -> None:
    server.token = sends({}, "429 Slow down", "Retry-After: 120\r\n")
    with pytest.raises(TokenUnavailableError):
        source.get()
    assert 120 <= source.renewal_in() <= 150


def test_a_refused_device_asks_again_after_a_quarter_of_an_hour_and_keeps_its_token(
    source: TokenSource, server: Rogue, clock: SetClock
) -> None:
    old = source.get()
    to_stale(source, clock)
    server.token = sends({"error": "invalid_client"}, "401 No")
    assert source.get() is old
    settled(source)
    assert source.renewal_in() == 900
    for _ in range(50):
        assert source.get() is old
    assert server.asked == 2
    clock.pass_by(HOUR)
    with pytest.raises(TokenRequestError) as caught:
        source.get()
    assert caught.value.error == "invalid_client"


def test_who_says_renew_waits_for_no_backoff(source: TokenSource, server: Rogue) -> None:
    server.token = sends({"error": "invalid_client"}, "401 No")
    with pytest.raises(TokenRequestError):
        source.get()
    server.token = good()
    assert source.renew().result(10).access_token == "token-1"
    assert source.get().access_token == "token-1"


# What a broker refused


def test_a_young_token_that_is_refused_is_not_followed_by_another(
    source: TokenSource, server: Rogue
) -> None:
    assert not source.refused(source.get())
    assert server.asked == 1


def test_a_refused_token_is_renewed_once_and_waited_for(
    source: TokenSource, server: Rogue, clock: SetClock
) -> None:
    old = source.get()
    clock.pass_by(31)
    assert source.state is Freshness.FRESH
    assert source.refused(old)
    assert source.get().access_token == "token-2"
    assert source.refused(old)  # a newer one is there
    assert server.asked == 2


def test_a_refused_token_serves_on_where_no_other_is_to_be_had(
    source: TokenSource, server: Rogue, clock: SetClock
) -> None:
    old = source.get()
    clock.pass_by(31)
    server.token = sends({}, "500 No")
    assert source.refused(old)
    assert source.get() is old
    assert not source.refused(old)
    assert source.get() is old
    assert server.asked == 2
    server.token = good(access_token="new")
    clock.pass_by(source.renewal_in() + 0.01)
    assert source.get().access_token == "new"


# Clocks


@pytest.mark.parametrize("step", [HOUR, -HOUR, 24 * HOUR, -24 * HOUR])
def test_no_step_of_the_clock_throws_a_live_token_away(
    source: TokenSource, server: Rogue, clock: SetClock, step: float
) -> None:
    old = source.get()
    clock.pass_by(60)
    server.token = sends({}, "500 No")
    clock.step(step)
    assert source.renewal_in() == 0
    while clock.elapsed - old.obtained.elapsed < HOUR - 6:
        assert source.get() is old
        settled(source)
        clock.pass_by(60)
    clock.pass_by(66)
    assert source.state is Freshness.EXPIRED


@pytest.mark.parametrize("step", [HOUR, -HOUR])
def test_after_a_step_one_new_token_is_fetched_and_believed(
    source: TokenSource, server: Rogue, clock: SetClock, step: float
) -> None:
    source.get()
    clock.step(step)
    source.get()
    settled(source)
    for _ in range(10):
        assert source.get().access_token == "token-2"
        clock.pass_by(60)
    assert server.asked == 2


@pytest.mark.parametrize("step", [24 * HOUR, -24 * HOUR])
def test_what_a_wrong_clock_was_refused_for_is_asked_for_again_when_it_is_set(
    source: TokenSource, server: Rogue, clock: SetClock, step: float
) -> None:
    server.token = sends({"error": "invalid_client"}, "401 No")  # the assertion has ended
    with pytest.raises(TokenRequestError):
        source.get()
    assert source.renewal_in() == 900
    server.token = good()
    clock.pass_by(5)
    clock.step(step)
    assert source.renewal_in() == 0
    assert source.get().access_token == "token-1"


def test_a_server_that_refuses_whatever_the_clock_says_is_asked_once_for_each_step(
    source: TokenSource, server: Rogue, clock: SetClock
) -> None:
    server.token = sends({"error": "invalid_client"}, "401 No")
    for asked in range(1, 4):
        for _ in range(5):
            with pytest.raises(TokenRequestError):
                source.get()
        assert server.asked == asked
        clock.step(HOUR)


def test_a_server_that_said_when_is_as_busy_after_a_step_of_the_clock(
    source: TokenSource, server: Rogue, clock: SetClock
) -> None:
    server.token = sends({}, "503 Busy", "Retry-After: 120\r\n")
    with pytest.raises(TokenUnavailableError):
        source.get()
    clock.step(24 * HOUR)
    assert 120 <= source.renewal_in() <= 150


def test_a_token_that_ended_while_the_machine_slept_is_not_shown(
    made: Made, server: Rogue, clock: SetClock
) -> None:
    clock.sleepless = False
    source = made()
    source.get()
    clock.step(2 * HOUR)  # what a clock that stands still in sleep looks like
    assert source.state is Freshness.EXPIRED
    assert source.get().access_token == "token-2"


# What was kept


def test_a_kept_token_is_used_by_the_next_run(
    made: Made, server: Rogue, tmp_path: Any, clock: SetClock
) -> None:
    token = made(store=FileStore(tmp_path / "token")).get()
    clock.pass_by(100)
    again = made(store=FileStore(tmp_path / "token"))
    assert again.get() == token
    assert again.state is Freshness.FRESH
    assert server.asked == 1


def test_a_token_that_was_kept_for_something_else_is_not_used(
    made: Made, server: Rogue, tmp_path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    made(store=FileStore(tmp_path / "token")).get()
    other = made(store=FileStore(tmp_path / "token"), scope="other")
    assert other.token is None
    assert "for something else" in caplog.text
    assert other.get().access_token == "token-2"


def test_one_application_shows_no_token_of_the_device_that_it_was_before(
    made: Made, server: Rogue, tmp_path: Path
) -> None:
    def asks_for(device: str) -> TokenSource:
        grant = Password(username=device, password=SECRET)
        return made(store=FileStore(tmp_path / "token"), client_id="app", grant=grant)

    first = asks_for("dev1").get()
    assert asks_for("dev1").token == first
    assert asks_for("dev2").token is None
    assert asks_for("dev2").get() != first
    assert b"username=dev2" in server.requests[-1]


def test_a_store_that_cannot_be_used_costs_no_token(
    made: Made, server: Rogue, tmp_path: Any, clock: SetClock, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    source = made(store=FileStore(folder / "token"))
    folder.rmdir()
    assert source.get().access_token == "token-1"
    assert "cannot be locked" in caplog.text
    assert "cannot be stored" in caplog.text


class Strange(MemoryStore):
    """Somebody's store, whose errors are of its own kind and quote what they were given."""

    def __init__(self, fails: str) -> None:
        super().__init__()
        self.fails = fails
        self.saved: list[str | None] = []

    def load(self) -> Token | None:
        self._may("load")
        return super().load()

    def save(self, token: Token) -> None:
        self.saved.append(token.refresh_token)
        if self.fails == "save":
            raise KeyError(token.refresh_token)
        super().save(token)

    def turn(self) -> Any:
        store, turn = self, super().turn()

        class Turn:
            def take(self) -> bool:
                store._may("take")
                return turn.take()

            def give_back(self) -> None:
                turn.give_back()
                store._may("give back")

        return Turn()

    def _may(self, what: str) -> None:
        if self.fails == what:
            raise KeyError(SECRET)


@pytest.mark.parametrize("fails", ["load", "take", "save", "give back"])
def test_whatever_a_store_raises_no_token_is_lost_that_a_refresh_token_was_spent_for(
    fails: str, made: Made, server: Rogue, caplog: pytest.LogCaptureFixture
) -> None:
    store = Strange(fails)
    source = made(store=store)
    for refresh_token in (SECRET + "1", SECRET + "2"):
        server.token = good(refresh_token=refresh_token)
        assert source.renew().result(10).refresh_token == refresh_token
    assert store.saved == [SECRET + "1", SECRET + "2"]
    assert (
        b"grant_type=refresh_token&refresh_token=" + SECRET.encode() + b"1" in server.requests[-1]
    )
    assert SECRET not in caplog.text
    assert "KeyError" in caplog.text


def test_a_store_that_asks_somebody_first_holds_up_no_event_loop(made: Made) -> None:
    asked, unlocked = threading.Event(), threading.Event()

    class Keyring(MemoryStore):
        def load(self) -> Token | None:
            asked.set()
            assert unlocked.wait(20)
            return super().load()

    async def live() -> None:
        source = made(store=Keyring())
        waiting = [asyncio.create_task(source.aget()) for _ in range(3)]
        async with asyncio.timeout(20):
            while not asked.is_set():  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await asyncio.sleep(0)  # it goes on, and nobody has unlocked it yet
        assert not any(task.done() for task in waiting)
        unlocked.set()
        assert {token.access_token for token in await asyncio.gather(*waiting)} == {"token-1"}

    asyncio.run(live())


def test_what_could_not_be_stored_is_newer_than_what_is(
    made: Made, server: Rogue, clock: SetClock
) -> None:
    class Full(MemoryStore):
        full = False

        def save(self, token: Token) -> None:
            if self.full:
                raise OSError(28, "No space left on device")
            super().save(token)

    store = Full()
    server.token = good(refresh_token="first")
    source = made(store=store)
    source.get()
    store.full = True
    for refresh_token in ("second", "third"):
        server.token = good(refresh_token=refresh_token)
        source.renew().result(10)
        clock.pass_by(1)
    spent = [request.rpartition(b"refresh_token=")[2][:5] for request in server.requests[-2:]]
    assert [one.split(b"&")[0] for one in spent] == [b"first", b"secon"]


# How it is made


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"client_id": ""}, "client_id"),
        ({"leeway": -1}, "leeway"),
        ({"leeway": float("nan")}, "leeway"),
        ({"ca": "/nowhere.pem"}, "no certificates to trust"),
        ({"certificate": "/nowhere.pem"}, "no certificate with its key"),
    ],
)
def test_what_cannot_work_is_told_when_it_is_made(
    made: Made, options: dict[str, Any], why: str
) -> None:
    with pytest.raises(ConfigError, match=why):
        made(**options)


def test_a_machine_without_threads_to_spare_is_a_failure_like_others(
    source: TokenSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        with pytest.raises(TokenUnavailableError, match="no thread"):
            source.get()
    assert source.renew().result(10).access_token == "token-1"


# A long life


def test_renewals_leave_nothing_behind(made: Made, clock: SetClock) -> None:
    """Neither threads, nor files, nor objects of whoever takes part in them."""
    parties = {"keyfob", "httpx", "httpcore", "h11", "anyio", "asyncio", "_asyncio", "ssl"}

    def life(renewals: int) -> tuple[int, int, int]:
        for _ in range(renewals):
            clock.pass_by(3600)
            source.get()
        until("the last one's thread has ended", lambda: not renewing())
        gc.collect()
        theirs = [str(type(each).__module__).partition(".")[0] for each in gc.get_objects()]
        count = sum(module in parties for module in theirs)
        return len(list(Path("/proc/self/fd").iterdir())), threading.active_count(), count

    def renewing() -> bool:
        return any(thread.name == "keyfob-renewal" for thread in threading.enumerate())

    source = made()
    life(20)
    files, threads, objects = life(0)
    more_files, more_threads, more_objects = life(40)
    assert more_files <= files + 1  # a connection of the server's may not be closed yet
    assert more_threads <= threads + 1
    assert more_objects <= objects + 5


# Who watches


def test_a_watch_is_told_of_every_exchange_and_of_no_secret(made: Made, server: Rogue) -> None:
    asked: list[Asked] = []
    source = made(watch=asked.append, client_secret=SECRET)
    source.get()
    server.token = sends({"error": "slow_down"}, "429 Busy", "Retry-After: 7\r\n")
    with pytest.raises(TokenUnavailableError):
        source.renew().result(10)
    server.token = lambda _, connection: connection.close()
    with pytest.raises(TokenUnavailableError):
        source.renew().result(10)
    until("the watch is told", lambda: len(asked) == 4)
    said = [(each.posted, each.status, each.error, each.retry_after) for each in asked]
    assert said == [
        (False, 200, "", None),
        (True, 200, "", None),
        (True, 429, "slow_down", 7.0),
        (True, 0, "upstream_unavailable", None),
    ]
    assert all(each.url.startswith(server.url) for each in asked)
    assert [each.began for each in asked] == sorted(each.began for each in asked)
    assert all(each.seconds >= 0 for each in asked)
    assert SECRET not in repr(asked)
    assert "token-1" not in repr(asked)


def test_a_watch_that_fails_keeps_nobody_from_the_token(
    made: Made, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(_: Asked) -> None:
        raise ValueError(SECRET)

    assert made(watch=fails).get().access_token == "token-1"
    assert "ValueError" in caplog.text
    assert SECRET not in caplog.text


# Whom to trust


def test_many_sources_may_share_one_tls_context(made: Made) -> None:
    context = ssl.create_default_context()
    assert made(ca=context)._context is made(ca=context)._context
    with pytest.raises(ConfigError, match="context"):
        made(ca=context, certificate="client.pem")
