# SPDX-License-Identifier: Apache-2.0
"""Issuers and policies change while clients are connected: who may stay stays, with what it may."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from keyfob.authorization.decision import DenyReason
from keyfob.authorization.policy import Policy, PolicyRule
from keyfob.errors import ConfigError
from keyfob.guard.audit import AuditLog, Outcome
from keyfob.guard.database import Database
from keyfob.guard.guard import Guard, IssuerBinding
from keyfob.guard.key_sources import HttpKeySource, StaticKeySource
from keyfob.guard.reconsidering import SLICE, Reconsidered
from keyfob.guard.revocations import Revocation
from keyfob.guard.session import Change, End, EndCause, Replacement, SessionState
from keyfob.guard.sessions import SessionStore
from tests.guard.world import (
    ISSUER,
    KEY,
    NOW,
    OTHER_KEY,
    Clock,
    EventList,
    HttpServer,
    guard,
    jwks,
    key_set,
    mint,
    permissions,
    request,
    session,
    trusted,
    until,
)

pytestmark = pytest.mark.anyio

ADMIN = PolicyRule(kind="claim", claim="role", value="admin", subscribe=("all/#",))


def binding(policy: Policy | None = None, **changes: Any) -> IssuerBinding:
    rules = trusted(**changes)
    keys = StaticKeySource(key_set(KEY))
    return IssuerBinding(trusted=rules, keys=keys, policy=policy or Policy())


def by_iss(*bindings: IssuerBinding) -> dict[str, IssuerBinding]:
    return {each.trusted.issuer: each for each in bindings}


class House:
    """A guard, what its brokers were told, and what its audit heard."""

    def __init__(self, **arguments: Any) -> None:
        self.sessions = SessionStore()
        self.sink = EventList()
        self.audit = AuditLog([self.sink])
        self.guard: Guard = guard(sessions=self.sessions, audit=self.audit, **arguments)
        self.told: list[Change] = []
        self.guard.subscribe(self.told.append)

    def let_in(self, client_id: str, *, assigned: bool = False, **claims: Any) -> None:
        device = claims.pop("device", client_id)
        wanted = request(client_id, mint(device, **claims), clean=assigned, assigned=assigned)
        decision = self.guard.decide(wanted, broker="b1")
        assert decision.allowed, decision.detail
        assert self.guard.admitted("b1", client_id, 5, decision) is None

    def events(self) -> Sequence[tuple[Outcome, str, str]]:
        self.audit.flush()
        events = self.sink.events
        return [(e.outcome, e.client_id, e.reason) for e in events if e.outcome != Outcome.ALLOWED]


async def test_a_policy_that_stays_the_same_changes_nothing() -> None:
    house = House()
    house.let_in("dev1")
    house.let_in("auto-1", assigned=True)
    assert await house.guard.reload(by_iss(binding())) == Reconsidered(kept=2)
    assert house.told == []


async def test_whose_rights_changed_goes_on_with_the_new_ones() -> None:
    house = House()
    house.let_in("dev1", role="admin")
    house.let_in("dev2")
    answer = await house.guard.reload(by_iss(binding(Policy(rules=(ADMIN,)))))
    assert answer == Reconsidered(changed=1, kept=1)
    (told,) = house.told
    assert isinstance(told, Replacement)
    assert told.session.client_id == "dev1"
    assert told.session.epoch == 5
    filters = {str(rule.filter) for rule in told.session.permissions.rules}
    assert filters == {"up/+", "down/#", "all/#"}
    assert house.sessions.get("b1", "dev1") == told.session
    assert house.events() == [(Outcome.REPLACED, "dev1", "")]


async def test_whose_token_would_be_refused_now_is_dropped_and_nobody_else() -> None:
    house = House()
    house.let_in("dev1", scope="mqtt.connect fleet")
    house.let_in("dev2")
    stricter = binding(required_scopes=frozenset({"mqtt.connect", "fleet"}))
    assert await house.guard.reload(by_iss(stricter)) == Reconsidered(ended=1, kept=1)
    assert house.told == [End(broker="b1", client_id="dev2", epoch=5, cause=EndCause.REVOKED)]
    assert house.events() == [(Outcome.REVOKED, "dev2", "scope_missing")]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"audiences": frozenset({"another"})}, DenyReason.AUDIENCE_MISMATCH),
        ({"client_id_template": "x-{device}"}, DenyReason.CLIENT_ID_MISMATCH),
        ({"device_claim": "azp"}, DenyReason.CLAIM_MISSING),
        ({"max_lifetime": 60}, DenyReason.LIFETIME_TOO_LONG),
    ],
)
async def test_every_rule_about_claims_and_identifiers_counts(
    changes: dict[str, Any], reason: DenyReason
) -> None:
    house = House()
    house.let_in("dev1")
    assert await house.guard.reload(by_iss(binding(**changes))) == Reconsidered(ended=1)
    assert house.events() == [(Outcome.REVOKED, "dev1", reason)]


async def test_an_issuer_that_is_not_trusted_any_more_loses_its_clients() -> None:
    house = House()
    house.let_in("dev1")
    other = binding(issuer="https://other.example", name="other")
    assert await house.guard.reload(by_iss(other)) == Reconsidered(ended=1)
    assert house.guard.decide(request("dev1")).reason is DenyReason.ISSUER_UNKNOWN


async def test_an_end_that_moves_is_told_also_when_it_has_come() -> None:
    """An issuer's expiry_leeway that is taken away ends who lived on it, as its token's end."""
    clock = Clock()
    house = House(clock=clock, issuer=trusted(expiry_leeway=60))
    house.let_in("dev1", exp=int(NOW) + 10)
    clock.now += 30
    await house.guard.reload(by_iss(binding()))
    (told,) = house.told
    assert isinstance(told, Replacement)
    assert told.session.expires_at == NOW + 10


async def test_a_stored_session_takes_the_new_rights_and_its_expiry_is_no_fault() -> None:
    clock = Clock()
    house = House(clock=clock)
    house.let_in("dev1", role="admin")
    house.guard.offline("b1", "dev1", 5, True)
    clock.now += 7200
    answer = await house.guard.reload(by_iss(binding(Policy(rules=(ADMIN,)))))
    assert answer == Reconsidered(changed=1)
    assert house.told == []  # what is queued meanwhile is looked at again when it comes back
    kept = house.sessions.get("b1", "dev1")
    assert kept is not None
    assert kept.state is SessionState.OFFLINE
    assert len(kept.permissions.rules) == 3


async def test_a_stored_session_without_rights_is_marked_as_a_live_one() -> None:
    """So that its queue is refused when its client comes back, and is nobody else's."""
    house = House()
    house.let_in("dev1")
    house.guard.offline("b1", "dev1", 5, True)
    narrower = by_iss(binding(audiences=frozenset({"another"})))
    assert await house.guard.reload(narrower) == Reconsidered(ended=1)
    assert house.told == [End(broker="b1", client_id="dev1", epoch=5, cause=EndCause.REVOKED)]
    assert house.events() == [(Outcome.REVOKED, "dev1", "audience_mismatch")]
    (marked,) = house.sessions
    assert marked.state is SessionState.REVOKED


