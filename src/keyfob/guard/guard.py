# SPDX-License-Identifier: Apache-2.0
"""The guard: decides CONNECTs, remembers who was let in, and ends what is revoked.

Theory of operation. Everything happens in one event loop, and a decision never waits: what it
needs (keys, revocations, sessions) is in memory, kept fresh by background tasks. A broker's
adapter goes through three verbs for each client: ``decide`` (or ``connect``, which waits a moment
for keys), then ``admitted`` when the broker let the client in, then ``offline``. Only what was
admitted is a session. Revocations arrive whenever they like: ``revoke`` marks the sessions that
they concern, tells the listeners, and returns when they are on the disk.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, Self

from keyfob.authorization.decision import ConnectRequest, Decision
from keyfob.guard.answering import Answering, Patient
from keyfob.guard.arrivals import Arrivals
from keyfob.guard.audit import AuditLog
from keyfob.guard.authenticating import Authenticating
from keyfob.guard.background import keep_running
from keyfob.guard.credentials import TokenField
from keyfob.guard.database import Change
from keyfob.guard.endings import Endings, Listener
from keyfob.guard.exchanges.methods import methods_of
from keyfob.guard.health import GuardHealth
from keyfob.guard.histogram import Histogram
from keyfob.guard.issuer_bindings import IssuerBinding
from keyfob.guard.judge import EmptyClientId, Judge
from keyfob.guard.late_renewals import LateRenewals
from keyfob.guard.live_tokens import LiveTokens
from keyfob.guard.reconsidering import Reconsidered, Reconsidering
from keyfob.guard.reservations import Reservations
from keyfob.guard.resync import Resync
from keyfob.guard.revocations import FeedPosition, Revocation, RevocationStore
from keyfob.guard.session import End, Session
from keyfob.guard.sessions import SessionStore
from keyfob.guard.upstreams import Upstreams

__all__ = ["Guard", "GuardHealth", "IssuerBinding", "Listener"]

KEYS_DEADLINE: Final = 0.15
"""Seconds that ``connect`` waits for keys: a little less than a plugin waits for its decision."""

MAINTENANCE_INTERVAL: Final = 60.0
"""Seconds between two looks for what is over: revocations, stored sessions."""

RELOAD_TIMEOUT: Final = 10.0
"""Seconds that the keys of an issuer which is new in the configuration may take."""

CLOCK_SKEW: Final = 300.0
"""Seconds by which an issuer's clock may be ahead or behind when it says until when a revocation
matters."""

_log = logging.getLogger("keyfob.guard")


class Guard:
    """The resource server (RFC 6749 section 1.1) for brokers.

    Args:
        issuers: The trusted issuers by their ``iss``.
        sessions: Who is connected or stored; None: kept in memory only.
        revocations: What was revoked; None: kept in memory only.
        audit: Where decisions are told; None: they are counted only.
        latency: Counts how long they take.
        clock: Unix seconds.
        empty_client_id: What to do with clients that leave their identifier to the broker.
        token_fields: The CONNECT fields that may carry a token.
        authentication_methods: The names of enhanced authentication that are known.

    Raises:
        ConfigError: The issuers do not fit together.
    """

    def __init__(
        self,
        issuers: Mapping[str, IssuerBinding],
        *,
        sessions: SessionStore | None = None,
        revocations: RevocationStore | None = None,
        audit: AuditLog | None = None,
        latency: Histogram | None = None,
        clock: Callable[[], float] = time.time,
        empty_client_id: EmptyClientId = "accept",
        token_fields: Sequence[TokenField] = ("password", "username"),
        authentication_methods: Sequence[str] = (),
    ) -> None:
        self._sessions = SessionStore() if sessions is None else sessions
        self._revocations = RevocationStore() if revocations is None else revocations
        self._audit = AuditLog() if audit is None else audit
        self._clock = clock
        self._reservations = Reservations()
        self._endings = Endings(self._sessions, self._revocations, self._audit, clock)
        self._reconsidering = Reconsidering(self._sessions, self._endings, self._audit, clock)
        self._live = LiveTokens(
            self._sessions,
            self._endings,
            reconsider=lambda each: self._reconsidering.one(each, self._answering.judge),
            clock=clock,
        )
        self._upstreams = Upstreams(
            issuers, learn=self._learn, told=self._live.told, audit=self._audit, clock=clock
        )
        self._work: list[asyncio.Task[None]] = []
        self._token_fields = tuple(token_fields)
        self._methods = methods_of(authentication_methods)
        self._empty_client_id: EmptyClientId = empty_client_id
        self._purge_margin = CLOCK_SKEW
        self._arrivals = Arrivals(
            self._sessions,
            self._reservations,
            endings=self._endings,
            live=self._live,
            reconsidering=self._reconsidering,
            judge=lambda: self._answering.judge,
            clock=clock,
        )
        self._answering = Answering(
            self._judge_of(issuers),
            audit=self._audit,
            reservations=self._reservations,
            late=LateRenewals(self._arrivals.renewed_late),
            latency=Histogram() if latency is None else latency,
            clock=clock,
        )
        self._live.trust(self._upstreams.issuers)

    # Running

    async def __aenter__(self) -> Self:
        self._upstreams.start()
        works = {"guard maintenance": self._maintain, "sessions to ask about": self._live.run}
        self._work = [
            asyncio.create_task(keep_running(name, work), name=name) for name, work in works.items()
        ]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._work:
            task.cancel()
        self._answering.late.forget_all()
        await asyncio.gather(*self._work, return_exceptions=True)
        await self._upstreams.stop()

    async def ready(self, timeout: float | None = None) -> bool:  # noqa: ASYNC109 - it is an answer
        """Wait until every issuer's keys and present revocations have been read.

        Args:
            timeout: Seconds to wait at most; None: for as long as it takes.

        Returns:
            Whether they have.
        """
        return await self._upstreams.ready(timeout)

    async def reload(
        self,
        issuers: Mapping[str, IssuerBinding],
        *,
        timeout: float = RELOAD_TIMEOUT,  # noqa: ASYNC109 - a bound, not an error
    ) -> Reconsidered:
        """Trust other issuers, or the same ones otherwise, and decide the connected again.

        Only those whose rights ended are dropped; who may do something else than before goes on
        with that.

        Args:
            issuers: By their ``iss``. Key sources and feeds that are to go on are the same objects.
            timeout: Seconds that the keys of new issuers may take, while the old ones still count.

        Returns:
            What became of the sessions.

        Raises:
            ConfigError: The issuers do not fit together; nothing has changed.
        """
        judge = self._judge_of(issuers)
        if not await self._upstreams.replace(issuers, timeout=timeout):
            _log.warning("not every issuer has answered; deciding with what is known")
        self._answering.judge = judge
        self._live.trust(self._upstreams.issuers)
        return await self.reconsider()

    async def reconsider(self) -> Reconsidered:
        """Decide all sessions again, by what is trusted now."""
        return await self._reconsidering.all(tuple(self._sessions), lambda: self._answering.judge)

    def health(self) -> GuardHealth:
        """Tell the state."""
        bindings = self._upstreams.issuers.items()
        asked = {iss: each.introspector for iss, each in bindings if each.introspector is not None}
        return GuardHealth(
            keys={iss: binding.keys.health() for iss, binding in bindings},
            feeds=self._upstreams.feeds(),
            introspection={iss: introspector.health() for iss, introspector in asked.items()},
            cursors=dict(self._revocations.cursors),
            sessions=len(self._sessions),
            session_states=dict(self._sessions.counts),
            cache_hits=self._answering.judge.verified.hits,
            cache_misses=self._answering.judge.verified.misses,
            revocations=len(self._revocations),
            storage_failure=self._sessions.failure,
            audit_dropped=self._audit.dropped,
        )

    # Deciding

    def decide(
        self, request: ConnectRequest, *, broker: str = "", explain: bool = False
    ) -> Decision:
        """Decide a CONNECT now, with what is at hand; called in the event loop.

        Args:
            request: The CONNECT.
            broker: The broker's name.
            explain: The question is hypothetical: nothing is counted, held or told.
        """
        return self._answering.decide(request, broker=broker, explain=explain)

    def answer(
        self, request: ConnectRequest, *, broker: str, wait: float, stands_still: bool
    ) -> Decision | Awaitable[Decision]:
        """Decide a CONNECT, at once where everything is at hand.

        Args:
            request: The CONNECT.
            broker: The broker's name.
            wait: Seconds that may be spent on what is not at hand.
            stands_still: The broker serves nobody else meanwhile, so that it is only kept waiting
                for an issuer that has answered as fast as that.

        Returns:
            The decision, or what becomes it.
        """
        return self._answering.answer(request, broker=broker, patient=Patient(wait, stands_still))

    def authenticating(self, broker: str) -> Authenticating:
        """Return what does enhanced authentication over one link to a broker."""
        return Authenticating(
            self._methods,
            broker,
            answering=self._answering,
            sessions=self._sessions,
            clock=self._clock,
        )

    async def connect(
        self,
        request: ConnectRequest,
        *,
        broker: str = "",
        deadline: float = KEYS_DEADLINE,
        explain: bool = False,
    ) -> Decision:
        """Decide as ``decide`` does, and wait ``deadline`` seconds for what is not at hand."""
        return await self._answering.connect(
            request, broker=broker, deadline=deadline, explain=explain
        )

    def suppose(self, payload: bytes, request: ConnectRequest, *, broker: str = "") -> Decision:
        """Decide a CONNECT as if a trusted key had signed these claims; nothing comes of it.

        Args:
            payload: A claims set, as JSON.
            request: The CONNECT; what its fields hold does not matter.
            broker: The broker's name.
        """
        return self._answering.judge.suppose(payload, request, broker, self._clock())

    def recall(self, broker: str, client_id: str) -> tuple[Session, Decision | None] | None:
        """Tell of a session, and how it would be decided now; None: there is none.

        The decision is None where the claims of its token are not known.
        """
        session = self._sessions.get(broker, client_id)
        if session is None:
            return None
        return session, self._answering.judge.reconsider(session, self._clock())

    # Sessions

    def begin_link(self, broker: str, instance: bytes) -> Resync:
        """Begin to agree with a broker's plugin who is there (docs/wire-protocol.md).

        Give the plugin's records to the result's ``record``, then send what its ``finish`` says.

        Args:
            broker: The broker's name.
            instance: Which run of it.
        """
        return Resync(
            self._sessions,
            broker,
            instance,
            endings=self._endings,
            trusted=lambda issuer: issuer in self._upstreams.issuers,
            adopted=self._live.adopt,
            clock=self._clock,
        )

    def admitted(self, broker: str, client_id: str, epoch: int, decision: Decision) -> End | None:
        """Take note that the broker let a client in, or lets it go on with its next token.

        From now on there is a session, with that token's rights and end.

        Args:
            broker: The broker's name.
            client_id: The client.
            epoch: Which of its connections.
            decision: What was answered for it.

        Returns:
            What to tell the broker if the client must go again: it was revoked meanwhile, or the
            identifier became somebody else's.

        Raises:
            ProtocolError: The decision was not to let this client in.
        """
        return self._arrivals.admitted(broker, client_id, epoch, decision)

    def offline(self, broker: str, client_id: str, epoch: int, kept: bool) -> None:
        """Take note that a connection is gone.

        Args:
            broker: The broker's name.
            client_id: The client.
            epoch: Which of its connections.
            kept: The broker may have stored the session.
        """
        self._arrivals.offline(broker, client_id, epoch, kept)

    # Revoking

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Have somebody told which sessions a broker has to end.

        Returns:
            What ends that.
        """
        return self._endings.subscribe(listener)

    async def revoke(
        self,
        *revocations: Revocation,
        position: FeedPosition | None = None,
        also: Sequence[Change] = (),
    ) -> tuple[Session, ...]:
        """Revoke tokens and end the sessions that live on them.

        It takes effect before the first suspension; the return is the promise that it lasts.

        Args:
            revocations: What to revoke.
            position: How far a feed was read to know it, kept in the same transaction.
            also: What else is true once they are revoked, written in the same transaction.

        Returns:
            The sessions that were ended, live and stored.

        Raises:
            sqlite3.Error: The disk refuses it. It holds until the guard ends.
            UpstreamError: They are too many.
        """
        learned = self._revocations.learn(revocations)
        ended = [session for each in learned for session in self._endings.revoke(each)]
        await self._revocations.save(position, also)
        return tuple(ended)

    async def _learn(self, revocations: Sequence[Revocation], position: FeedPosition) -> None:
        await self.revoke(*revocations, position=position)

    # In the background

    async def _maintain(self) -> None:
        await self.reconsider()  # the policy may be another than when the file was written
        while True:
            self._revocations.purge(self._clock() - self._purge_margin)
            self._endings.evict()
            await asyncio.sleep(MAINTENANCE_INTERVAL)

    def _judge_of(self, issuers: Mapping[str, IssuerBinding]) -> Judge:
        expiry_leeway = max((b.trusted.expiry_leeway for b in issuers.values()), default=0)
        self._purge_margin = max(self._purge_margin, expiry_leeway + CLOCK_SKEW)
        return Judge(
            issuers,
            sessions=self._sessions,
            revocations=self._revocations,
            reservations=self._reservations,
            token_fields=self._token_fields,
            authentication_methods=self._methods,
            empty_client_id=self._empty_client_id,
        )
