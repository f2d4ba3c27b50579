# SPDX-License-Identifier: Apache-2.0
"""What keeps one paho client in tokens, from within its own loop.

Theory of operation. Everything happens in whatever thread runs the client's loop; there is none of
our own. Before a connection is made the token is waited for; as CONNECT is written it is put in,
and taken out again, so the client's own settings stay as the user made them. About four times a
second a connected client looks for the next token. It shows it by re-authentication, where the
broker took part in enhanced authentication (MQTT 5.0 section 4.12.1), or by a planned reconnect:
acknowledgements on their way are waited for, DISCONNECT is sent, what the broker still says is
heard, and the next CONNECT follows at once. paho sends again what was not acknowledged.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from enum import Enum
from typing import Any, Final

import paho.mqtt.client as mqtt

from keyfob.device import paho_internals as inside
from keyfob.device.carrying import Field
from keyfob.device.holding import Holding
from keyfob.device.paho_authenticating import Authenticating
from keyfob.device.paho_goodbye import hear_out, say_goodbye
from keyfob.device.presenting import Presenting
from keyfob.device.token import Token
from keyfob.loopback import is_loopback

__all__ = ["MARK", "Session"]

_log = logging.getLogger("keyfob.device")

LOOK: Final = 0.25
"""Seconds between two looks for the next token."""

DRAIN: Final = 1.0
"""Seconds that a planned reconnect waits for acknowledgements; what comes later comes again."""

MARK: Final = "_keyfob_session"
"""The attribute by which a client knows its session."""


class _Phase(Enum):
    AWAY = "no connection, or none yet"
    ASKED = "CONNECT has been sent"
    IN = "CONNACK said yes"


class Session:
    """What keeps one client in tokens; made by ``attach``.

    Args:
        client: The client.
        presenting: What it shows.
        renew: How, as for ``attach``.
    """

    def __init__(self, client: mqtt.Client, presenting: Presenting, renew: str) -> None:
        self._client: Any = client
        self._presenting = presenting
        self._renew = renew
        self._phase = _Phase.AWAY
        self._look_at = 0.0
        self._draining_since: float | None = None
        self._planned = False
        self.closing = False
        """Whether a planned reconnect is about to end the connection."""
        self.wait = 0.0
        """Seconds to wait before the next CONNECT."""
        self.by_other_hands: Callable[[], object] | None = None
        """Is called instead of ``reconnect``, by those who have no time for that in their loop."""
        self.on_show: Callable[[Token], object] | None = None
        """Is told of each token as it goes to the broker, in CONNECT or AUTH, for metrics."""
        self._leaving: bool = False
        self._warned: set[str] = set()
        self._lock = threading.RLock()  # disconnect() may call the user, who may call it
        self._authenticating = Authenticating(
            client,
            presenting,
            lambda *packet: self._shadows.call("_packet_queue", *packet),
            self._tell_shown,
        )
        self._holding = Holding(client, presenting, self._tells_of_refusals)
        self._shadows = shadows = inside.Shadows(client)
        setattr(client, MARK, self)
        for name, function in (
            ("reconnect", self._connect),
            ("_create_socket", self._create_socket),
            ("_send_connect", self._send_connect),
            ("_handle_connack", self._handle_connack),
            ("_packet_handle", self._packet_handle),
            ("_packet_queue", self._authenticating.queue.packet),
            ("_do_on_disconnect", self._do_on_disconnect),
            ("_handle_on_connect_fail", self._handle_on_connect_fail),
            ("_reconnect_wait", self._reconnect_wait),
            ("_sock_close", self._sock_close),
            ("loop_misc", self._loop_misc),
            ("loop_write", self._loop_write),
            ("disconnect", self._disconnect),
            ("publish", self.publish),
        ):
            shadows.put(name, function)

    @property
    def token(self) -> Token | None:
        """The token that the broker has; None: none was shown yet."""
        return self._presenting.shown

    @property
    def connected(self) -> bool:
        """Whether the broker has said yes, and the connection stands."""
        return self._phase is _Phase.IN

    def shadow(self, name: str, function: Callable[..., Any]) -> None:
        """Have a function called instead of one more of the client's methods."""
        self._shadows.put(name, function)

    def call(self, name: str, *arguments: Any, **named: Any) -> Any:
        """Call what such a method was before."""
        return self._shadows.call(name, *arguments, **named)

    def _tells_of_refusals(self) -> bool:
        return self._client.on_publish is not None and self.by_other_hands is None

    def publish(self, *arguments: Any, **named: Any) -> Any:
        """Publish, as the client does; at the very end of a token with the next one."""
        self._holding.look()
        return self._shadows.call("publish", *arguments, **named)

    def refresh(self) -> Future[Token]:
        """Fetch a new token now; a connected client shows it as soon as it is there."""
        return self._presenting.source.renew()

    def close(self) -> None:
        """Let the client be as it was; a connection goes on until its token ends."""
        self._shadows.remove()
        self._authenticating.over()
        self._holding.renewed()
        if getattr(self._client, MARK, None) is self:
            delattr(self._client, MARK)

    # Before CONNECT

    def _connect(self) -> Any:
        """Connect, unless the user ends it for good meanwhile; paho would forget that."""
        if not self._planned:
            self._leaving = False
        try:
            return self._shadows.call("reconnect")
        finally:
            with self._lock:
                if self._has_left():
                    self._shadows.call("disconnect")

    def _create_socket(self) -> Any:
        """Have the token ready before there is a connection that a broker would time out."""
        client, presenting = self._client, self._presenting
        # What the user wishes by reconnect_delay_set may change at any time.
        presenting.first = max(client._reconnect_min_delay, 0.1)
        presenting.most = max(client._reconnect_max_delay, presenting.first)
        self._warn_of_plain_text()
        credentials = presenting.credentials(client_id=client._client_id.decode())
        if self._has_left():
            raise ConnectionAbortedError("the client has disconnected")
        self._authenticating.queue.bar()
        if presenting.carry.field is not Field.HEADER:
            return self._shadows.call("_create_socket")
        with inside.websocket_headers(client, credentials.headers):
            return self._shadows.call("_create_socket")

    def _warn_of_plain_text(self) -> None:
        client = self._client
        plain = (
            not client._ssl
            and client._transport != "unix"
            and not is_loopback(client._host.lower())
        )
        if plain and client._host not in self._warned:
            self._warned.add(client._host)
            said = "the token goes to %s without TLS: whoever is on the way can use it"
            _log.warning(said, client._host)

    def _send_connect(self, keepalive: int) -> Any:
        client = self._client
        before = client._username, client._password, client._connect_properties
        username, password = (_decoded(each) for each in before[:2])
        credentials = self._presenting.credentials(
            client_id=client._client_id.decode(), username=username, password=password
        )
        authenticating = self._authenticating
        authenticating.connecting(credentials.exchange)
        self._phase = _Phase.ASKED
        self._tell_shown(credentials.token)
        try:
            client._username = _encoded(credentials.username)
            client._password = _encoded(credentials.password)
            if credentials.method:
                client._connect_properties = inside.connect_properties(
                    before[2], credentials.method, credentials.data
                )
                authenticating.queue.ask()  # first: CONNACK may be another thread's to handle
            done = self._shadows.call("_send_connect", keepalive)
            authenticating.queue.unbar()
            return done
        finally:
            client._username, client._password, client._connect_properties = before

    def _tell_shown(self, token: Token) -> None:
        try:
            if self.on_show is not None:
                self.on_show(token)
        except Exception as error:  # noqa: BLE001 - the user's; it would end the loop
            # Not what it says: the token may be in it.
            _log.error("who was told of a token that is shown failed: %s", type(error).__name__)

    # What the broker says

    def _handle_connack(self) -> Any:
        if self._has_left():  # DISCONNECT is on its way
            return mqtt.MQTT_ERR_SUCCESS
        _, code, properties = inside.packet_of(self._client)
        if self._phase is _Phase.IN and code:
            # Mosquitto 2.0.11 so answers a re-authentication that it refuses.
            self._phase = _Phase.AWAY
            self._authenticating.over()
            self.wait = self._presenting.refused(code)
            return mqtt.MQTT_ERR_CONN_REFUSED
        if code:
            self._phase = _Phase.AWAY
            self.wait = self._presenting.refused(code)
        else:
            self._phase = _Phase.IN
            self.wait = 0.0
            self._presenting.accepted()
            self._authenticating.accepted(properties)
        done = self._shadows.call("_handle_connack")
        if not code:
            self._holding.begun()
        return done

    def _packet_handle(self) -> Any:
        try:
            return self._handle(self._client._in_packet["command"] & 0xF0)
        except inside.MalformedError as error:
            _log.warning("the broker broke the protocol: %s", error)
            return mqtt.MQTT_ERR_PROTOCOL

    def _handle(self, kind: int) -> Any:
        if self.closing and kind not in inside.HEARD_OUT:
            return mqtt.MQTT_ERR_SUCCESS
        if kind in {inside.PUBACK, inside.PUBREC} and self._holding.keeps(
            bytes(self._client._in_packet["packet"])
        ):
            return mqtt.MQTT_ERR_SUCCESS
        if kind != inside.AUTH or not self._authenticating.under_way:
            return self._shadows.call("_packet_handle")
        _, code, properties = inside.packet_of(self._client)
        data = bytes(getattr(properties, "AuthenticationData", b""))
        done, taken = self._authenticating.answer(code, data)
        if taken:
            self._holding.renewed()
        return done

    # Ends

    def _do_on_disconnect(self, packet_from_broker: bool, *rest: Any, **named: Any) -> None:
        phase, self._phase = self._phase, _Phase.AWAY
        if phase is not _Phase.AWAY and not self.closing and not self._leaving:
            reason = named.get("reason", rest[1] if len(rest) > 1 else None)
            code = None if not packet_from_broker or reason is None else reason.value
            self.wait = self._ended(code)
        self._shadows.call("_do_on_disconnect", packet_from_broker, *rest, **named)

    def _ended(self, code: int | None) -> float:
        following = self._authenticating.over()
        if following is not None and code is not None:
            # Of the token that was to come; later Mosquittos say so by DISCONNECT 0x87.
            self._presenting.taken(following)
        return self._presenting.ended(code)

    def _handle_on_connect_fail(self) -> None:
        self.failed()
        self._shadows.call("_handle_on_connect_fail")

    def failed(self) -> None:
        """Take note that no connection could be made."""
        self._phase = _Phase.AWAY
        self.wait = self._presenting.failed()

    def _reconnect_wait(self) -> None:
        """Wait as was decided at the end of the connection, instead of by doubling alone."""
        client = self._client
        if self._phase is not _Phase.AWAY:  # paho has told nobody: it cannot watch the socket
            self._phase = _Phase.AWAY
            self.wait = self._ended(None)
        bounds = client._reconnect_min_delay, client._reconnect_max_delay
        wait = max(self.wait, 0.001)  # 0 would stay 0 when doubled
        client.reconnect_delay_set(wait, wait)
        try:
            self._shadows.call("_reconnect_wait")
        finally:
            # Unless the user has wished for others meanwhile.
            if (client._reconnect_min_delay, client._reconnect_max_delay) == (wait, wait):
                client.reconnect_delay_set(*bounds)

    def _disconnect(self, *arguments: Any, **named: Any) -> Any:
        with self._lock:
            self._leaving = True
        return self._shadows.call("disconnect", *arguments, **named)

    def _has_left(self) -> bool:
        return self._leaving  # which another thread sets

    # The next token

    def _loop_misc(self) -> Any:
        done = self._shadows.call("loop_misc")
        now = time.monotonic()
        if done != mqtt.MQTT_ERR_SUCCESS or self._phase is not _Phase.IN or now < self._look_at:
            return done
        self._look_at = now + LOOK
        self._holding.look()
        return self._look(now)

    def _look(self, now: float) -> Any:
        token = None if self._renew == "expire" else self._presenting.successor()
        if token is None:
            self._draining_since = None
            return mqtt.MQTT_ERR_SUCCESS
        if self._authenticating.waits(now):
            return mqtt.MQTT_ERR_SUCCESS
        if self._authenticating.negotiated and self._renew != "reconnect":
            self._look_at = max(self._look_at, now + self._authenticating.begin(token, now))
            return mqtt.MQTT_ERR_SUCCESS
        if self._renew == "reauthenticate":
            return mqtt.MQTT_ERR_SUCCESS
        return self._drain(now)

    def _drain(self, now: float) -> Any:
        if self._draining_since is None:
            self._draining_since = now
        if inside.are_on_their_way(self._client) and now - self._draining_since < DRAIN:
            self._look_at = 0.0  # look again as soon as something comes
            return mqtt.MQTT_ERR_SUCCESS
        self._draining_since = None
        if self.by_other_hands is not None:
            self.by_other_hands()
            return mqtt.MQTT_ERR_SUCCESS
        return self.reconnect()

    def reconnect(self) -> Any:
        """End the connection in an orderly way and make the next one; in the loop's own thread.

        Returns:
            What paho's ``loop`` returns: 0, or why there is no connection.
        """
        client = self._client
        _log.info("connecting again with the next token")
        self._planned = True
        try:
            self.closing = True
            try:
                say_goodbye(client, self._presenting.left())
            finally:
                self.closing = False
            if self._has_left():  # the user has ended it for good meanwhile
                return mqtt.MQTT_ERR_SUCCESS
            return client.reconnect()
        except OSError:
            client._handle_on_connect_fail()
            return mqtt.MQTT_ERR_CONN_LOST
        finally:
            self._planned = False

    def _sock_close(self) -> None:
        self._holding.over()
        if self.closing and self._client._sock is not None:
            hear_out(self._client, self._presenting.left())
        self._shadows.call("_sock_close")
        # paho settles what was not sent, as for any lost connection.
        self._authenticating.queue.end()

    def _loop_write(self) -> Any:
        our_half_is_closed = self.closing and self._phase is _Phase.AWAY
        if our_half_is_closed or self._authenticating.queue.handing_over:
            return mqtt.MQTT_ERR_SUCCESS
        return self._shadows.call("loop_write")


def _decoded(data: bytes | None) -> str | None:
    return None if data is None else data.decode("utf-8", "surrogateescape")  # as it came


def _encoded(text: str | None) -> bytes | None:
    return None if text is None else text.encode("utf-8", "surrogateescape")
