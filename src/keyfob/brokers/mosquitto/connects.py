# SPDX-License-Identifier: Apache-2.0
"""The CONNECTs of one link: each is put to the guard, and its DECISION sent when there is one.

Theory of operation. Most decisions are made from what is in memory, and answered in the same step.
A guard that has to ask somebody first answers with something to await; then a task waits, and other
frames are taken in meanwhile. One client identifier has one question at most: Mosquitto lets nobody
ask under an identifier that is being decided about, so a second question means that whoever asked
the first is gone.

What was allowed is remembered until the broker says that it let the client in: only then is there a
session.
"""

from __future__ import annotations

import asyncio
import logging
import math
import traceback
from collections.abc import Awaitable, Callable
from typing import Final

from keyfob.authorization.decision import ConnectRequest, Decision, DenyReason
from keyfob.brokers.mosquitto import frames, wire
from keyfob.errors import ProtocolError
from keyfob.guard.guard import Guard
from keyfob.guard.session import EndCause

__all__ = ["MAX_PENDING", "Connects", "milliseconds"]

_log = logging.getLogger(__name__)

MAX_PENDING: Final = 4096
"""Decisions of one link that wait for the guard, and those that wait for ADMITTED. A plugin that
blocks has one of them; one that does not gives up on more by itself."""

LONGEST_WAIT: Final = 60.0
"""Seconds that a decision may take, whatever the plugin says: it allows as much for its option."""

SHARE: Final = 0.8
"""How much of the plugin's patience the guard gets: the rest is for the way there and back."""


class Connects:
    """Asks the guard on behalf of one link.

    Args:
        guard: Who decides.
        blocking_wait: Seconds that a broker which stops while it waits may be kept waiting.
        send: Takes a whole frame for the plugin; does nothing once the link has ended.
    """

    def __init__(
        self, guard: Guard, *, blocking_wait: float, send: Callable[[bytes], None]
    ) -> None:
        self._guard = guard
        self._blocking_wait = blocking_wait
        self._send = send
        self._waiting: dict[str | int, asyncio.Task[None]] = {}
        self._allowed: dict[int, tuple[str, Decision]] = {}

    def ask(self, frame: frames.Connect, request: int, broker: str) -> None:
        """Put a CONNECT to the guard; its DECISION is sent now or later."""
        key = frame.client_id or frame.epoch
        if (given_up := self._waiting.pop(key, None)) is not None:
            given_up.cancel()
        answer = self._asked(frame, broker)
        if isinstance(answer, Decision):
            self._tell(frame, request, answer)
            return
        waiting = asyncio.ensure_future(answer)
        if len(self._waiting) >= MAX_PENDING:
            waiting.cancel()
            self._tell(frame, request, _unavailable())
            return
        task = asyncio.create_task(self._wait(frame, request, waiting))
        self._waiting[key] = task
        task.add_done_callback(lambda done: self._waited(key, done, waiting))

    def admitted(self, broker: str, frame: frames.Admitted) -> None:
        """Take note that the broker let a client in, and send END if it must go again."""
        client_id, decision = self._allowed.pop(frame.epoch, ("", None))
        if decision is None or client_id != frame.client_id:
            # Decided too long ago to be remembered: the guard would not know whom it has there.
            end = frames.End(epoch=frame.epoch, cause=EndCause.FORGOTTEN, client_id=frame.client_id)
            self._send(wire.encode(end))
            return
        ended = self._guard.admitted(broker, client_id, frame.epoch, decision)
        if ended is not None:
            end = frames.End(epoch=ended.epoch, cause=ended.cause, client_id=ended.client_id)
            self._send(wire.encode(end))

    def offline(self, frame: frames.Offline) -> None:
        """Forget a decision whose connection is gone."""
        self._allowed.pop(frame.epoch, None)

    def close(self) -> None:
        """Wait for nothing any more."""
        for task in tuple(self._waiting.values()):
            task.cancel()
        self._waiting.clear()

    def _asked(self, frame: frames.Connect, broker: str) -> Decision | Awaitable[Decision]:
        request = ConnectRequest(
            client_id=frame.client_id,
            username=frame.username,
            password=frame.password,
            peer=frame.peer,
            certificate_thumbprint=frame.certificate_thumbprint or None,
            protocol_version=frame.protocol_level,
            clean=frame.clean,
            assigned=frame.assigned,
        )
        try:
            wait = _patience(frame) * SHARE
            if not frame.delayed:
                wait = min(wait, self._blocking_wait)
            return self._guard.answer(
                request, broker=broker, wait=wait, stands_still=not frame.delayed
            )
        except Exception as error:  # noqa: BLE001 - one CONNECT must not end the link of all
            return _failed(error)

    async def _wait(
        self, frame: frames.Connect, request: int, answer: asyncio.Future[Decision]
    ) -> None:
        try:
            async with asyncio.timeout(_patience(frame)):
                decision = await answer
        except TimeoutError:
            decision = _unavailable()  # the plugin has given up by now
        except Exception as error:  # noqa: BLE001 - as above
            decision = _failed(error)
        self._tell(frame, request, decision)

    def _waited(
        self, key: str | int, task: asyncio.Task[None], answer: asyncio.Future[Decision]
    ) -> None:
        answer.cancel()  # where the task was cancelled before it began to wait
        if self._waiting.get(key) is task:
            del self._waiting[key]

    def _tell(self, frame: frames.Connect, request: int, decision: Decision) -> None:
        if decision.allowed:
            try:
                data = wire.encode(_allowed(frame.epoch, decision), request)
                wire.check_record_fits(data, frame.client_id)
            except ProtocolError as error:
                _log.warning("cannot tell %r what it may do: %s", frame.client_id, error.message)
                decision = Decision.refuse(DenyReason.PERMISSIONS_INVALID)
            else:
                self._expect(frame, decision)
                self._send(data)
                return
        refused = frames.Decision(epoch=frame.epoch, reason=decision.reason_code)
        self._send(wire.encode(refused, request))

    def _expect(self, frame: frames.Connect, decision: Decision) -> None:
        if len(self._allowed) >= MAX_PENDING:
            del self._allowed[next(iter(self._allowed))]
        self._allowed[frame.epoch] = (frame.client_id, decision)


def milliseconds(seconds: float) -> int:
    """A moment as the link says it, never a later one."""
    return math.floor(seconds * 1000)


def _patience(frame: frames.Connect) -> float:
    return min(frame.wait_ms / 1000, LONGEST_WAIT)


def _unavailable() -> Decision:
    return Decision.refuse(DenyReason.GUARD_UNAVAILABLE)


def _failed(error: Exception) -> Decision:
    # Neither its message nor its context: either may hold what the client sent.
    place = traceback.extract_tb(error.__traceback__)[-1]
    _log.error(
        "a CONNECT could not be decided: %s at %s:%s",
        type(error).__name__,
        place.name,
        place.lineno,
    )
    return _unavailable()


def _allowed(epoch: int, decision: Decision) -> frames.Decision:
    grant = frames.Grant(
        expires_at=milliseconds(decision.expires_at),
        principal=decision.principal,
        issuer=decision.issuer,
        subject=decision.subject,
        token_id=decision.token_id,
        permissions=decision.permissions,
    )
    return frames.Decision(epoch=epoch, reason=0, grant=grant)
