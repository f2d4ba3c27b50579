# SPDX-License-Identifier: Apache-2.0
"""The questions of one link: each is put to the guard, and its DECISION sent when there is one.

Theory of operation. Most decisions are made from what is in memory, and answered in the same step.
A guard that has to ask somebody first answers with something to await; then a task waits, and other
frames are taken in meanwhile. One client identifier has one question at most: Mosquitto lets nobody
ask under an identifier that is being decided about, so a second question means that whoever asked
the first is gone.

What was allowed is remembered until the broker says that it let the client in, or on with its next
token: only then is that the session.
"""

from __future__ import annotations

import asyncio
import logging
import math
import traceback
from collections.abc import Callable
from typing import Final

from keyfob.authorization.decision import ConnectRequest, Decision, DenyReason
from keyfob.brokers.mosquitto import frames, wire
from keyfob.errors import ProtocolError
from keyfob.guard.admission import Admission
from keyfob.guard.answering import Patient
from keyfob.guard.authenticating import Authenticating, Shown
from keyfob.guard.exchanges.exchange import Challenge
from keyfob.guard.guard import Guard
from keyfob.guard.session import EndCause
from keyfob.mqtt.reason_codes import ReasonCode

__all__ = ["MAX_PENDING", "Connects", "Question", "milliseconds"]

_log = logging.getLogger(__name__)

