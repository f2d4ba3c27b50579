# SPDX-License-Identifier: Apache-2.0
"""Whatever fails in whatever order, plugin and guard agree again, and nobody revoked stays."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from dataclasses import dataclass, replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from keyfob.authorization.decision import DenyReason
from keyfob.guard.guard import Guard
from keyfob.guard.resync import Resync, ResyncAnswer
from keyfob.guard.revocations import Revocation, RevocationStore
from keyfob.guard.session import Change, End, EndCause, PluginRecord, Session, SessionState
from keyfob.guard.sessions import SessionStore
from tests.guard.world import ISSUER, NOW, Clock, guard, mint, request, trusted

ONLINE, OFFLINE, REVOKED = SessionState.ONLINE, SessionState.OFFLINE, SessionState.REVOKED
clients = st.sampled_from(["dev1", "dev2"])
# Two subjects whose tokens may both name either device: rivals for one client identifier.
subjects = st.sampled_from(["anna", "berta"])


@dataclass(frozen=True)
class Truth:
    """What is so at the broker, whoever knows it: the plugin's record and when its token is of."""

    record: PluginRecord
    issued_at: float


class Model(RuleBasedStateMachine):
    """A broker with its plugin, as docs/wire-protocol.md tells them to behave, and a real guard."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.revocations = RevocationStore()
        self.revoked_at: dict[str, float] = {}
        self.broker: dict[str, Truth] = {}
        self.unknown_to_plugin: set[str] = set()
        self.instance, self.epoch = 0, 0
        self.linked = False
        self.resync: Resync
        # Whether the guard has heard of everything that the broker did.
        self.heard_all = True
        self.saved: tuple[Session, ...] = ()
        self.start_guard(())

    def start_guard(self, sessions: tuple[Session, ...]) -> None:
        self.sessions = SessionStore()
        for each in sessions:
            self.sessions.put(each)
        self.guard: Guard = guard(
            clock=self.clock,
            sessions=self.sessions,
            revocations=self.revocations,
            issuer=trusted(device_claim="azp"),
        )
        self.guard.subscribe(self.hear)
        self.linked = False

    # What the plugin does

    def hear(self, end: Change) -> None:
        """Take an END, if there is a link for it to come by."""
        assert isinstance(end, End)
        truth = self.broker.get(end.client_id)
        if not self.linked or truth is None or end.epoch not in (0, truth.record.epoch):
            return
        if end.cause is EndCause.FORGOTTEN:
            del self.broker[end.client_id]
            return
        was_online = truth.record.state is ONLINE
        self.broker[end.client_id] = replace(truth, record=replace(truth.record, state=REVOKED))
        if was_online:
            self.drop(end.client_id)

    def drop(self, client_id: str) -> None:
        """End a connection; what was clean is gone, the rest is stored."""
        truth = self.broker[client_id]
        kept = not truth.record.clean
        if not kept:
            del self.broker[client_id]
        elif truth.record.state is ONLINE:
            offline = replace(truth.record, state=OFFLINE)
            self.broker[client_id] = replace(truth, record=offline)
        if self.linked:
            self.guard.offline("b1", client_id, truth.record.epoch, kept)

    # What happens

    @precondition(lambda self: self.linked)
    @rule(
        client_id=clients,
        subject=subjects,
        clean=st.booleans(),
        version=st.sampled_from([4, 5]),
        admission_arrives=st.booleans(),
    )
    def connect(
        self, client_id: str, subject: str, clean: bool, version: int, admission_arrives: bool
    ) -> None:
        self.resync.confirm()  # a CONNECT comes after all of the answer was read
        self.epoch += 1
        issued_at = self.clock.now
        token = mint(
            client_id, sub=subject, azp=client_id, iat=int(issued_at), jti=f"jti{self.epoch}"
        )
        asked = request(client_id, token, clean=clean, protocol_version=version)
        decision = self.guard.decide(asked, broker="b1")
        there = self.broker.get(client_id)
        if issued_at <= self.revoked_at.get(subject, 0.0):
            assert decision.reason is DenyReason.TOKEN_REVOKED
            return
        if there is not None and there.record.subject != subject:
            assert decision.reason is DenyReason.SESSION_OWNED_BY_ANOTHER
            return
        if not decision.allowed:
            # Held for a rival that was let in and went; in time it lets go.
            assert decision.reason is DenyReason.SESSION_OWNED_BY_ANOTHER
            assert there is None
            return
        record = PluginRecord(
            client_id=client_id,
            epoch=self.epoch,
            state=ONLINE,
            clean=clean and version < 5,  # a session of MQTT 5 is stored here, however it began
            assigned=False,
            principal=decision.principal,
            issuer=decision.issuer,
            subject=decision.subject,
            token_id=decision.token_id,
            client=client_id,
            proven="",
            expires_at=decision.expires_at,
            permissions=decision.permissions,
        )
        self.broker[client_id] = Truth(record, issued_at)
        if admission_arrives:
            assert self.guard.admitted("b1", client_id, self.epoch, decision) is None
        else:
            self.linked = self.heard_all = False

    @rule(client_id=clients)
    def disconnect(self, client_id: str) -> None:
        truth = self.broker.get(client_id)
        if truth is not None and truth.record.state is ONLINE:
            self.drop(client_id)

    @rule(subject=subjects)
    def revoke(self, subject: str) -> None:
        self.revoked_at[subject] = self.clock.now
        meant = Revocation(
            issuer=ISSUER, subject=subject, issued_before=self.clock.now, until=NOW + 10_000
        )
        asyncio.run(self.guard.revoke(meant))

    @rule()
    def time_passes(self) -> None:
        self.clock.now += 11.0

    @rule()
    def link_breaks(self) -> None:
        self.linked = False

    @rule()
    def file_is_written(self) -> None:
        self.saved = tuple(self.sessions)

    @rule(loss=st.sampled_from(["nothing", "the latest", "the file"]))
    def guard_dies(self, loss: str) -> None:
        """Its revocations were on the disk or are read again; sessions may have been lost."""
        known = {"nothing": tuple(self.sessions), "the latest": self.saved, "the file": ()}[loss]
        instance = self.sessions.instance("b1") if loss != "the file" else None
        self.heard_all = self.heard_all and loss == "nothing"
        self.start_guard(known)
        if instance is not None:
            self.sessions.set_instance("b1", instance)

    @rule(broken_links=st.integers(0, 2))
    def broker_dies(self, broken_links: int) -> None:
        """Connections are gone, stored sessions are there, the plugin knows nothing of them."""
        self.linked = False
        self.instance += 1
        self.broker = {
            client_id: replace(truth, record=replace(truth.record, state=OFFLINE))
            for client_id, truth in self.broker.items()
            if not truth.record.clean
        }
        self.unknown_to_plugin = set(self.broker)
        for _ in range(broken_links):
            self.link_breaks_in_mid_answer(read=0)

    @precondition(lambda self: not self.linked)
    @rule()
    def link_opens(self) -> None:
        unheard = {s.client_id for s in self.sessions if s.issued_at is None}
        answer = self.list_and_ask()
        unheard |= {s.client_id for s in self.sessions if s.issued_at is None}
        given = {each.client_id: each for each in answer.records}
        if self.heard_all:
            assert given.keys() == self.unknown_to_plugin
        self.broker = {
            client_id: truth
            for client_id, truth in self.broker.items()
            if client_id not in self.unknown_to_plugin or client_id in given
        }
        for client_id, session in given.items():
            self.broker[client_id] = self.as_given(client_id, session)
        self.unknown_to_plugin = set()
        self.linked = self.heard_all = True
        for end in answer.ends:
            assert self.is_revoked(end.client_id) or end.client_id in unheard
            self.hear(end)

    @precondition(lambda self: not self.linked)
    @rule(read=st.integers(0, 2))
    def link_breaks_in_mid_answer(self, read: int) -> None:
        """The plugin reads some of the records, and none of the ENDs behind them."""
        for session in self.list_and_ask().records[:read]:
            self.broker[session.client_id] = self.as_given(session.client_id, session)
            self.unknown_to_plugin.discard(session.client_id)

    def list_and_ask(self) -> ResyncAnswer:
        self.resync = self.guard.begin_link("b1", self.instance.to_bytes(16, "big"))
        for client_id, truth in self.broker.items():
            if client_id not in self.unknown_to_plugin:
                self.resync.record(truth.record)
        return self.resync.finish()

    def as_given(self, client_id: str, session: Session) -> Truth:
        truth = self.broker.get(client_id)
        record = PluginRecord(
            client_id=client_id,
            epoch=session.epoch,
            state=session.state,
            clean=session.clean,
            assigned=session.assigned,
            principal=session.principal,
            issuer=session.issuer,
            subject=session.subject,
            token_id=session.token_id,
            client=session.client,
            proven=session.proven,
            expires_at=session.expires_at,
            permissions=session.permissions,
        )
        if truth is not None and self.heard_all:
            assert truth.record.subject == record.subject
        # A record of a session that the broker has not is harmless, and revoked by nothing.
        return Truth(record, math.inf if truth is None else truth.issued_at)

    def is_revoked(self, client_id: str) -> bool:
        truth = self.broker[client_id]
        marked = truth.record.state is REVOKED
        return marked or truth.issued_at <= self.revoked_at.get(truth.record.subject, 0.0)

    # What always holds

    @invariant()
    def they_agree_while_there_is_a_link(self) -> None:
        if self.linked:
            told = {s.client_id: (s.epoch, s.state, s.subject) for s in self.sessions}
            so = {
                client_id: (truth.record.epoch, truth.record.state, truth.record.subject)
                for client_id, truth in self.broker.items()
            }
            assert told == so

    @invariant()
    def the_sessions_are_counted(self) -> None:
        counted = Counter((s.broker, s.state) for s in self.sessions)
        assert +Counter(self.sessions.counts) == counted

    @invariant()
    def nobody_revoked_is_served_while_there_is_a_link(self) -> None:
        if self.linked:
            for client_id, truth in self.broker.items():
                assert truth.record.state is REVOKED or not self.is_revoked(client_id)


Model.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestModel = Model.TestCase
