# SPDX-License-Identifier: Apache-2.0
"""When a new token is fetched for a broker, and when not, and what is shown; without a client."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keyfob.device import Freshness, TokenSource
from keyfob.device.presenting import Presenting
from keyfob.device.proving import ace
from keyfob.device.renewal import margin_of
from keyfob.errors import TokenUnavailableError
from keyfob.tokens.sign import SigningKey
from tests.device.world import Behaviour, Rogue, SetClock, good, rogue, sends
from tests.running import until

REFUSED, UNAVAILABLE, IMPOSSIBLE, TIME_UP = 0x87, 0x88, 0x8C, 0xA0
AWAY = sends({}, "503 Later")


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def server() -> Iterator[Rogue]:
    with rogue(good()) as server:
        yield server


@pytest.fixture
def source(server: Rogue, clock: SetClock) -> TokenSource:
    return source_of(server, clock)


@pytest.fixture
def presenting(source: TokenSource) -> Presenting:
    return Presenting(source, chance=lambda: 1.0)


def source_of(server: Rogue, clock: SetClock) -> TokenSource:
    # A draw of 1: the latest moment there is.
    url = f"{server.url}/token"
    return TokenSource(token_endpoint=url, client_id="dev1", clock=clock, chance=lambda: 1.0)


def shown(presenting: Presenting) -> str | None:
    return presenting.credentials(client_id="dev1").password


def settled(source: TokenSource) -> None:
    """Wait for a renewal that is under way, if there is one."""
    until("the renewal is over", lambda: source._running is None)


# What is shown


def test_the_same_token_is_shown_as_long_as_it_is_fresh(
    presenting: Presenting, server: Rogue, clock: SetClock
) -> None:
    assert [shown(presenting) for _ in range(3)] == ["token-1"] * 3
    clock.pass_by(3000)
    assert shown(presenting) == "token-1"
    assert presenting.shown is not None
    assert server.asked == 1


def test_the_same_in_an_event_loop(presenting: Presenting, server: Rogue, clock: SetClock) -> None:
    async def ask() -> str | None:
        return (await presenting.acredentials(client_id="dev1")).password

    assert asyncio.run(ask()) == "token-1"
    clock.pass_by(3600)
    assert asyncio.run(ask()) == "token-2"
    clock.pass_by(60)
    presenting.refused(REFUSED)
    assert asyncio.run(ask()) == "token-3"


def test_a_token_that_is_about_to_end_is_renewed_before_it_is_shown(
    presenting: Presenting, server: Rogue, clock: SetClock
) -> None:
    server.token = good(expires_in=8)
    shown(presenting)
    clock.pass_by(8 - 1.9)  # it could be shown, and might be read too late
    assert shown(presenting) == "token-2"


def test_where_no_other_is_to_be_had_a_token_is_shown_until_it_might_be_read_too_late(
    presenting: Presenting, server: Rogue, clock: SetClock
) -> None:
    server.token = good(expires_in=8)
    shown(presenting)
    server.token = AWAY
    clock.pass_by(8 - 2.1)
    assert shown(presenting) == "token-1"
    clock.pass_by(0.2)
    with pytest.raises(TokenUnavailableError):
        shown(presenting)


def test_a_server_that_refuses_is_an_oserror_like_one_that_is_away(
    presenting: Presenting, server: Rogue
) -> None:
    server.token = sends({"error": "invalid_client"}, "401 No")
    with pytest.raises(OSError, match="invalid_client"):
        shown(presenting)


def test_an_event_loop_that_ends_meanwhile_waits_for_no_renewal(
    presenting: Presenting, source: TokenSource, server: Rogue, clock: SetClock
) -> None:
    shown(presenting)
    asked, answer = threading.Event(), threading.Event()

    def slow(request: bytes, connection: socket.socket) -> None:
        asked.set()
        answer.wait(20)
        good()(request, connection)

    server.token = slow
    clock.pass_by(60)
    presenting.refused(REFUSED)

    async def ended() -> None:
        task = asyncio.create_task(presenting.acredentials(client_id="dev1"))
        while not asked.is_set():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        task.cancel()

    asyncio.run(ended())
    assert source._running is not None, "it waited for the answer"
    answer.set()
    settled(source)


@pytest.mark.parametrize(("kind", "told"), [("Bearer", 0), ("DPoP", 1), ("PoP", 1)])
def test_a_token_whose_key_is_not_proven_is_warned_about_once(
    kind: str, told: int, source: TokenSource, server: Rogue, caplog: pytest.LogCaptureFixture
) -> None:
    server.token = good(token_type=kind)
    presenting = Presenting(source)
    for _ in range(3):
        shown(presenting)
    assert caplog.text.count("bound to a key") == told
    proven = Presenting(source, carry="auth:ace", method=ace(SigningKey.generate()))
    proven.credentials()
    assert caplog.text.count("bound to a key") == told


# Refusals


def test_a_refused_token_is_followed_by_one_new_one_and_that_by_none_while_it_is_young(
    presenting: Presenting, server: Rogue, clock: SetClock
) -> None:
    shown(presenting)
    clock.pass_by(60)
    for _ in range(5):
        presenting.refused(REFUSED)
        assert shown(presenting) == "token-2"
        clock.pass_by(5)
    assert server.asked == 2


def test_a_refused_token_is_shown_again_where_no_other_is_to_be_had(
    presenting: Presenting, server: Rogue, clock: SetClock
) -> None:
    shown(presenting)
    server.token = AWAY
    clock.pass_by(60)
    for _ in range(10):
        presenting.refused(REFUSED)
        assert shown(presenting) == "token-1"
    assert server.asked == 2


@pytest.mark.parametrize("code", [UNAVAILABLE, IMPOSSIBLE, 0x89, 0x97, 3, 1])
def test_what_is_not_the_tokens_fault_has_none_fetched(
    code: int, presenting: Presenting, server: Rogue, clock: SetClock
) -> None:
    shown(presenting)
    clock.pass_by(60)
    for _ in range(5):
        assert presenting.refused(code) > 0
        assert shown(presenting) == "token-1"
    assert server.asked == 1


def test_waits_grow_from_refusal_to_refusal_to_the_most_and_not_beyond(
    presenting: Presenting,
) -> None:
    shown(presenting)
    waits = [presenting.refused(UNAVAILABLE) for _ in range(10)]
    assert waits == [min(2.0**number, 120.0) for number in range(10)]
    assert presenting.failed() == 120.0


# Ends


@pytest.mark.parametrize("code", [REFUSED, 0x98, TIME_UP])
def test_an_end_near_the_tokens_end_is_its_time_and_no_failure(
    code: int, presenting: Presenting, clock: SetClock
) -> None:
    shown(presenting)
    clock.pass_by(3595)
    waits = [presenting.ended(code) for _ in range(5)]
    assert waits == [1.0] * 5


def test_an_administrators_end_long_before_is_no_refusal_of_the_token(
    presenting: Presenting, server: Rogue, clock: SetClock
) -> None:
    shown(presenting)
    clock.pass_by(60)
    presenting.ended(0x98)
    presenting.ended(None)
    assert shown(presenting) == "token-1"
    assert server.asked == 1


def test_after_a_reauthentication_the_end_of_the_old_token_counts_as_an_end_in_time(
    presenting: Presenting, source: TokenSource, clock: SetClock
) -> None:
    """A broker that could not decide about the next one may have kept the old one's end."""
    shown(presenting)
    clock.pass_by(3000)
    presenting.taken(source.renew().result(10))
    clock.pass_by(600)
    assert presenting.ended(REFUSED) == 1.0
    assert shown(presenting) == "token-2", "and the next one is good"


