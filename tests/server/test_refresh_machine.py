# SPDX-License-Identifier: Apache-2.0
"""Any order of logins, refreshes, reuse, revocations and restarts against the rules in words.

The model knows nothing of hashes, keys or SQL: a family is a list of tokens, of which the last one
is good, and the one before for a moment longer.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Awaitable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from keyfob.server.issue import Access
from keyfob.server.lifetimes import RefreshLifetimes
from keyfob.server.oauth_errors import OAuthError
from keyfob.server.refresh_family import Standing
from keyfob.server.refresh_token import RefreshToken
from keyfob.server.refresh_tokens import RefreshTokens
from keyfob.server.register import Register
from keyfob.server.stores.place import Place
from keyfob.server.stores.reads import InLoop
from keyfob.server.stores.refresh_families import MAX_FAMILIES, StoredRefreshFamilies
from keyfob.server.stores.store import Store, open_store
from keyfob.server.stores.writer import Writer
from keyfob.server.wishes import ApplicationWish
from tests.postgresql import Cluster

GRACE, IDLE, TOTAL = 10, 100, 150
LIFETIMES = RefreshLifetimes(idle=IDLE, total=TOTAL)
DEVICES, CLIENTS = ("dev1", "dev2"), ("app1", "app2")
T = TypeVar("T")


@dataclass
class Model:
    """A family in words."""

    device: str
    client: str
    began: float
    tokens: list[str] = field(default_factory=list)
    used: float = 0.0
    dead: bool = False

    def over(self, now: float) -> bool:
        return self.dead or now >= min(self.used + IDLE, self.began + TOTAL)

    def answer(self, token: str, now: float) -> str | None:
        """Return what a token gets: ``new``, the last token again, or nothing."""
        if self.over(now):
            return None
        if token == self.tokens[-1]:
            return "new"
        if token in self.tokens[-2:] and now < self.used + GRACE:
            return self.tokens[-1]
        self.dead = True
        return None


class Process:
    """What one server process has open."""

    def __init__(self, database: Place, clock: RefreshMachine) -> None:
        self.store: Store = open_store(database)
        self.writer = Writer(database)
        self.families = StoredRefreshFamilies(InLoop(self.store), self.writer, grace=GRACE)
        self.tokens = RefreshTokens(self.families, LIFETIMES, lambda: clock.now)

    def close(self) -> None:
        self.writer.close()
        self.store.close()


class RefreshMachine(RuleBasedStateMachine):
    tokens = Bundle("tokens")

    def __init__(self, cluster: Cluster | None = None) -> None:
        super().__init__()
        self.now = 1_800_000_000.0
        self.closing = contextlib.ExitStack()
        if cluster is None:
            folder = self.closing.enter_context(tempfile.TemporaryDirectory())
            self.database: Place = Path(folder) / "server.db"
        else:
            self.database = self.closing.enter_context(cluster.database())
        self.loop = asyncio.new_event_loop()
        self.register = Register(open_store(self.database), clock=lambda: self.now)
        for client in CLIENTS:
            self.register.add_application(ApplicationWish(client, public=True, refresh=True))
        for device in DEVICES:
            self.register.add_device(device)
        self.processes = [Process(self.database, self) for _ in range(2)]
        self.families: list[Model] = []
        self.owner: dict[str, Model] = {}

    def teardown(self) -> None:
        for process in self.processes:
            process.close()
        self.register.close()
        self.loop.close()
        self.closing.close()

    def run(self, work: Awaitable[T]) -> T:
        async def wait() -> T:
            return await work

        return self.loop.run_until_complete(wait())

    @precondition(lambda self: len(self.families) < MAX_FAMILIES)
    @rule(
        target=tokens,
        device=st.sampled_from(DEVICES),
        client=st.sampled_from(CLIENTS),
        process=st.integers(0, 1),
    )
    def log_in(self, device: str, client: str, process: int) -> str:
        self.now += 1  # a revocation concerns whole seconds
        access = Access(
            subject=device,
            client_id=client,
            scopes=("mqtt.connect",),
            lifetime=None,
            revoked_through=0,
            renewable=True,
        )
        text = self.run(self.processes[process].tokens.issue(access, access.scopes, now=self.now))
        assert text is not None
        family = Model(device, client, self.now, [text], self.now)
        self.families.append(family)
        assert text not in self.owner
        self.owner[text] = family
        return text

    @rule(
        target=tokens,
        text=tokens,
        client=st.sampled_from(CLIENTS),
        process=st.integers(0, 1),
    )
    def refresh(self, text: str, client: str, process: int) -> object:
        """Any token, old or new, from any client, at either process."""
        family = self.owner[text]
        expected = family.answer(text, self.now) if client == family.client else None
        found = self.run(self.used(self.processes[process].tokens, text, client))
        if expected is None:
            assert found is None
            return multiple()
        if expected != "new":
            assert found == expected
            return multiple()
        assert found is not None
        self.took(family, found)
        return found

    def took(self, family: Model, successor: str) -> None:
        assert successor not in self.owner
        self.owner[successor] = family
        family.tokens.append(successor)
        family.used = self.now

    async def used(self, tokens: RefreshTokens, text: str, client: str) -> str | None:
        """Do what the grant and the token endpoint do, one after the other."""
        try:
            token, family = await tokens.open(text, client)
            access = Access(
                subject=family.subject,
                client_id=client,
                scopes=family.scopes,
                lifetime=None,
                revoked_through=0,
                refresh_token=token,
            )
            return await tokens.issue(access, family.scopes, now=self.now)
        except OAuthError:
            return None

    @rule(text=tokens, client=st.sampled_from(CLIENTS), process=st.integers(0, 1))
    def revoke(self, text: str, client: str, process: int) -> None:
        family = self.owner[text]
        done = self.run(self.revoked(self.processes[process].tokens, text, client))
        if client == family.client:
            assert done == family.device or family.over(self.now)
            family.dead = True
        else:
            assert done == "token_of_another" or family.over(self.now)

    async def revoked(self, tokens: RefreshTokens, text: str, client: str) -> str | None:
        try:
            return await tokens.revoke_family_of(text, client)
        except OAuthError as error:
            return error.reason

    @rule(seconds=st.sampled_from([0.5, GRACE - 0.5, GRACE, IDLE - 10]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(text=tokens, moment=st.sampled_from(["grace", "idle", "total"]), before=st.booleans())
    def wait_for(self, text: str, moment: str, before: bool) -> None:
        """Go to the very moment in which a family changes, or to right before it."""
        family = self.owner[text]
        at = {
            "grace": family.used + GRACE,
            "idle": family.used + IDLE,
            "total": family.began + TOTAL,
        }[moment]
        self.now = max(self.now, at - 0.5 * before)

    @rule(target=tokens, process=st.integers(0, 1))
    def refresh_all(self, process: int) -> object:
        """Keep everybody alive, so that families grow as old as they may."""
        living = [family for family in self.families if not family.over(self.now)]
        return multiple(*(self.refresh_one(family, process) for family in living))

    def refresh_one(self, family: Model, process: int) -> str:
        found = self.run(
            self.used(self.processes[process].tokens, family.tokens[-1], family.client)
        )
        assert found is not None
        self.took(family, found)
        return found

    @precondition(lambda self: self.families)
    @rule(
        device=st.sampled_from(DEVICES),
        how=st.sampled_from(["disable", "remove", "rotate"]),
    )
    def end(self, device: str, how: str) -> None:
        if how == "disable":
            self.register.disable_device(device)
            self.register.enable_device(device)
        elif how == "remove":
            self.register.remove_device(device)
            self.register.add_device(device)
        else:
            self.register.rotate_secret(device)
        for family in self.families:
            family.dead = family.dead or family.device == device

    @rule(process=st.integers(0, 1))
    def restart(self, process: int) -> None:
        self.processes[process].close()
        self.processes[process] = Process(self.database, self)

    @invariant()
    def a_living_family_has_one_good_token_and_a_dead_one_has_none(self) -> None:
        for family in self.families:
            found = [self.standing(text, family.client) for text in family.tokens]
            if family.over(self.now):
                assert not any(each.good for each in found)
                continue
            assert found.pop() is Standing.CURRENT
            if self.now < family.used + GRACE and found:
                assert found.pop() is Standing.REPEATED
            assert set(found) <= {Standing.REUSED}

    def standing(self, text: str, client: str) -> Standing:
        token = RefreshToken.parse(text)
        assert token is not None
        return self.run(self.processes[0].families.look(token, client, now=self.now)).standing


RefreshMachine.TestCase.settings = settings(
    max_examples=100, stateful_step_count=30, deadline=None, print_blob=True
)
TestRefreshTokens = RefreshMachine.TestCase


def test_the_same_rules_hold_in_postgresql(cluster: Cluster) -> None:
    fewer = settings(max_examples=25, stateful_step_count=30, deadline=None, print_blob=True)
    run_state_machine_as_test(lambda: RefreshMachine(cluster), settings=fewer)  # type: ignore[arg-type]
