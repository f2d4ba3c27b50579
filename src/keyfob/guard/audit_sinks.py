# SPDX-License-Identifier: Apache-2.0
"""Where audit events go: JSON lines in a file or a stream, or one line each for a person.

``sink`` makes one from what the configuration says.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Final, TextIO

import msgspec

from keyfob.guard.audit import AuditEvent, Outcome

__all__ = ["ConsoleSink", "JsonLinesSink", "JsonStreamSink", "printable"]

MAX_SHOWN: Final = 64
"""Characters of a client identifier on the console; MQTT allows 65,535 bytes."""

_UNPRINTABLE: Final = re.compile(
    # C0, DEL and C1 control characters (terminal escapes, newlines); line and paragraph
    # separators; marks that hide text or turn its direction; lone surrogates.
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)


class JsonLinesSink:
    """One JSON object per line, appended to a file that only its owner may read.

    Every batch is written with one call and nothing is kept back, so a rotation that copies and
    truncates (logrotate's ``copytruncate``) loses no line.

    Args:
        path: The file; made when missing.

    Raises:
        OSError: It cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._file: BinaryIO = os.fdopen(os.open(path, flags, 0o600), "ab", buffering=0)
        self._encoder = msgspec.json.Encoder()

    def __str__(self) -> str:
        return f"file {self._path}"

    def write(self, events: Sequence[AuditEvent]) -> None:
        """Append a batch."""
        _write_all(self._file, self._encoder.encode_lines(events))

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class JsonStreamSink:
    """One JSON object per line, on a stream that somebody else owns, such as standard output.

    Args:
        stream: Where to write; it is flushed after every batch and not closed.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._encoder = msgspec.json.Encoder()

    def __str__(self) -> str:
        return "stdout"

    def write(self, events: Sequence[AuditEvent]) -> None:
        """Write a batch."""
        _write_all(self._stream, self._encoder.encode_lines(events))
        self._stream.flush()

    def close(self) -> None:
        """Leave the stream to its owner."""


class ConsoleSink:
    """One plain line per event, for somebody who watches.

    Args:
        stream: Where to write; it is flushed after every batch and not closed.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __str__(self) -> str:
        return "console"

    def write(self, events: Sequence[AuditEvent]) -> None:
        """Write a batch."""
        text = "".join(f"{_line(event)}\n" for event in events)
        encoding = self._stream.encoding or "utf-8"  # a stream in memory has none
        self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        self._stream.flush()

    def close(self) -> None:
        """Leave the stream to its owner."""


def _write_all(stream: BinaryIO, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[stream.write(rest) :]


def printable(text: str, limit: int = MAX_SHOWN) -> str:
    """Make text from a stranger safe to show: no control characters, no newlines, not endless.

    Args:
        text: What a client sent.
        limit: The most characters to show.
    """
    short = text if len(text) <= limit else text[:limit] + "…"
    return _UNPRINTABLE.sub(lambda match: f"\\u{{{ord(match[0]):x}}}", short)


def _line(event: AuditEvent) -> str:
    return _CONSOLE[event.outcome](event)


def _allowed(event: AuditEvent) -> str:
    until = time.strftime("%H:%M:%S", time.localtime(event.expires_at))
    who = "" if event.principal == event.client_id else f" as {printable(event.principal)}"
    return f"allowed {_client(event)}{who} until {until}{_origin(event)}"


def _reauthenticated(event: AuditEvent) -> str:
    until = time.strftime("%H:%M:%S", time.localtime(event.expires_at))
    return f"renewed {_client(event)} until {until}{_origin(event)}"


def _refused(event: AuditEvent) -> str:
    return f"refused {_client(event)}: {_why(event)}{_origin(event)}"


def _revoked(event: AuditEvent) -> str:
    return f"ended {_client(event)}: {_why(event)}"


def _replaced(event: AuditEvent) -> str:
    until = time.strftime("%H:%M:%S", time.localtime(event.expires_at))
    return f"changed {_client(event)}: {_why(event)} (until {until})"


def _forgotten(event: AuditEvent) -> str:
    return f"forgot the stored session of {_client(event)}: {_why(event)}"


def _failed(event: AuditEvent) -> str:
    return f"upstream {printable(event.issuer, 200)}: {_why(event)}"


def _recovered(event: AuditEvent) -> str:
    return f"upstream {printable(event.issuer, 200)}: answers again"


def _event(event: AuditEvent) -> str:
    return f"event from {printable(event.issuer, 200) or 'somebody'}: {_why(event)}{_origin(event)}"


_CONSOLE: Final = {
    Outcome.ALLOWED: _allowed,
    Outcome.REAUTHENTICATED: _reauthenticated,
    Outcome.REFUSED: _refused,
    Outcome.REVOKED: _revoked,
    Outcome.REPLACED: _replaced,
    Outcome.FORGOTTEN: _forgotten,
    Outcome.UPSTREAM_FAILED: _failed,
    Outcome.UPSTREAM_RECOVERED: _recovered,
    Outcome.EVENT_ACCEPTED: _event,
    Outcome.EVENT_IGNORED: _event,
    Outcome.EVENT_REFUSED: _event,
}


def _client(event: AuditEvent) -> str:
    return printable(event.client_id) or "a client without identifier"


def _why(event: AuditEvent) -> str:
    explanation = printable(event.explanation, 300)
    return f"{explanation} ({event.reason})" if event.reason else explanation


def _origin(event: AuditEvent) -> str:
    return f" from {printable(event.peer)}" if event.peer else ""
