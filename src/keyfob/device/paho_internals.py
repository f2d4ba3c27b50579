# SPDX-License-Identifier: Apache-2.0
"""What is needed of paho's inside, in one place, and how one gets between its calls.

paho has no public way to answer an AUTH packet, to close a connection without losing what is on its
way, or to look at a connection's end while the user's own callback stays the user's. So methods of
the one client are shadowed by attributes of that instance: its callbacks are not touched, whenever
they are set, and ``Shadows.remove`` leaves nothing behind. Read in 2.0.0, 2.1.0 and 2.2.0, tested
with each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from keyfob.errors import TokenUnavailableError

__all__ = [
    "AUTH",
    "HEARD_OUT",
    "MalformedError",
    "PUBACK",
    "PUBREC",
    "Shadows",
    "are_on_their_way",
    "connect_properties",
    "missing",
    "outgoing",
    "packet_of",
    "queue_again",
    "send_auth",
    "send_queued",
    "set_window",
    "websocket_headers",
]

AUTH: Final = 0xF0
PUBACK: Final = 0x40
PUBREC: Final = 0x50

HEARD_OUT: Final = {0x40, 0x70, 0x90, 0xB0}
"""PUBACK, PUBCOMP, SUBACK, UNSUBACK: what still counts when DISCONNECT has been sent. A PUBLISH
does not: it could not be acknowledged any more, and comes again."""

_ALL: Final = 65_535
"""More messages than can be in flight: each has an identifier of two bytes."""

_METHODS: Final = (
    "_create_socket",
    "_do_on_disconnect",
    "_handle_connack",
    "_handle_on_connect_fail",
    "_packet_handle",
    "_packet_queue",
    "_packet_read",
    "_reconnect_wait",
    "_send_connect",
    "_send_disconnect",
    "_sock_close",
    "_update_inflight",
    "disconnect",
    "loop_misc",
    "loop_write",
    "publish",
    "reconnect",
)
_VALUES: Final = (
    "_client_id",
    "_connect_properties",
    "_host",
    "_in_packet",
    "_inflight_messages",
    "_max_inflight_messages",
    "_out_message_mutex",
    "_out_messages",
    "_out_packet",
    "_password",
    "_protocol",
    "_reconnect_max_delay",
    "_reconnect_min_delay",
    "_sock",
    "_ssl",
    "_transport",
    "_username",
)


def missing(client: mqtt.Client) -> list[str]:
    """Return what this client's inside lacks; nothing may be shadowed where anything is."""
    lacking = [name for name in _METHODS if not callable(getattr(client, name, None))]
    lacking += [name for name in _VALUES if not hasattr(client, name)]
    packet = getattr(client, "_in_packet", None)
    if not isinstance(packet, dict) or not {"command", "packet"} <= set(packet):
        lacking.append("_in_packet's members")
    return lacking


class Shadows:
    """Methods of one client that are replaced, for as long as it is wanted."""

    def __init__(self, client: mqtt.Client) -> None:
        self._own: dict[str, Any] = client.__dict__
        self._client = client
        self._before: dict[str, Any] = {}
        self._there: set[str] = set()

    def put(self, name: str, function: Callable[..., Any]) -> None:
        """Have a function called instead of a method."""
        if name not in self._before:  # else it is one of ours that is replaced
            if name in self._own:
                self._there.add(name)
            self._before[name] = getattr(self._client, name)
        self._own[name] = function

    def call(self, name: str, *arguments: Any, **named: Any) -> Any:
        """Call what a method was before."""
        return self._before[name](*arguments, **named)

    def remove(self) -> None:
        """Let everything be as it was."""
        for name, before in self._before.items():
            if name in self._there:
                self._own[name] = before
            else:
                self._own.pop(name, None)


# Packets


class MalformedError(Exception):
    """The broker sent what is no packet."""


class _Unspoken(Properties):
    """CONNECT's properties; paho logs them, and the authentication data is a secret."""

    def __str__(self) -> str:
        return "[…]"