OTHER = "https://other.example"


def moved_to_another_issuer() -> dict[str, IssuerBinding]:
    return by_iss(binding(issuer=OTHER, name="other"))


@pytest.mark.parametrize("stored", [True, False])
async def test_what_an_issuer_left_that_is_not_trusted_any_more_is_nobodys_but_by_a_clean_start(
    stored: bool,
) -> None:
    house = House()
    house.let_in("dev1")
    if stored:
        house.guard.offline("b1", "dev1", 5, True)
    await house.guard.reload(moved_to_another_issuer())
    assert house.told == [End(broker="b1", client_id="dev1", epoch=5, cause=EndCause.REVOKED)]
    token = mint("dev1", iss=OTHER)
    resuming = house.guard.decide(request("dev1", token, clean=False), broker="b1")
    assert resuming.reason is DenyReason.SESSION_OWNED_BY_ANOTHER
    anew = house.guard.decide(request("dev1", token, clean=True), broker="b1")
    assert anew.allowed, anew.detail
    assert house.guard.admitted("b1", "dev1", 6, anew) is None
    (session,) = house.sessions
    assert (session.issuer, session.state) == (OTHER, SessionState.ONLINE)


async def test_who_may_have_an_identifier_no_more_leaves_it_to_a_clean_start() -> None:
    """A template that has become stricter: the identifier is another device's now."""
    house = House(issuer=trusted(client_id_template="{device}-*"))
    house.let_in("dev1-a", device="dev1")
    house.guard.offline("b1", "dev1-a", 5, True)
    await house.guard.reload(by_iss(binding()))
    token = mint("dev1-a")
    resuming = house.guard.decide(request("dev1-a", token, clean=False), broker="b1")
    assert resuming.reason is DenyReason.SESSION_OWNED_BY_ANOTHER
    assert house.guard.decide(request("dev1-a", token, clean=True), broker="b1").allowed


