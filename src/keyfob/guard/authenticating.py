# SPDX-License-Identifier: Apache-2.0
"""Enhanced authentication of one broker's clients (MQTT 5.0 section 4.12).

Theory of operation. A client names a method in CONNECT. Its exchange asks it for more, or has it
show a token; then that is decided as any other CONNECT is, and audited once. With AUTH 0x19 a
client that is connected does the same again (section 4.12.1); it is then decided about its next
token, and nothing changes until the broker says that it took the decision (``Guard.admitted``).
Where nothing could be decided in time, the connection goes on as it was, and with the next token
once that is found good (``late_renewals``).
"""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace

from keyfob.authorization.decision import ConnectRequest, Decision, DenyReason
from keyfob.errors import TokenError
from keyfob.guard.answering import Answering, Patient
from keyfob.guard.exchanges.exchange import Challenge, ExchangeContext, Method, Presented
from keyfob.guard.exchanges.open_exchanges import OpenExchanges
from keyfob.guard.refusals import refuse
from keyfob.guard.renewal import Renewal
from keyfob.guard.sessions import SessionStore

__all__ = ["Authenticating", "Shown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """The client has shown what it had to.

    Attributes:
        decision: What is decided, or becomes so.
        reply: Authentication data for the client, if it is let in.
    """

    decision: Decision | Awaitable[Decision]
    reply: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """Who authenticates: by the CONNECT, and the live connection where there is one."""

    request: ConnectRequest
    renewal: Renewal | None


class Authenticating:
    """Enhanced authentication over one link to one broker; used in one event loop.

    Args:
        methods: The configured methods by their names.
        broker: The broker's name.
        answering: Decides.
        sessions: Who is connected.
        clock: Unix seconds.
        monotonic: A clock that never steps, in seconds.
    """

    def __init__(
        self,
        methods: Mapping[str, Method],
        broker: str,
        *,
        answering: Answering,
        sessions: SessionStore,
        clock: Callable[[], float],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._broker = broker
        self._answering = answering
        self._sessions = sessions
        self._clock = clock
        self._exchanges: OpenExchanges[_Case] = OpenExchanges(methods, monotonic=monotonic)

    def __len__(self) -> int:
        return len(self._exchanges)

    def connect(self, epoch: int, request: ConnectRequest, patient: Patient) -> Challenge | Shown:
        """Begin with a CONNECT that names a method.

        Args:
            epoch: The connection.
            request: The CONNECT, with its method and the data that it came with.
            patient: How long the broker waits.
        """
        return self._begin(epoch, _Case(request=request, renewal=None), patient)

    def reauthenticate(
        self, epoch: int, request: ConnectRequest, patient: Patient
    ) -> Challenge | Shown:
        """Begin with an AUTH 0x19 of a client that is connected.

        Args:
            epoch: Its connection, as it was admitted.
            request: The AUTH's method and data, with what its CONNECT said besides; ``clean`` and
                ``assigned`` are known here.
            patient: How long the broker waits.
        """
        renewal = Renewal(
            sessions=self._sessions,
            broker=self._broker,
            client_id=request.client_id,
            epoch=epoch,
        )
        self._answering.late.forget(self._broker, request.client_id)
        session = renewal.session()
        if session is not None:
            request = replace(request, clean=session.clean, assigned=session.assigned)
        return self._begin(epoch, _Case(request=request, renewal=renewal), patient)

    def proceed(
        self, epoch: int, client_id: str, data: bytes, patient: Patient
    ) -> Challenge | Shown:
        """Go on with an AUTH 0x18.

        Args:
            epoch: The connection that was asked for more.
            client_id: Its client; another's answer is none.
            data: What the client sent.
            patient: How long the broker waits.
        """
        found = self._exchanges.proceed(epoch, data)
        if found is None or found[0].request.client_id != client_id:
            # No fault of the token: a guard that was restarted has forgotten what it had asked.
            detail = "Nothing was asked on this connection, or too long ago."
            self._exchanges.forget(epoch)
            lost = refuse(DenyReason.EXCHANGE_UNKNOWN, "credentials", detail)
            request = ConnectRequest(client_id=client_id)
            return Shown(decision=self._answering.refused(request, self._broker, lost))
        return self._outcome(found[1], found[0], patient)

    def forget(self, epoch: int) -> None:
        """Drop what a connection has begun: it is gone."""
        self._exchanges.forget(epoch)

    def close(self) -> None:
        """Wait for nothing that comes late: the link is gone, and the next one begins anew."""
        self._answering.late.forget_all(self._broker)

    def _begin(self, epoch: int, case: _Case, patient: Patient) -> Challenge | Shown:
        method = case.request.authentication_method or ""
        if not self._exchanges.knows(method):
            return self._judged(case, patient)  # which refuses it
        context = ExchangeContext(
            client_id=case.request.client_id,
            broker=self._broker,
            server_nonce=os.urandom(32),
            now=self._clock(),
            reauthenticating=case.renewal is not None,
            assigned=case.request.assigned,
        )
        data = case.request.authentication_data or b""
        case = replace(case, request=replace(case.request, authentication_data=None))
        try:
            step = self._exchanges.begin(epoch, method, data, context, case)
        except TokenError as error:
            return self._outcome(error, case, patient)
        return self._outcome(step, case, patient)

    def _outcome(
        self, step: Challenge | Presented | TokenError, case: _Case, patient: Patient
    ) -> Challenge | Shown:
        if isinstance(step, Challenge):
            return step
        if isinstance(step, TokenError):
            decision = refuse(DenyReason(step.code), "credentials", step.message)
            return self._refused(case, decision)
        request = replace(case.request, authentication_data=step.token, proof=step.proof)
        return self._judged(replace(case, request=request), patient, step.reply)

    def _judged(self, case: _Case, patient: Patient, reply: bytes = b"") -> Shown:
        answer = self._answering.answer(
            case.request, broker=self._broker, patient=patient, renewal=case.renewal
        )
        return Shown(decision=answer, reply=reply)

    def _refused(self, case: _Case, decision: Decision) -> Shown:
        return Shown(decision=self._answering.refused(case.request, self._broker, decision))
