# SPDX-License-Identifier: Apache-2.0
"""Guessing is slowed, a fleet behind one address lives, and nobody locks a device out from afar."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfob.errors import ConfigError
from keyfob.server.app import create_app
from keyfob.server.audit import TokenEvent
from keyfob.server.clients import ClientKind
from keyfob.server.limits import DEFAULT_LIMITS, Limits, LimitSettings, network_of
from keyfob.server.limits_in_memory import InMemoryLimits
from keyfob.server.oauth_errors import OAuthError, invalid_client
from keyfob.server.register import Register
from keyfob.server.settings import ServerSettings
from keyfob.server.stores.postgresql.limits import PostgresqlLimits
from keyfob.server.stores.reads import InThreads
from keyfob.server.wishes import ApplicationWish
from tests.server.world import ISSUER

pytestmark = pytest.mark.anyio

HOME, ELSEWHERE = "192.0.2.1", "198.51.100.7"
FEW = LimitSettings(
    client_burst=5,
    client_rate=1.0,
    service_burst=50,
    address_burst=20,
    address_rate=2.0,
    failure_burst=3,
    failure_rate=0.1,
    address_failure_burst=6,
    address_failure_rate=0.5,
)


class Ticks:
    """Seconds that pass when a test says so."""

    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def ticks() -> Ticks:
    return Ticks()


@pytest.fixture
def store(ticks: Ticks) -> InMemoryLimits:
    return InMemoryLimits(FEW, ticks)


@pytest.fixture(params=["memory", "postgresql"])
async def limits(
    request: pytest.FixtureRequest, store: InMemoryLimits, ticks: Ticks
) -> AsyncIterator[Limits]:
    """What one server counts for itself, and what several count together."""
    if request.param == "memory":
        yield Limits(store)
        return
    with request.getfixturevalue("cluster").database() as url:
        reads = InThreads(url)
        yield Limits(PostgresqlLimits(FEW, reads, ticks))
        reads.close()


async def tried(limits: Limits, name: str, address: str, *, right: bool) -> str:
    """Try once; return how it ended."""
    try:
        async with limits.attempt(name, address) as attempt:
            if not right:
                raise invalid_client("secret_wrong")
            attempt.proved(ClientKind.DEVICE)
    except OAuthError as error:
        limited = error.error == "temporarily_unavailable" and error.retry_after >= 1
        return error.reason if limited == (error.status == 429) else "a limit is told wrongly"
    return "right"


async def test_guessing_under_one_name_is_slowed_to_the_rate(limits: Limits, ticks: Ticks) -> None:
    ended = [await tried(limits, "dev1", HOME, right=False) for _ in range(5)]
    assert ended == ["secret_wrong"] * 3 + ["limit_failures"] * 2
    ticks.now += 9.0
    assert await tried(limits, "dev1", HOME, right=True) == "limit_failures"
    ticks.now += 1.0
    assert await tried(limits, "dev1", HOME, right=False) == "secret_wrong"
    assert await tried(limits, "dev1", HOME, right=False) == "limit_failures"


async def test_a_right_guess_is_not_let_through_while_the_name_waits(limits: Limits) -> None:
    """Else who guesses on reads from the answers which guess was right."""
    for _ in range(3):
        await tried(limits, "dev1", HOME, right=False)
    assert await tried(limits, "dev1", HOME, right=True) == "limit_failures"


async def test_guessing_elsewhere_never_locks_the_device_out(limits: Limits) -> None:
    for _ in range(100):
        await tried(limits, "dev1", ELSEWHERE, right=False)
    assert await tried(limits, "dev1", HOME, right=True) == "right"
    assert await tried(limits, "dev1", ELSEWHERE, right=True) == "limit_failures"


async def test_guessing_under_many_names_from_one_address_is_slowed(limits: Limits) -> None:
    ended = [await tried(limits, f"dev{one}", HOME, right=False) for one in range(10)]
    assert ended == ["secret_wrong"] * 6 + ["limit_address_failures"] * 4


async def test_a_guesser_behind_the_same_gateway_does_not_stop_the_devices_known_there(
    limits: Limits,
) -> None:
    assert await tried(limits, "good", HOME, right=True) == "right"
    for one in range(20):
        await tried(limits, f"bad{one}", HOME, right=False)
    assert await tried(limits, "new", HOME, right=True) == "limit_address_failures"
    assert await tried(limits, "good", HOME, right=True) == "right"


async def test_a_broken_device_costs_its_neighbours_only_its_own_small_part(
    limits: Limits, ticks: Ticks
) -> None:
    """Once a pair waits, it spends no mistake of its network any more."""
    for _ in range(1_000):
        await tried(limits, "broken", HOME, right=False)
    assert await tried(limits, "new", HOME, right=True) == "right"


async def test_a_known_device_lives_on_its_own_allowance(limits: Limits, ticks: Ticks) -> None:
    ended = [await tried(limits, "dev1", HOME, right=True) for _ in range(8)]
    assert ended == ["right"] * 6 + ["limit_client"] * 2
    ticks.now += 1.0
    assert await tried(limits, "dev1", HOME, right=True) == "right"
    assert await tried(limits, "dev2", HOME, right=True) == "right"


async def test_strangers_of_one_network_share_one_allowance(limits: Limits, ticks: Ticks) -> None:
    ended = [await tried(limits, f"dev{one}", HOME, right=True) for one in range(22)]
    assert ended == ["right"] * 20 + ["limit_address"] * 2
    assert await tried(limits, "dev1", HOME, right=True) == "right"  # is no stranger any more
    assert await tried(limits, "dev99", ELSEWHERE, right=True) == "right"


async def test_names_that_are_none_share_one_pair(limits: Limits, store: InMemoryLimits) -> None:
    for one in range(50):
        await tried(limits, f"not a name {one}" * 1_000, HOME, right=False)
    assert store.size <= 4


async def test_requests_that_name_nobody_are_mistakes_of_their_network(limits: Limits) -> None:
    error = invalid_client("credentials_missing")
    answers = [(await limits.nameless(HOME, error)).status for _ in range(8)]
    assert answers == [401] * 6 + [429] * 2


async def test_an_error_that_is_no_wrong_proof_costs_nothing(limits: Limits) -> None:
    for _ in range(10):
        with pytest.raises(RuntimeError):
            async with limits.attempt("dev1", HOME):
                raise RuntimeError
    assert await tried(limits, "dev1", HOME, right=True) == "right"


async def test_a_refusal_that_goes_on_is_told_once_a_minute(limits: Limits, ticks: Ticks) -> None:
    told = []
    for _ in range(130):
        ticks.now += 1.0
        for _ in range(4):
            try:
                async with limits.attempt("dev1", HOME):
                    raise invalid_client("secret_wrong")
            except OAuthError as error:
                if error.status == 429 and error.told:
                    told.append(ticks.now)
    assert 2 <= len(told) <= 3


@given(
    moves=st.lists(
        st.tuples(st.integers(0, 30), st.integers(0, 30), st.booleans(), st.floats(0.0, 5.0)),
        max_size=200,
    )
)
async def test_no_sequence_lets_more_mistakes_through_or_keeps_more_than_its_bound(
    moves: list[tuple[int, int, bool, float]],
) -> None:
    ticks = Ticks()
    store = InMemoryLimits(replace(FEW, tracked=40), ticks)
    limits = Limits(store)
    start = ticks.now
    wrong: dict[tuple[int, int], int] = {}
    for name, address, right, pause in moves:
        ticks.now += pause
        ended = await tried(limits, f"dev{name}", f"192.0.2.{address}", right=right)
        if ended == "secret_wrong":
            wrong[name, address] = wrong.get((name, address), 0) + 1
    passed = ticks.now - start
    assert store.size <= 5 * 40
    if len({move[:2] for move in moves}) <= 40:  # nothing was pushed out
        assert all(count <= 3 + 0.1 * passed + 1e-6 for count in wrong.values())


async def test_made_up_names_and_addresses_never_push_out_who_was_proven(ticks: Ticks) -> None:
    store = InMemoryLimits(replace(FEW, tracked=10), ticks)
    limits = Limits(store)
    assert await tried(limits, "good", HOME, right=True) == "right"
    for one in range(200):
        await tried(limits, f"bad{one}", f"198.51.100.{one}", right=False)
    for one in range(10):
        await tried(limits, f"bad{one}", HOME, right=False)
    assert await tried(limits, "good", HOME, right=True) == "right"


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("x" * 1_000, "x" * 64),
    ],
)
async def test_an_address_is_counted_as_its_network(address: str, network: str) -> None:
    assert network_of(address) == network


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf")])
async def test_a_limit_that_is_none_is_refused(value: float) -> None:
    with pytest.raises(ConfigError, match="client_rate"):
        LimitSettings(client_rate=value)


async def test_ten_thousand_devices_behind_one_gateway_come_back_at_once(ticks: Ticks) -> None:
    limits = Limits(InMemoryLimits(DEFAULT_LIMITS, ticks))
    for one in range(10_000):
        assert await tried(limits, f"dev{one}", HOME, right=True) == "right"


# At the endpoints


@pytest.fixture
async def http(
    settings: ServerSettings, register: Register, store: InMemoryLimits
) -> AsyncIterator[tuple[httpx.AsyncClient, list[TokenEvent]]]:
    events: list[TokenEvent] = []
    app = create_app(settings, audit=events.append, limits=store)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=ISSUER) as client,
    ):
        yield client, events


Http = tuple[httpx.AsyncClient, list[TokenEvent]]


async def test_the_token_endpoint_says_429_and_when_to_come_back(
    http: Http, register: Register
) -> None:
    client, events = http
    secret = register.add_device("dev1").secret
    form = {"grant_type": "client_credentials", "client_id": "dev1", "client_secret": "wrong"}
    statuses = [(await client.post("/oauth2/token", data=form)).status_code for _ in range(5)]
    assert statuses == [401, 401, 401, 429, 429]
    answer = await client.post("/oauth2/token", data=form | {"client_secret": secret})
    assert answer.status_code == 429
    assert answer.json()["error"] == "temporarily_unavailable"
    assert answer.headers["retry-after"] == "10"
    assert answer.headers["cache-control"] == "no-store"
    assert [event.reason for event in events] == ["secret_wrong"] * 3 + ["limit_failures"]


async def test_an_unknown_and_a_known_name_are_limited_alike(
    http: Http, register: Register
) -> None:
    client, _ = http
    register.add_device("there")
    seen = []
    for name in ("there", "notthere"):
        form = {"grant_type": "client_credentials", "client_id": name, "client_secret": "wrong"}
        answers = [await client.post("/oauth2/token", data=form) for _ in range(5)]
        seen.append([(answer.status_code, answer.content) for answer in answers[:3]])
        assert [answer.status_code for answer in answers[3:]] == [429, 429]
    assert seen[0] == seen[1]


async def test_guessing_a_devices_password_through_an_application_is_slowed(
    http: Http, register: Register
) -> None:
    client, _ = http
    register.add_device("dev1")
    other = register.add_device("dev2").secret
    secret = register.add_application("gateway").secret
    assert secret is not None
    form = {"grant_type": "password", "username": "dev1", "password": "wrong"}
    auth = httpx.BasicAuth("gateway", secret)
    statuses = [
        (await client.post("/oauth2/token", data=form, auth=auth)).status_code for _ in range(5)
    ]
    assert statuses == [400, 400, 400, 429, 429]
    good = form | {"username": "dev2", "password": other}
    assert (await client.post("/oauth2/token", data=good, auth=auth)).status_code == 200


async def test_guessing_a_guards_secret_is_slowed(http: Http, register: Register) -> None:
    client, _ = http
    register.ensure_guard_client("guard")
    statuses = [
        (await client.get("/oauth2/revocations", auth=("guard", "wrong"))).status_code
        for _ in range(5)
    ]
    assert statuses == [401, 401, 401, 429, 429]


async def test_malformed_requests_are_limited_and_do_not_fill_the_audit(http: Http) -> None:
    client, events = http
    statuses = [(await client.post("/oauth2/token")).status_code for _ in range(50)]
    assert set(statuses[:6]) == {400}
    assert set(statuses[7:]) == {429}
    assert len(events) <= 8


async def test_what_strangers_do_with_a_public_applications_name_is_limited(
    http: Http, register: Register
) -> None:
    """Its name is known to all who have the program: it is nobody in particular."""
    client, events = http
    register.add_application(ApplicationWish("phone", public=True, refresh=True))
    for form in (
        {"grant_type": "refresh_token", "refresh_token": "kfr_x"},
        {"grant_type": "client_credentials"},
    ):
        for _ in range(20):
            await client.post("/oauth2/token", data={"client_id": "phone", **form})
    assert len([event for event in events if not event.reason.startswith("limit_")]) <= 7


async def test_a_device_that_is_known_gets_in_through_a_public_application_beside_a_guesser(
    http: Http, register: Register
) -> None:
    client, _ = http
    secret = register.add_device("dev1").secret
    register.add_application(ApplicationWish("phone", public=True))
    form = {"grant_type": "password", "client_id": "phone", "username": "dev1", "password": secret}
    assert (await client.post("/oauth2/token", data=form)).status_code == 200
    for number in range(20):  # all mistakes of the address are used up
        await client.post("/oauth2/token", data=form | {"username": f"guess{number}"})
    assert (await client.post("/oauth2/token", data=form)).status_code == 200
    assert (await client.post("/oauth2/token")).status_code == 429