async def test_what_was_revoked_stays_its_owners_while_its_issuer_is_trusted() -> None:
    house = House(issuer=trusted(device_claim="azp"))
    house.let_in("dev1", azp="dev1", sub="anna")
    await house.guard.revoke(Revocation(issuer=ISSUER, subject="anna", until=NOW + 9))
    rival = mint("dev1", azp="dev1", sub="berta")
    for clean in (False, True):
        decision = house.guard.decide(request("dev1", rival, clean=clean), broker="b1")
        assert decision.reason is DenyReason.SESSION_OWNED_BY_ANOTHER


async def test_an_issuer_that_is_trusted_again_finds_its_sessions_still_marked() -> None:
    house = House()
    house.let_in("dev1")
    house.guard.offline("b1", "dev1", 5, True)
    await house.guard.reload(moved_to_another_issuer())
    assert await house.guard.reload(by_iss(binding())) == Reconsidered(kept=1)
    (marked,) = house.sessions
    assert marked.state is SessionState.REVOKED
    house.let_in("dev1")  # by its own token, and its queue is refused: the broker knows the mark
    (back,) = house.sessions
    assert back.state is SessionState.ONLINE


async def test_a_revoked_session_stays_revoked_and_one_of_unknown_claims_stays() -> None:
    house = House()
    house.sessions.put(session("dev1", state=SessionState.REVOKED, offline_since=NOW))
    house.sessions.put(session("dev2"))
    before = tuple(house.sessions)
    await house.guard.reload(by_iss(binding(audiences=frozenset({"another"}))))
    assert tuple(house.sessions) == before
    assert house.told == []


async def test_a_client_let_in_by_the_old_policy_while_it_changed_is_judged_by_the_new_one() -> (
    None
):
    house = House()
    decision = house.guard.decide(request("dev1"), broker="b1")
    await house.guard.reload(by_iss(binding(audiences=frozenset({"another"}))))
    assert house.guard.admitted("b1", "dev1", 5, decision) is None
    assert house.told == [End(broker="b1", client_id="dev1", epoch=5, cause=EndCause.REVOKED)]


async def test_a_pass_that_began_under_the_old_policy_goes_on_under_the_new_one() -> None:
    """Else it would give back, for good, what the reload took."""
    house = House(policy=Policy(rules=(ADMIN,)))
    for number in range(8 * SLICE):
        house.let_in(f"dev{number}", role="admin")
    last = f"dev{8 * SLICE - 1}"
    again = request(last, mint(last, role="admin"))
    began = asyncio.create_task(house.guard.reconsider())
    await asyncio.sleep(0)  # it is in its first pause
    house.guard.offline("b1", last, 5, False)
    reloading = asyncio.create_task(house.guard.reload(by_iss(binding())))
    await until(lambda: len(house.guard.decide(again).permissions.rules) == 2)
    house.let_in(last, role="admin")
    assert not began.done()
    await began
    await reloading
    assert {len(each.permissions.rules) for each in house.sessions} == {2}


async def test_permissions_too_many_to_hold_end_the_session() -> None:
    house = House()
    house.let_in("dev1")
    rows = tuple(
        PolicyRule(kind="scope", value="mqtt.connect", publish=(f"t/{number}",))
        for number in range(4097)
    )
    assert await house.guard.reload(by_iss(binding(Policy(rules=rows)))) == Reconsidered(ended=1)
    assert house.events() == [(Outcome.REVOKED, "dev1", "permissions_invalid")]


async def test_issuers_that_do_not_fit_together_change_nothing() -> None:
    house = House()
    house.let_in("dev1")
    twice = by_iss(binding(), binding(issuer="https://other.example"))
    with pytest.raises(ConfigError, match="same name"):
        await house.guard.reload(twice)
    assert house.guard.decide(request("dev1")).allowed


async def test_a_thousand_sessions_do_not_keep_a_connect_waiting() -> None:
    house = House()
    for number in range(3 * SLICE):
        house.sessions.put(session(f"dev{number}"))
    reloading = asyncio.create_task(house.guard.reload(by_iss(binding())))
    turns = 0
    while not reloading.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 3


async def test_parts_that_are_the_same_go_on_and_the_others_begin_and_end(
    http: HttpServer, clock: Clock
) -> None:
    http.answer("/old", jwks(KEY))
    http.answer("/new", jwks(OTHER_KEY))

    def of(path: str, **changes: Any) -> IssuerBinding:
        keys = HttpKeySource(ISSUER, jwks_uri=f"{http.url}{path}", monotonic=clock)
        return IssuerBinding(trusted=trusted(**changes), keys=keys, policy=Policy())

    old = of("/old")
    async with Guard(by_iss(old), clock=clock) as keeper:
        assert await keeper.ready(30)
        same_keys = IssuerBinding(trusted=trusted(leeway=1), keys=old.keys, policy=Policy())
        await keeper.reload(by_iss(same_keys))
        assert http.count("/old") == 1
        assert keeper.decide(request("dev1")).allowed
        await keeper.reload(by_iss(of("/new")))
        assert keeper.decide(request("dev2", mint("dev2", key=OTHER_KEY))).allowed
        assert keeper.decide(request("dev1")).reason is DenyReason.KEYS_UNAVAILABLE  # asked for now
        await until(lambda: http.count("/new") == 2)


