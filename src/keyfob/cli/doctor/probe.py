# SPDX-License-Identifier: Apache-2.0
"""One connection to a broker, made to see what the broker does.

What comes on it is seen and no more: a message that was stored for somebody is never acknowledged,
so the broker keeps it. A session that was there before the connection is there afterwards, and one
that was not is not.
"""

from __future__ import annotations

import enum
import select
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from keyfob.cli.broker_target import V5, Address
from keyfob.device import paho_internals as inside
from keyfob.device.carrying import Credentials
from keyfob.mqtt.reason_codes import ReasonCode

__all__ = ["Answer", "Connection", "Hello", "Outcome", "code_words"]

_CONNACK: Final = 0x20
_PUBLISH: Final = 0x30
_DISCONNECT: Final = 0xE0
_REFUSAL: Final = 0x80

FOREVER: Final = 0xFFFFFFFF
"""The Session Expiry Interval that never ends (MQTT 5.0 section 3.1.2.11.2)."""

_TOLD: Final = (
    "AssignedClientIdentifier",
    "AuthenticationMethod",
    "MaximumPacketSize",
    "MaximumQoS",
    "ReasonString",
    "ReceiveMaximum",
    "RetainAvailable",
    "ServerKeepAlive",
    "ServerReference",
    "SessionExpiryInterval",
    "SharedSubscriptionAvailable",
    "SubscriptionIdentifierAvailable",
    "TopicAliasMaximum",
    "WildcardSubscriptionAvailable",
)

_RETURN_CODES: Final = {
    1: "unacceptable protocol version",
    2: "identifier rejected",
    3: "server unavailable",
    4: "bad user name or password",
    5: "not authorized",
}


