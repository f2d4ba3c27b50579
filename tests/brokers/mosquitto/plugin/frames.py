# SPDX-License-Identifier: Apache-2.0
"""Frames as the guard sends them, put together by hand: a second opinion beside keyfob's codec."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from keyfob.authorization.permissions import Permissions, Rule

__all__ = [
    "END",
    "EXPIRED",
    "FORGOTTEN",
    "REVOKED",
    "decision",
    "end",
    "frame",
    "permissions",
    "record",
    "records_end",
    "replace",
    "text",
    "welcome",
]

WELCOME, RECORD, RECORDS_END, DECISION, END, REPLACE = 2, 3, 4, 6, 9, 11
REVOKED, EXPIRED, FORGOTTEN = 1, 2, 3  # causes of an END
LATER = 4_102_444_800_000  # a Unix time in milliseconds, in the year 2100


def text(value: str | bytes) -> bytes:
    """Return a ``str`` field."""
    data = value if isinstance(value, bytes) else value.encode()
    return struct.pack(">H", len(data)) + data


def frame(kind: int, payload: bytes = b"", request: int = 0) -> bytes:
    """Return a frame, header and payload."""
    return struct.pack(">IBBHI", len(payload), kind, 0, 0, request) + payload


def _rule(rule: Rule) -> bytes:
    numbers = (rule.effect, rule.operations.value, rule.literal, rule.qos, rule.retain)
    return bytes(numbers) + text(str(rule.filter))


def permissions(allowed: Permissions) -> bytes:
    """Return the Permissions of a Grant."""
    head = struct.pack(">BH", allowed.form, len(allowed.rules))
    return head + b"".join(map(_rule, allowed.rules))


def _grant(allowed: bytes, expires_at: int, principal: str, issuer: str, subject: str) -> bytes:
    texts: Iterable[str] = (principal, issuer, subject, "jti-1")
    token = b"\x09" + text(subject)  # a bearer token of the client that is called as its subject
    return struct.pack(">q", expires_at) + b"".join(map(text, texts)) + token + allowed


def record(
    allowed: bytes,
    client_id: str = "dev1",
    *,
    epoch: int = 1,
    state: int = 1,
    clean: bool = False,
    expires_at: int = LATER,
    principal: str = "dev1",
    issuer: str = "home",
    subject: str = "dev1",
) -> bytes:
    """Return a RECORD."""
    head = struct.pack(">QBB", epoch, state, clean) + text(client_id)
    return frame(RECORD, head + _grant(allowed, expires_at, principal, issuer, subject))


def decision(
    request: int,
    epoch: int,
    *,
    reason: int = 0,
    allowed: bytes = b"",
    expires_at: int = LATER,
    principal: str = "dev1",
    issuer: str = "home",
    subject: str = "dev1",
    data: bytes = b"",
) -> bytes:
    """Return a DECISION."""
    head = struct.pack(">QB", epoch, reason) + (text(data) if reason in {0, 0x18} else b"")
    tail = _grant(allowed, expires_at, principal, issuer, subject) if reason == 0 else b""
    return frame(DECISION, head + tail, request)


def welcome(worker: int = 0, workers: int = 1) -> bytes:
    """Return a WELCOME."""
    return frame(WELCOME, b"KFOB\x04" + bytes(range(16)) + bytes((worker, workers)))


def records_end() -> bytes:
    """Return a RECORDS_END."""
    return frame(RECORDS_END)


def end(client_id: str, cause: int, epoch: int = 0) -> bytes:
    """Return an END."""
    return frame(END, struct.pack(">QB", epoch, cause) + text(client_id))


def replace(
    allowed: bytes,
    client_id: str = "dev1",
    *,
    epoch: int = 1,
    expires_at: int = LATER,
    principal: str = "dev1",
    issuer: str = "home",
    subject: str = "dev1",
) -> bytes:
    """Return a REPLACE."""
    head = struct.pack(">Q", epoch) + text(client_id)
    return frame(REPLACE, head + _grant(allowed, expires_at, principal, issuer, subject))