async def test_the_old_issuers_count_until_the_new_keys_are_there(
    http: HttpServer, clock: Clock
) -> None:
    let_go = asyncio.Event()

    http.answer("/new", jwks(OTHER_KEY), after=let_go)
    keys = HttpKeySource(ISSUER, jwks_uri=f"{http.url}/new", monotonic=clock)
    coming = IssuerBinding(trusted=trusted(), keys=keys, policy=Policy())
    async with guard(clock=clock) as keeper:
        reloading = asyncio.create_task(keeper.reload(by_iss(coming), timeout=30))
        await until(lambda: http.count("/new"))
        assert keeper.decide(request("dev1")).allowed
        let_go.set()
        await reloading
        assert not keeper.decide(request("dev1")).allowed


async def test_claims_survive_the_guard_and_are_judged_by_the_policy_of_the_next(
    tmp_path: Path,
) -> None:
    path = tmp_path / "guard.db"
    with Database.open(path) as database:
        keeper = guard(sessions=SessionStore(database))
        decision = keeper.decide(request("dev1", mint("dev1", role="admin")), broker="b1")
        keeper.admitted("b1", "dev1", 5, decision)
    with Database.open(path) as database:
        sessions = SessionStore(database)
        keeper = guard(sessions=sessions, policy=Policy(rules=(ADMIN,)))
        told: list[Change] = []
        keeper.subscribe(told.append)
        async with keeper:
            await until(lambda: told)
        (change,) = told
        assert isinstance(change, Replacement)
        assert permissions("all/#").rules[0] in change.session.permissions.rules


async def test_the_mark_of_an_issuer_that_is_gone_outlasts_guards_and_brokers(
    tmp_path: Path,
) -> None:
    other = trusted(name="other", issuer=OTHER)
    with Database.open(tmp_path / "guard.db") as database:
        sessions = SessionStore(database)
        sessions.put(session(state=SessionState.OFFLINE, offline_since=NOW))
        async with guard(sessions=sessions, issuer=other):
            await until(lambda: next(iter(sessions)).state is SessionState.REVOKED)
    with Database.open(tmp_path / "guard.db") as database:
        keeper = guard(sessions=SessionStore(database), issuer=other)
        given = keeper.begin_link("b1", b"a new run of it!").finish()
        assert [each.state for each in given.records] == [SessionState.REVOKED]
        assert [each.cause for each in given.ends] == [EndCause.REVOKED]


async def test_who_is_known_without_claims_goes_with_its_issuer() -> None:
    """A session that a plugin told of, whose issuer is not trusted any more."""
    here = House()
    here.sessions.put(session(client=None, issued_at=None))
    other = binding(name="other", issuer="https://other.example")
    assert await here.guard.reload(by_iss(other)) == Reconsidered(ended=1)
    assert here.told == [End(broker="b1", client_id="dev1", epoch=1, cause=EndCause.REVOKED)]
    assert here.events() == [(Outcome.REVOKED, "dev1", "issuer_unknown")]


async def test_a_reload_that_is_given_up_leaves_nothing_running(http: HttpServer) -> None:
    """At the end of the guard, and after the next reload."""

    async def hang(_: asyncio.StreamWriter, __: str) -> None:
        await asyncio.Event().wait()

    http.routes["/keys"] = hang
    slow = HttpKeySource("https://new.example", jwks_uri=f"{http.url}/keys")
    added = trusted(name="new", issuer="https://new.example")
    new = IssuerBinding(trusted=added, keys=slow, policy=Policy())

    def at_work() -> set[str]:
        return {task.get_name() for task in asyncio.all_tasks() if "new.example" in task.get_name()}

    here = House()
    for way in ("end", "reload"):
        async with here.guard:
            reloading = asyncio.create_task(here.guard.reload(by_iss(binding(), new)))
            await until(at_work)
            reloading.cancel()
            await asyncio.gather(reloading, return_exceptions=True)
            if way == "reload":
                await here.guard.reload(by_iss(binding()))
                assert at_work() == set()
        assert at_work() == set()