Question = frames.Connect | frames.Reauthenticate | frames.Continue
"""What asks for a DECISION."""

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
        broker: The broker's name.
        blocking_wait: Seconds that a broker which stops while it waits may be kept waiting.
        send: Takes a whole frame for the plugin; does nothing once the link has ended.
    """

    def __init__(
        self, guard: Guard, broker: str, *, blocking_wait: float, send: Callable[[bytes], None]
    ) -> None:
        self._guard = guard
        self._broker = broker
        self._authenticating: Authenticating = guard.authenticating(broker)
        self._blocking_wait = blocking_wait
        self._send = send
        self._waiting: dict[str | int, asyncio.Task[None]] = {}
        self._allowed: dict[int, tuple[str, Decision]] = {}

    def ask(self, frame: Question, request: int) -> None:
        """Put a question to the guard; its DECISION is sent now or later."""
        # Who is in may ask while somebody waits to connect under the same identifier.
        key = (isinstance(frame, frames.Connect) and frame.client_id) or frame.epoch
        if (given_up := self._waiting.pop(key, None)) is not None:
            given_up.cancel()
        shown = self._asked(frame)
        if isinstance(shown, Challenge):
            self._tell_more(frame, request, shown)
            return
        if isinstance(shown.decision, Decision):
            self._tell(frame, request, shown.decision, shown.reply)
            return
        waiting = asyncio.ensure_future(shown.decision)
        if len(self._waiting) >= MAX_PENDING:
            waiting.cancel()
            self._tell(frame, request, _unavailable())
            return
        task = asyncio.create_task(self._wait(frame, request, waiting, shown.reply))
        self._waiting[key] = task
        task.add_done_callback(lambda done: self._waited(key, done, waiting))

    def admitted(self, frame: frames.Admitted) -> None:
        """Take note that the broker let a client in, or on, and send END if it must go again."""
        client_id, decision = self._allowed.pop(frame.epoch, ("", None))
        if decision is None or client_id != frame.client_id:
            # Decided too long ago to be remembered: the guard would not know whom it has there.
            end = frames.End(epoch=frame.epoch, cause=EndCause.FORGOTTEN, client_id=frame.client_id)
            self._send(wire.encode(end))
            return
        ended = self._guard.admitted(self._broker, client_id, frame.epoch, decision)
        if ended is not None:
            end = frames.End(epoch=ended.epoch, cause=ended.cause, client_id=ended.client_id)
            self._send(wire.encode(end))

    def offline(self, frame: frames.Offline) -> None:
        """Take note that a connection is gone, with what was decided or begun for it."""
        self._allowed.pop(frame.epoch, None)
        self._authenticating.forget(frame.epoch)
        self._guard.offline(self._broker, frame.client_id, frame.epoch, frame.kept)

    def close(self) -> None:
        """Wait for nothing any more."""
        for task in tuple(self._waiting.values()):
            task.cancel()
        self._waiting.clear()
        self._authenticating.close()

    def _asked(self, frame: Question) -> Challenge | Shown:
        patient = self._patient(frame)
        try:
            if isinstance(frame, frames.Continue):
                return self._authenticating.proceed(
                    frame.epoch, frame.client_id, frame.data, patient
                )
            request = _request(frame)
            if isinstance(frame, frames.Reauthenticate):
                return self._authenticating.reauthenticate(frame.epoch, request, patient)
            if frame.method is not None:
                return self._authenticating.connect(frame.epoch, request, patient)
            wait, stands_still = patient
            answer = self._guard.answer(
                request, broker=self._broker, wait=wait, stands_still=stands_still
            )
            return Shown(decision=answer)
        except Exception as error:  # noqa: BLE001 - one question must not end the link of all
            return Shown(decision=_failed(error))

    def _patient(self, frame: Question) -> Patient:
        wait = _patience(frame) * SHARE
        if isinstance(frame, frames.Connect) and frame.delayed:
            return Patient(wait, stands_still=False)
        return Patient(min(wait, self._blocking_wait), stands_still=True)

    async def _wait(
        self, frame: Question, request: int, answer: asyncio.Future[Decision], reply: bytes
    ) -> None:
        try:
            async with asyncio.timeout(_patience(frame)):
                decision = await answer
        except TimeoutError:
            decision = _unavailable()  # the plugin has given up by now
        except Exception as error:  # noqa: BLE001 - as above
            decision = _failed(error)
        self._tell(frame, request, decision, reply)

    def _waited(
        self, key: str | int, task: asyncio.Task[None], answer: asyncio.Future[Decision]
    ) -> None:
        answer.cancel()  # where the task was cancelled before it began to wait
        if self._waiting.get(key) is task:
            del self._waiting[key]

    def _tell_more(self, frame: Question, request: int, challenge: Challenge) -> None:
        more = frames.Decision(
            epoch=frame.epoch, reason=ReasonCode.CONTINUE_AUTHENTICATION, data=challenge.data
        )
        self._send(wire.encode(more, request))

    def _tell(self, frame: Question, request: int, decision: Decision, reply: bytes = b"") -> None:
        if decision.allowed:
            try:
                data = wire.encode(_allowed(frame.epoch, decision, reply), request)
                wire.check_record_fits(data, frame.client_id, reply)
            except ProtocolError as error:
                _log.warning("cannot tell %r what it may do: %s", frame.client_id, error.message)
                decision = Decision.refuse(DenyReason.PERMISSIONS_INVALID)
            else:
                self._expect(frame, decision)
                self._send(data)
                return
        refused = frames.Decision(epoch=frame.epoch, reason=decision.reason_code)
        self._send(wire.encode(refused, request))

    def _expect(self, frame: Question, decision: Decision) -> None:
        self._allowed.pop(frame.epoch, None)  # of a renewal before: it is the youngest now
        if len(self._allowed) >= MAX_PENDING:
            del self._allowed[next(iter(self._allowed))]
        self._allowed[frame.epoch] = (frame.client_id, decision)


def milliseconds(seconds: float) -> int:
    """A moment as the link says it, never a later one."""
    return math.floor(seconds * 1000)


def _patience(frame: Question) -> float:
    return min(frame.wait_ms / 1000, LONGEST_WAIT)


def _request(frame: frames.Connect | frames.Reauthenticate) -> ConnectRequest:
    """Say what the guard is asked; of a re-authentication it knows the rest of the CONNECT."""
    thumbprint = frame.certificate_thumbprint or None
    if isinstance(frame, frames.Reauthenticate):
        return ConnectRequest(
            client_id=frame.client_id,
            authentication_method=frame.method,
            authentication_data=frame.data,
            peer=frame.peer,
            certificate_thumbprint=thumbprint,
        )
    return ConnectRequest(
        client_id=frame.client_id,
        username=frame.username,
        password=frame.password,
        authentication_method=frame.method,
        authentication_data=frame.data,
        peer=frame.peer,
        certificate_thumbprint=thumbprint,
        protocol_version=frame.protocol_level,
        clean=frame.clean,
        assigned=frame.assigned,
    )


def _unavailable() -> Decision:
    return Decision.refuse(DenyReason.GUARD_UNAVAILABLE)


def _failed(error: Exception) -> Decision:
    # Neither its message nor its context: either may hold what the client sent.
    place = traceback.extract_tb(error.__traceback__)[-1]
    _log.error(
        "a question could not be decided: %s at %s:%s",
        type(error).__name__,
        place.name,
        place.lineno,
    )
    return _unavailable()


def _allowed(epoch: int, decision: Decision, reply: bytes) -> frames.Decision:
    admission = decision if isinstance(decision, Admission) else None
    grant = frames.Grant(
        expires_at=milliseconds(decision.expires_at),
        principal=decision.principal,
        issuer=decision.issuer,
        subject=decision.subject,
        token_id=decision.token_id,
        client=None if admission is None else admission.client,
        bound=None if admission is None else admission.bound,
        permissions=decision.permissions,
    )
    return frames.Decision(epoch=epoch, reason=0, grant=grant, data=reply)