# Successors


def test_a_successor_is_there_when_the_next_token_is_and_not_before(
    presenting: Presenting, source: TokenSource, server: Rogue, clock: SetClock
) -> None:
    assert presenting.successor() is None, "nothing is shown yet"
    settled(source)
    shown(presenting)
    assert presenting.successor() is None
    clock.pass_by(3300.5)
    assert presenting.successor() is None, "it is only being fetched"
    settled(source)
    following = presenting.successor()
    assert following is not None
    assert following.access_token == "token-2"
    presenting.taken(following)
    assert presenting.successor() is None


def test_an_authorization_server_that_is_away_gives_no_reason_to_end_a_connection(
    presenting: Presenting, source: TokenSource, server: Rogue, clock: SetClock
) -> None:
    shown(presenting)
    server.token = AWAY
    for _ in range(3700):
        clock.pass_by(1)
        assert presenting.successor() is None
        if source.state is not Freshness.FRESH:
            settled(source)
    assert server.asked < 30, "it is asked ever less often"


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["connect", "look", "refused", "ended", "failed", "sleep"]),
            st.floats(0, 4000),
            st.sampled_from([REFUSED, UNAVAILABLE, IMPOSSIBLE, 0x98, 0xA0, 4, 5, 3]),
            st.booleans(),
        ),
        max_size=25,
    )
)
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_whatever_happens_no_ended_token_is_shown_and_each_refusal_costs_one_at_most(
    life: list[tuple[str, float, int, bool]],
) -> None:
    clock = SetClock()
    behaviours: dict[bool, Behaviour] = {True: good(), False: AWAY}
    with rogue(behaviours[True]) as server:
        source = source_of(server, clock)
        presenting = Presenting(source, chance=lambda: 1.0)
        for step, seconds, code, there in life:
            server.token = behaviours[there]
            before = server.asked
            if step == "connect":
                try:
                    token = presenting.credentials(client_id="d", timeout=20).token
                except TokenUnavailableError:
                    continue
                age = source.age_of(token)
                assert age < token.lifetime - margin_of(token.lifetime)
            elif step == "look":
                following = presenting.successor()
                if following is not None:
                    assert source.age_of(following) < following.lifetime
                    presenting.taken(following)
            elif step == "refused":
                assert 0 <= presenting.refused(code) <= 120
            elif step == "ended":
                assert 0 <= presenting.ended(code) <= 120
            elif step == "failed":
                assert 0 <= presenting.failed() <= 120
            else:
                clock.pass_by(seconds)
            settled(source)
            assert server.asked - before <= 2
