# SPDX-License-Identifier: Apache-2.0
"""One link to one plugin: it opens, both sides agree who is there, then CONNECTs are decided.

Theory of operation: a link goes through three phases, and each is a method that takes the next
frame: ``_greet`` wants HELLO, ``_list`` the plugin's records, ``_serve`` is the rest of its life.
A frame that the phase does not allow ends the link; the plugin opens a new one, and resynchronising
makes good whatever was lost.

What becomes of a CONNECT is the business of ``connects``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Final, Protocol, cast

from keyfob.brokers.mosquitto import frames, wire
from keyfob.brokers.mosquitto.connects import Connects, Question, milliseconds
from keyfob.brokers.mosquitto.outbox import Outbox
from keyfob.brokers.mosquitto.unix_socket import peer_user
from keyfob.errors import ProtocolError
from keyfob.guard.guard import Guard
from keyfob.guard.resync import Resync, ResyncAnswer
from keyfob.guard.session import Change, End, EndCause, PluginRecord, Session

__all__ = ["LinkOwner", "PluginLink"]

_log = logging.getLogger(__name__)

OPENING_TIMEOUT: Final = 30.0
"""Seconds until a plugin has listed its clients; 100,000 of them take about five."""


class LinkOwner(Protocol):
    """What a link needs to know of the server that it belongs to."""

    guard: Guard
    guard_instance: bytes
    users: frozenset[int]
    worker: int
    workers: int
    blocking_wait: float

    def opened(self, link: PluginLink, hello: frames.Hello) -> None:
        """The plugin has said which broker it is of."""

    def closed(self, link: PluginLink) -> None:
        """The link is gone."""


class PluginLink(asyncio.Protocol):
    """The guard's end of a link."""

    def __init__(self, owner: LinkOwner) -> None:
        self._owner = owner
        self._guard = owner.guard
        self._reader = wire.FrameReader()
        self._take: Callable[[frames.Frame, int], None] = self._greet
        self._connects: Connects
        self._ended = False
        self._transport: asyncio.Transport
        self._outbox: Outbox
        self._deadline: asyncio.TimerHandle | None = None
        self._resync: Resync
        self._confirmed = False
        self.hello: frames.Hello | None = None
        self.synchronised = False
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let the right users in, and nobody else."""
        self._transport = cast("asyncio.Transport", transport)
        self._outbox = Outbox(self._transport)
        user = peer_user(transport.get_extra_info("socket"))
        if user not in self._owner.users:
            self.end(
                f"a process of user {user} may not open a link; guard.socket_users lists who may"
            )
            return
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(OPENING_TIMEOUT, self.end, "the plugin did not say hello")

    def data_received(self, data: bytes) -> None:
        """Take in whatever came."""
        try:
            for frame, request in self._reader.feed(data):
                if self._ended:
                    return
                self._take(frame, request)
        except ProtocolError as error:
            self.end(error.message)

    def pause_writing(self) -> None:
        """The plugin reads more slowly than we write."""
        self._outbox.pause()

    def resume_writing(self) -> None:
        """The plugin has caught up."""
        self._outbox.resume()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's
        """The link is gone; sessions stay as they are until the broker says otherwise."""
        if not self._ended:
            _log.info("the plugin of broker %r closed its link", self._broker)
        self._end()
        self._opened_in_time()
        self._owner.closed(self)
        self.gone.set_result(None)

    # For the owner

    def push(self, change: Change) -> None:
        """Tell the plugin what becomes of a session."""
        if not self.synchronised or self._ended:
            return  # resynchronising tells it
        self._say(_change_frame(change))

    def end(self, why: str) -> None:
        """Close the link at once."""
        if not self._ended:
            self._end()
            _log.warning("link of broker %r ended: %s", self._broker, why)
            self._transport.abort()

    def close(self) -> None:
        """Close the link once everything is written."""
        self._end()
        self._transport.close()

    def abort(self) -> None:
        """Close the link whatever is not written yet."""
        self._end()
        self._transport.abort()

    @property
    def _broker(self) -> str:
        return self.hello.broker_name if self.hello else ""

    def _end(self) -> None:
        self._ended = True
        if self.hello is not None:
            self._connects.close()

    def _say(self, data: bytes) -> None:
        if self._ended:
            return
        try:
            self._outbox.send(data)
        except ProtocolError as error:
            self.end(error.message)

    def _opened_in_time(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    # The phases

    def _greet(self, frame: frames.Frame, _request: int) -> None:
        if not isinstance(frame, frames.Hello):
            raise ProtocolError("the first frame is not HELLO")
        if not frame.lowest <= frames.PROTOCOL_VERSION <= frame.highest:
            raise ProtocolError(
                f"the plugin speaks versions {frame.lowest} to {frame.highest} of the guard link, "
                f"this guard {frames.PROTOCOL_VERSION}: build the plugin again"
            )
        self._connects = Connects(
            self._guard,
            frame.broker_name,
            blocking_wait=self._owner.blocking_wait,
            send=self._say,
        )
        self.hello = frame
        self._owner.opened(self, frame)
        self._resync = self._guard.begin_link(frame.broker_name, frame.broker_instance)
        welcome = frames.Welcome(
            version=frames.PROTOCOL_VERSION,
            guard_instance=self._owner.guard_instance,
            worker=self._owner.worker,
            workers=self._owner.workers,
        )
        self._outbox.send(wire.encode(welcome))
        self._take = self._list

    def _list(self, frame: frames.Frame, _request: int) -> None:
        if isinstance(frame, frames.Record):
            self._resync.record(_plugin_record(frame))
        elif isinstance(frame, frames.RecordsEnd):
            self._opened_in_time()
            answer = self._resync.finish()
            self._outbox.send_long(_answer_frames(answer))
            self._take = self._serve
            self.synchronised = True
            _log.info(
                "link of broker %r is open: %d sessions sent, %d ended",
                self._broker,
                len(answer.records),
                len(answer.ends),
            )
        else:
            raise ProtocolError(f"{type(frame).__name__} before the end of the records")

    def _serve(self, frame: frames.Frame, request: int) -> None:
        if isinstance(frame, Question):
            self._confirm()
            self._connects.ask(frame, request)
        elif isinstance(frame, frames.Admitted):
            self._confirm()
            self._connects.admitted(frame)
        elif isinstance(frame, frames.Offline):
            self._connects.offline(frame)
        else:
            raise ProtocolError(f"{type(frame).__name__} from a plugin whose link is open")

    def _confirm(self) -> None:
        """Take the first frame that a plugin only sends once it has read our RECORDS_END."""
        if not self._confirmed:
            self._confirmed = True
            self._resync.confirm()


# Between the guard's values and the link's


def _plugin_record(frame: frames.Record) -> PluginRecord:
    grant = frame.grant
    return PluginRecord(
        client_id=frame.client_id,
        epoch=frame.epoch,
        state=frame.state,
        clean=frame.clean,
        assigned=frame.assigned,
        principal=grant.principal,
        issuer=grant.issuer,
        subject=grant.subject,
        token_id=grant.token_id,
        client=grant.client,
        proven=grant.bound,
        expires_at=grant.expires_at / 1000,
        permissions=grant.permissions,
    )


def _grant(session: Session) -> frames.Grant:
    return frames.Grant(
        expires_at=milliseconds(session.expires_at),
        principal=session.principal,
        issuer=session.issuer,
        subject=session.subject,
        token_id=session.token_id,
        client=session.client,
        bound=session.bound,
        permissions=session.permissions,
    )


def _record_frame(session: Session) -> bytes:
    record = frames.Record(
        epoch=session.epoch,
        state=session.state,
        clean=session.clean,
        assigned=session.assigned,
        client_id=session.client_id,
        grant=_grant(session),
    )
    return wire.encode(record)


def _end_frame(client_id: str, epoch: int, cause: EndCause) -> bytes:
    return wire.encode(frames.End(epoch=epoch, cause=cause, client_id=client_id))


def _change_frame(change: Change) -> bytes:
    if isinstance(change, End):
        return _end_frame(change.client_id, change.epoch, change.cause)
    session = change.session
    replace = frames.Replace(
        epoch=session.epoch, client_id=session.client_id, grant=_grant(session)
    )
    try:
        _record_frame(session)  # which is a little longer, and has to fit when a link opens
        return wire.encode(replace)
    except ProtocolError as error:
        # It must not go on with what it had. Its client is decided anew when it comes again.
        _log.warning("cannot tell what %r may do: %s", session.client_id, error.message)
        return _end_frame(session.client_id, session.epoch, EndCause.REVOKED)


def _answer_frames(answer: ResyncAnswer) -> Iterator[bytes]:
    for session in answer.records:
        try:
            yield _record_frame(session)
        except ProtocolError as error:
            # Unknown to the plugin it has no permissions: that is the safe side.
            _log.warning("cannot tell of %r: %s", session.client_id, error.message)
    for end in answer.ends:
        yield _end_frame(end.client_id, end.epoch, end.cause)
    yield wire.encode(frames.RecordsEnd())
    for replacement in answer.replacements:
        yield _change_frame(replacement)