class Outcome(enum.StrEnum):
    """What came of a packet that wants an answer."""

    TAKEN = "taken"
    REFUSED = "refused"
    ASKED = "asked for more"
    CLOSED = "closed without a word"
    SILENT = "no answer"
    FAILED = "no connection"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """What a CONNECT says.

    Attributes:
        version: ``V5`` or ``V311``.
        identifier: The client identifier; empty: a new session under one that the broker assigns.
            Else the session that is there is gone on with, and kept.
        credentials: What is shown; None: nothing.
    """

    version: int
    identifier: str = ""
    credentials: Credentials | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the broker answered.

    Attributes:
        outcome: What came of it.
        code: Its reason code, or its return code in 3.1.1; None: there was none.
        version: The protocol that it is of.
        properties: CONNACK's properties, by their names in the standard without spaces.
        session_present: Whether there was a session before.
        detail: Why there was no connection, for a person.
    """

    outcome: Outcome
    version: int
    code: int | None = None
    properties: Mapping[str, object] = field(default_factory=dict)
    session_present: bool = False
    detail: str = ""

    def __str__(self) -> str:
        """Return it in words, such as ``refused 0x87 (not authorized)``."""
        if self.outcome is Outcome.FAILED:
            return f"{self.outcome}: {self.detail}"
        if self.code is None or self.outcome in {Outcome.TAKEN, Outcome.ASKED}:
            return str(self.outcome)
        return f"{self.outcome} {code_words(self.code)}"


def code_words(code: int) -> str:
    """Return a reason code, or a return code of 3.1.1, with what it means."""
    if code < _REFUSAL:
        return f"{code} ({_RETURN_CODES.get(code, 'unknown')})"
    try:
        return f"0x{code:02X} ({ReasonCode(code).name.lower().replace('_', ' ')})"
    except ValueError:
        return f"0x{code:02X}"


class Connection:
    """One connection; used within ``with``, by one thread.

    Args:
        address: Where the broker is.
        context: How TLS is spoken; None: it is not.
        hello: What CONNECT says.
        patience: Seconds to wait for an answer.
    """

    def __init__(
        self, address: Address, context: ssl.SSLContext | None, hello: Hello, patience: float
    ) -> None:
        self._address = address
        self._hello = hello
        self._patience = patience
        is_5 = hello.version == V5
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=hello.identifier,
            clean_session=None if is_5 else not hello.identifier,
            protocol=MQTTProtocolVersion(hello.version),
            transport=address.transport,
            reconnect_on_failure=False,
        )
        client.connect_timeout = patience
        shown = hello.credentials
        if shown is not None:
            client.username_pw_set(shown.username, shown.password)
        if address.transport == "websockets":
            client.ws_set_options(address.path, dict(shown.headers) if shown else None)
        if context is not None:
            client.tls_set_context(context)
            client.tls_insecure_set(not context.check_hostname)
        client.on_subscribe = self._on_subscribe
        client.on_publish = self._on_publish
        self._client: Any = client
        self._shadows = inside.Shadows(client)
        self._shadows.put("_packet_handle", self._packet_handle)
        self._connack: Answer | None = None
        self._again: Answer | None = None
        self._auth: int | None = None
        self._goodbye: int | None = None
        self._subscribed: dict[int, int] = {}
        self._published: dict[int, int] = {}
        self._over = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._leave()

    # What is asked

    def connect(self) -> Answer:
        """Connect, and send CONNECT; say what is answered."""
        address = self._address
        try:
            self._client.connect(
                address.host,
                address.port,
                keepalive=60,
                **self._session_options(),
            )
        except (OSError, ValueError, mqtt.WebsocketConnectionError) as error:
            self._over = True
            said = getattr(error, "strerror", None) or str(error) or type(error).__name__
            return self._answer(Outcome.FAILED, detail=said)
        self._until(lambda: self._connack is not None or self._auth is not None)
        if self._connack is not None:
            return self._connack
        return self._asked()

    def reauthenticate(self, method: str, data: bytes) -> Answer:
        """Show a token on the live connection (MQTT 5.0 section 4.12.1); say what is answered."""
        self._auth = None
        inside.send_auth(self._client, ReasonCode.RE_AUTHENTICATE, method, data)
        self._until(lambda: self._auth is not None or self._again is not None)
        if self._again is not None:  # Mosquitto 2.0.11 answers a refusal by a CONNACK
            return self._again
        return self._asked()

    def subscribe(self, topic_filter: str, qos: int = 0) -> Answer:
        """Subscribe; say what is answered."""
        _, number = self._client.subscribe(topic_filter, qos)
        return self._acknowledged(self._subscribed, number)

    def unsubscribe(self, topic_filter: str) -> None:
        """Take a subscription back."""
        self._client.unsubscribe(topic_filter)

    def publish(self, topic: str, payload: bytes) -> Answer:
        """Publish with QoS 1; say what is answered. In 3.1.1 a broker cannot say no."""
        number = self._client.publish(topic, payload, qos=1).mid
        return self._acknowledged(self._published, number)

    def _session_options(self) -> dict[str, Any]:
        hello = self._hello
        if hello.version != V5:
            return {}
        given = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        if hello.identifier:
            given.SessionExpiryInterval = FOREVER  # the session is somebody's, and stays
        shown = hello.credentials
        if shown is not None and shown.method:
            given = inside.connect_properties(given, shown.method, shown.data)
        return {"clean_start": not hello.identifier, "properties": given}

    # What comes

    def _packet_handle(self) -> Any:
        kind = self._client._in_packet["command"] & 0xF0
        if kind == _PUBLISH:
            return mqtt.MQTT_ERR_SUCCESS  # not acknowledged: it comes again, to whom it is for
        if kind == _CONNACK:
            return self._handle_connack()
        if kind == inside.AUTH:
            _, self._auth, _ = inside.packet_of(self._client)
            return mqtt.MQTT_ERR_SUCCESS
        if kind == _DISCONNECT:
            body = bytes(self._client._in_packet["packet"])
            if self._goodbye is None:
                self._goodbye = body[0] if body else 0
            return mqtt.MQTT_ERR_CONN_LOST
        return self._shadows.call("_packet_handle")

    def _handle_connack(self) -> Any:
        _, code, properties = inside.packet_of(self._client)
        body = bytes(self._client._in_packet["packet"])
        if len(body) < 2:
            return mqtt.MQTT_ERR_PROTOCOL
        answer = self._answer(
            Outcome.REFUSED if code else Outcome.TAKEN,
            code=code,
            properties=_named(properties),
            session_present=bool(body[0] & 1),
        )
        if self._connack is not None:
            self._again = answer
            return mqtt.MQTT_ERR_CONN_REFUSED
        # What is malformed raises here, and was no answer.
        done = mqtt.MQTT_ERR_CONN_REFUSED if code else self._shadows.call("_packet_handle")
        self._connack = answer
        return done

    def _on_subscribe(self, _c: Any, _u: Any, number: int, codes: Any, _p: Any) -> None:
        self._subscribed[number] = codes[0].value

    def _on_publish(self, _c: Any, _u: Any, number: int, code: Any, _p: Any) -> None:
        self._published[number] = code.value

    def _acknowledged(self, codes: dict[int, int], number: int | None) -> Answer:
        self._until(lambda: number in codes)
        code = codes.get(number or 0)
        if code is None:
            return self._nothing()
        refused = code >= _REFUSAL
        return self._answer(Outcome.REFUSED if refused else Outcome.TAKEN, code=code)

    def _asked(self) -> Answer:
        """Judge the AUTH that came, if one did."""
        code = self._auth
        if code is None:
            return self._nothing()
        done = code == ReasonCode.SUCCESS
        return self._answer(Outcome.TAKEN if done else Outcome.ASKED, code=code)

    def _nothing(self) -> Answer:
        if self._goodbye is not None:
            return self._answer(Outcome.REFUSED, code=self._goodbye)
        return self._answer(Outcome.CLOSED if self._over else Outcome.SILENT)

    def _answer(self, outcome: Outcome, **more: Any) -> Answer:
        return Answer(outcome=outcome, version=self._hello.version, **more)

    # How long

    def _until(self, done: Callable[[], bool]) -> None:
        """Serve the connection until something has come, it has ended, or patience has."""
        deadline = time.monotonic() + self._patience
        while not (done() or self._over) and (left := deadline - time.monotonic()) > 0:
            self._serve(left)

    def _serve(self, longest: float) -> None:
        client = self._client
        sock = client.socket()
        if sock is None:
            self._over = True
            return
        ready = hasattr(sock, "pending") and sock.pending() > 0
        wanted = [sock] if client.want_write() else []
        readable, writable, _ = select.select([sock], wanted, [], 0 if ready else longest)
        try:
            failed = (ready or readable) and client.loop_read() != mqtt.MQTT_ERR_SUCCESS
            failed = failed or (writable and client.loop_write() != mqtt.MQTT_ERR_SUCCESS)
        except Exception:  # noqa: BLE001 - paho raises what it likes at a malformed packet
            failed = True
        self._over = bool(failed) or client.socket() is None

    def _leave(self) -> None:
        """End the connection, and the session, unless that was there before."""
        client, ours = self._client, self._connack
        if not self._over and ours is not None and ours.outcome is Outcome.TAKEN:
            options: dict[str, Any] = {}
            if self._hello.version == V5 and not ours.session_present:
                options["properties"] = Properties(PacketTypes.DISCONNECT)  # type: ignore[no-untyped-call]
                options["properties"].SessionExpiryInterval = 0
            client.disconnect(**options)
            self._until(lambda: False)
        self._shadows.remove()
        client._sock_close()


def _named(properties: Properties | None) -> dict[str, object]:
    """Return the properties that say what a broker is like; what it says beside may be anything."""
    return {
        name: vars(properties)[name] for name in _TOLD if properties and name in vars(properties)
    }
