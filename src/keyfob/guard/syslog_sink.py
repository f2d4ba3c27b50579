# SPDX-License-Identifier: Apache-2.0
"""Audit events as syslog messages (RFC 5424), over this machine's socket or UDP (RFC 5426).

Each message is one JSON line. Syslog of this kind promises nothing: what the socket does not take
counts as dropped, what a network loses nobody knows. Keep a file beside it where that matters.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

import msgspec

from keyfob.guard.audit import AuditEvent, Outcome

__all__ = ["LOCAL_SOCKET", "MAX_MESSAGE", "SyslogSink"]

LOCAL_SOCKET: Final = Path("/dev/log")

MAX_MESSAGE: Final = 8_192
"""Bytes of a message: rsyslog's own limit, and more than an event usually has. RFC 5424 section 6.1
asks receivers to take 2,048."""

SEND_SECONDS: Final = 1.0
"""How long a message may wait for a slow receiver, in the audit's own thread."""

_SHORT: Final = 64
_FACILITY: Final = 10  # authpriv: security and authorization, RFC 5424 section 6.2.1
_NOTICE, _WARNING, _INFORMATIONAL = 5, 4, 6
_SEVERITIES: Final = MappingProxyType(
    {
        Outcome.ALLOWED: _INFORMATIONAL,
        Outcome.REAUTHENTICATED: _INFORMATIONAL,
        Outcome.REFUSED: _NOTICE,
        Outcome.REVOKED: _NOTICE,
        Outcome.REPLACED: _NOTICE,
        Outcome.FORGOTTEN: _INFORMATIONAL,
        Outcome.UPSTREAM_FAILED: _WARNING,
        Outcome.UPSTREAM_RECOVERED: _NOTICE,
        Outcome.EVENT_ACCEPTED: _NOTICE,
        Outcome.EVENT_IGNORED: _INFORMATIONAL,
        Outcome.EVENT_REFUSED: _WARNING,
    }
)


class SyslogSink:
    """Sends each event as a message; opens its socket again when the receiver was away.

    Args:
        target: The path of a datagram socket, or the host and port of a receiver over UDP.
    """

    def __init__(self, target: Path | tuple[str, int] = LOCAL_SOCKET) -> None:
        self._target = target
        self._socket: socket.socket | None = None
        self._encoder = msgspec.json.Encoder()
        self._host = _header_text(socket.gethostname(), 255)
        self._process = str(os.getpid())

    def __str__(self) -> str:
        place = (
            self._target if isinstance(self._target, Path) else "{} port {}".format(*self._target)
        )
        return f"syslog at {place}"

    def write(self, events: Sequence[AuditEvent]) -> None:
        """Send a batch.

        Raises:
            OSError: The receiver does not take it.
        """
        for event in events:
            self._send(self._message(event))

    def close(self) -> None:
        """Close the socket."""
        opened, self._socket = self._socket, None
        if opened is not None:
            opened.close()

    def _send(self, message: bytes) -> None:
        if self._socket is not None:
            try:
                self._socket.send(message)
            except OSError:
                self.close()  # the receiver was started anew: its socket is another one
            else:
                return
        self._socket = _connected(self._target)
        try:
            self._socket.send(message)
        except OSError:
            self.close()
            raise

    def _message(self, event: AuditEvent) -> bytes:
        priority = 8 * _FACILITY + _SEVERITIES[event.outcome]
        stamp = _timestamp(event.time)
        head = f"<{priority}>1 {stamp} {self._host} keyfob {self._process} {event.outcome} - "
        message = head.encode("ascii") + self._encoder.encode(event)
        if len(message) <= MAX_MESSAGE:
            return message
        # A message that is cut is no JSON any more: its texts are made short instead.
        return head.encode("ascii") + self._encoder.encode(_shortened(event))


def _connected(target: Path | tuple[str, int]) -> socket.socket:
    if isinstance(target, Path):
        return _open(socket.AF_UNIX, str(target))
    host, port = target
    failure: OSError | None = None
    for family, _, _, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM):
        try:
            return _open(family, address)
        except OSError as error:
            failure = error
    raise failure or OSError(f"{host} has no address")


def _open(family: int, address: object) -> socket.socket:
    opened = socket.socket(family, socket.SOCK_DGRAM)
    try:
        opened.settimeout(SEND_SECONDS)
        opened.connect(address)  # type: ignore[arg-type]
    except OSError:
        opened.close()
        raise
    return opened


def _shortened(event: AuditEvent) -> AuditEvent:
    texts = {
        name: value[:_SHORT] + "…"
        for name, value in msgspec.structs.asdict(event).items()
        if type(value) is str and len(value) > _SHORT
    }
    return msgspec.structs.replace(event, **texts)


def _timestamp(seconds: float) -> str:
    """Write a time by RFC 3339, as RFC 5424 section 6.2.3 wants it."""
    whole, fraction = divmod(seconds, 1)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{int(fraction * 1e6):06}Z"


def _header_text(text: str, longest: int) -> str:
    """Make a field of the header: printable ASCII without spaces (RFC 5424 section 6)."""
    return "".join(c for c in text if "!" <= c <= "~")[:longest] or "-"