@contextmanager
def websocket_headers(client: Any, more: Mapping[str, str]) -> Iterator[None]:
    """Have the handshake of a WebSocket show these headers, too, beside the user's own.

    Raises:
        TokenUnavailableError: The user's own fail; the loop ends at any but an ``OSError``.
    """
    given = client._websocket_extra_headers

    def headers(usual: dict[str, str]) -> dict[str, str]:
        try:
            made = given(usual) if callable(given) else {**usual, **(given or {})}
            return {**made, **more}
        except Exception as error:  # noqa: BLE001 - the user's
            said = f"the headers for the WebSocket: {type(error).__name__}"
            raise TokenUnavailableError(said) from None

    client._websocket_extra_headers = headers
    try:
        yield
    finally:
        client._websocket_extra_headers = given


def connect_properties(given: Properties | None, method: str, data: bytes) -> Properties:
    """Return CONNECT's properties with an authentication method in them."""
    properties = _Unspoken(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    if given is not None:
        properties.__dict__.update(given.__dict__)
    properties.AuthenticationMethod = method
    if data:
        properties.AuthenticationData = data
    return properties


def packet_of(client: Any) -> tuple[int, int, Properties | None]:
    """Read the AUTH or CONNACK that came: its kind, its code and its properties.

    Raises:
        MalformedError: It is malformed.
    """
    kind = client._in_packet["command"] & 0xF0
    body = bytes(client._in_packet["packet"])
    at = 0 if kind == AUTH else 1  # CONNACK has its flags first
    code = body[at] if len(body) > at else 0
    if client._protocol != mqtt.MQTTv5 or len(body) <= at + 1:
        return kind, code, None
    properties = Properties(kind >> 4)  # type: ignore[no-untyped-call]
    try:
        properties.unpack(body[at + 1 :])  # type: ignore[no-untyped-call]
    except Exception as error:  # noqa: BLE001 - half a dozen types, by paho's version
        raise MalformedError(f"a malformed packet ({type(error).__name__})") from None
    return kind, code, properties


def send_auth(client: Any, code: int, method: str, data: bytes) -> None:
    """Send an AUTH packet (MQTT 5.0 section 3.15)."""
    properties = Properties(PacketTypes.AUTH)  # type: ignore[no-untyped-call]
    properties.AuthenticationMethod = method
    if data:
        properties.AuthenticationData = data
    body = bytes((code,)) + properties.pack()  # type: ignore[no-untyped-call]
    packet = bytearray((AUTH,))
    size = len(body)
    while True:  # a variable byte integer (section 1.5.5)
        size, digit = divmod(size, 128)
        packet.append(digit | (0x80 if size else 0))
        if not size:
            break
    client._packet_queue(AUTH, packet + body, 0, 0)


# Messages


def outgoing(client: Any) -> AbstractContextManager[object]:
    """Return the lock that is held by whoever looks at, or changes, what is to be published."""
    lock: AbstractContextManager[object] = client._out_message_mutex
    return lock


def set_window(client: Any, size: int) -> int:
    """Say how many messages may be in flight; return what it was before."""
    before: int = client._max_inflight_messages
    client._max_inflight_messages = size
    return before


def are_on_their_way(client: Any) -> bool:
    """Tell whether messages were sent that are not acknowledged yet."""
    with outgoing(client):
        return any(each.state != mqtt.mqtt_ms_queued for each in client._out_messages.values())


def queue_again(client: Any, mid: int) -> bool:
    """Have a message that is in flight wait in the queue, as one that was never sent.

    Returns:
        Whether there was such a message.
    """
    message = client._out_messages.get(mid)
    if message is None or message.state == mqtt.mqtt_ms_queued:
        return False
    message.state = mqtt.mqtt_ms_queued
    message.dup = False  # the broker is done with the one that it refused
    client._inflight_messages -= 1
    return True


def send_queued(client: Any) -> None:
    """Send what waits in the queue, as much of it as may be in flight."""
    window = client._max_inflight_messages
    set_window(client, window or _ALL)  # it knows no 0, "any number of them"
    try:
        client._update_inflight()
    finally:
        set_window(client, window)
