# SPDX-License-Identifier: Apache-2.0
"""One connection that stays, for as long as a command runs.

Theory of operation. paho's loop runs in a thread of its own, and tells the main thread by a queue
what ends the command. Once the broker has said yes, a connection that is lost is made again; what
only another token, another name or other rights would mend ends the command.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
from queue import Empty, SimpleQueue
from typing import Final

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode as PahoReason

from keyfob.cli.broker_target import V5, attached_client, connect
from keyfob.cli.pubsub.broker_options import FOREVER, Wish
from keyfob.cli.token_asking import no_word_of_a_next_try
from keyfob.device import Freshness
from keyfob.device.paho import Session
from keyfob.device.tokens import Tokens
from keyfob.device.verdicts import Verdict, of_connack
from keyfob.errors import BrokerRefusalError, KeyfobError, UpstreamError
from keyfob.mqtt.reason_codes import ReasonCode

__all__ = ["Link", "reason_text"]

ANSWER: Final = 30.0
"""Seconds for the answer to the first CONNECT."""

GOODBYE: Final = 3.0
"""Seconds for DISCONNECT to be out, and heard."""

ACROSS: Final = 300
"""Seconds that a session outlives a connection that is to come back; DISCONNECT ends it."""

RESTED: Final = 0x04
"""Disconnect with will message (MQTT 5.0 section 3.14.2.1)."""


class Link:
    """A connection.

    Args:
        wish: How it is to be.
        source: Where its tokens come from.
    """

    def __init__(self, wish: Wish, source: Tokens) -> None:
        self.wish = wish
        self.events: SimpleQueue[object] = SimpleQueue()
        """What the main thread has to know: an error that ends the command, whether the session
        was there at a CONNACK, or what the command itself puts there."""
        self.woken, self._waker = os.pipe()
        """Can be read as soon as there is an event, for those who wait for something else, too."""
        os.set_blocking(self._waker, False)
        self.up = threading.Event()
        """Set while the broker has said yes."""
        self.connections = 0
        """How often it has."""
        self._source = source
        self._was_up = False
        self._leaving = False
        self._refusals = 0
        self._gone = threading.Event()
        self.client, self._session = attached_client(
            wish.target, source, version=wish.version, clean=not wish.keep_session
        )
        client = self.client
        client.on_connect = self._answered
        client.on_disconnect = self._ended
        if wish.nodelay:
            client.on_socket_open = _send_at_once
        if wish.debug:
            client.on_log = lambda _c, _u, _l, text: self.tell(text)
        if wish.will is not None:
            topic, payload, qos, retain = wish.will
            client.will_set(topic, payload, qos, retain, wish.properties.get("will"))

    def open(self) -> None:
        """Connect, and wait for the broker's answer.

        Raises:
            UpstreamError: There is no broker, no trust, or no token.
            BrokerRefusalError: The broker says no.
        """
        wish = self.wish
        version5 = wish.version == V5
        connect(
            self.client,
            wish.target.address,
            keepalive=wish.keepalive,
            bind_address=wish.bind,
            clean_start=self._clean_start() if version5 else None,
            properties=self._connect_properties() if version5 else None,
        )
        self.client.loop_start()
        try:
            with no_word_of_a_next_try():  # without an answer, or with a no, there is none
                event = self.check(ANSWER)
        except Empty:
            raise UpstreamError(f"{wish.target.address}: no answer to CONNECT") from None
        if not isinstance(event, bool):  # somebody has ended the command meanwhile
            self.put(event)

    def put(self, event: object) -> None:
        """Have the main thread told."""
        self.events.put(event)
        with contextlib.suppress(BlockingIOError):  # it is awake
            os.write(self._waker, b".")

    def check(self, timeout: float = 0.0) -> object:
        """Return the next event.

        Args:
            timeout: Seconds to wait for one.

        Raises:
            KeyfobError: It ends the command.
            OSError: The same.
            Empty: There is none.
        """
        event = self.events.get(timeout=timeout) if timeout else self.events.get_nowait()
        if isinstance(event, KeyfobError | OSError):
            raise event
        return event

    def go_on(self) -> None:
        """Return at once, unless something ends the command.

        Raises:
            KeyfobError: That is it.
        """
        try:
            while True:
                self.check()
        except Empty:
            return

    def close(self, *, interrupted: bool = False) -> None:
        """Disconnect, so that the broker hears of it; never raises.

        Args:
            interrupted: Whether somebody ended the command; the will is sent then, as
                mosquitto_sub has it.
        """
        self._leaving = True
        if isinstance(self._session, Session):
            # Whatever comes meanwhile is not for us any more, and comes again if it has to.
            self._session.closing = True
        reason = PahoReason(PacketTypes.DISCONNECT, identifier=RESTED if interrupted else 0)
        properties = self._disconnect_properties()
        if self.wish.version != V5:
            self.client.disconnect()
        else:
            self.client.disconnect(reason, properties)
        if self.up.is_set():
            self._gone.wait(GOODBYE)
        # It hears the broker out, which takes a second at most; where the network is gone, nobody
        # waits for it.
        stopping = threading.Thread(target=self._stop_loop, daemon=True)
        stopping.start()
        stopping.join(GOODBYE)
        if not stopping.is_alive():
            self._let_go()

    def _stop_loop(self) -> None:
        with contextlib.suppress(RuntimeError):  # somebody ended us while paho started its thread
            self.client.loop_stop()

    def _let_go(self) -> None:
        """Let nothing refer to itself by way of us: paho closes its sockets when it is deleted."""
        self._session.close()
        client = self.client
        client.on_connect = client.on_disconnect = client.on_message = None
        client.on_publish = client.on_subscribe = client.on_log = client.on_socket_open = None

    def tell(self, text: str) -> None:
        """Tell the person who looks on, unless she wants to hear nothing."""
        if not self.wish.quiet:
            sys.stderr.write(f"keyfob: {text}\n")
            sys.stderr.flush()

    # In paho's thread

    def _answered(
        self, _c: object, _u: object, flags: mqtt.ConnectFlags, reason: PahoReason, _p: object
    ) -> None:
        code = reason.value
        if code == 0:
            self._refusals = 0
            self._was_up = True
            self.connections += 1
            self.up.set()
            self.put(bool(flags.session_present))
            self.joined(present=bool(flags.session_present))
            return
        self._refusals += 1
        verdict = of_connack(code)
        # The session has asked for another token, and shows that next.
        mending = verdict is Verdict.REFUSED and self._source.state is not Freshness.FRESH
        if (mending and self._refusals == 1) or (verdict is Verdict.UNAVAILABLE and self._was_up):
            return
        self.put(
            BrokerRefusalError(
                f"{self.wish.target.address} refuses the connection: {reason_text(code)}",
                reason_code=self._exit_code(code),
            )
        )

    def joined(self, *, present: bool) -> None:
        """Do what has to be done at each connection; in paho's thread."""

    def _ended(self, _c: object, _u: object, _f: object, reason: PahoReason, _p: object) -> None:
        stood = self.up.is_set()
        self.up.clear()
        if self._leaving:
            self._gone.set()
        elif not self._was_up and not self._refusals:
            said = f"{self.wish.target.address} ends the connection without an answer"
            self.put(UpstreamError(said))
        elif stood and not getattr(self._session, "closing", False):
            self.tell(f"the connection is lost ({reason}); connecting again")

    def _exit_code(self, code: int) -> int:
        if self.wish.version == V5 or code not in ReasonCode.__members__.values():
            return code
        return ReasonCode(code).return_code_311

    # Packets

    @property
    def _expiry(self) -> int:
        """For how long the session outlives a connection that is lost."""
        wish = self.wish
        if wish.session_expiry is not None:
            return wish.session_expiry
        if wish.keep_session:
            return FOREVER
        return ACROSS if wish.target.client_identifier else 0

    def _clean_start(self) -> bool | None:
        """Say whether a CONNECT begins a session anew; None: the first one alone does."""
        if self.wish.keep_session:
            return False
        # Nobody can come back to a session under a name that the broker made up.
        return None if self.wish.target.client_identifier else True

    def _connect_properties(self) -> Properties:
        made = self.wish.properties.get("connect")
        if made is None:
            made = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        if not hasattr(made, "SessionExpiryInterval") and self._expiry:
            made.SessionExpiryInterval = self._expiry
        return made

    def _disconnect_properties(self) -> Properties | None:
        made = self.wish.properties.get("disconnect")
        wish = self.wish
        ours = wish.session_expiry is None and not wish.keep_session and self._expiry
        if ours and not hasattr(wish.properties.get("connect"), "SessionExpiryInterval"):
            made = made or Properties(PacketTypes.DISCONNECT)  # type: ignore[no-untyped-call]
            if not hasattr(made, "SessionExpiryInterval"):
                made.SessionExpiryInterval = 0
        return made


def _send_at_once(_c: object, _u: object, opened: object) -> None:
    plain = getattr(opened, "_socket", opened)  # within paho's WebSocket
    assert isinstance(plain, socket.socket)  # noqa: S101 - paho has no other
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def reason_text(code: int) -> str:
    """Return a reason code as people read it: ``not authorized (0x87)``."""
    try:
        name = ReasonCode(code).name.replace("_", " ").lower()
    except ValueError:
        name = "no"
    return f"{name} (0x{code:02X})"
