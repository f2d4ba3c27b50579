# SPDX-License-Identifier: Apache-2.0
"""Frames of the guard link: drawn at random, and changed so that some of them still are frames."""

from __future__ import annotations

import struct
from typing import Final

from fuzz import octets
from fuzz.chance import Chance
from fuzz.topic_texts import drawn_filter, filter_of
from keyfob.authorization.permissions import Effect, Form, Operation, Permissions, Rule
from keyfob.brokers.mosquitto.frames import (
    Admitted,
    Connect,
    Continue,
    Decision,
    End,
    Frame,
    Grant,
    Hello,
    Offline,
    Reauthenticate,
    Record,
    RecordsEnd,
    Replace,
    Welcome,
)
from keyfob.brokers.mosquitto.wire import HEADER_SIZE, MAX_PAYLOAD, encode
from keyfob.guard.session import EndCause, SessionState

__all__ = ["FROM_GUARD", "altered", "drawn", "drawn_permissions"]

FROM_GUARD: Final = (Welcome, Record, RecordsEnd, Decision, End, Replace)
"""What the guard says to the plugin."""

_NUMBERED: Final = (Connect, Decision, Reauthenticate, Continue)

_TEXTS: Final = ("", "dev1", "gerät", "\U0001f511", "a" * 300, "\x01", "-", "https://as.example")
_DATA: Final = (b"", b"\0\xff", b"a.b.c", b"x" * 1_000)
_EPOCHS: Final = (0, 1, 2**32, 2**63, 2**64 - 1)
_TIMES: Final = (0, 1, -1, 4_102_444_800_000, 2**63 - 1, -(2**63))
_QOS_BITS, _RETAIN_BITS = 7, 3
_WORDS: Final = (b"\0\0", b"\xff\xff", b"KFOB", b"\0\4dev1", b"\xc3\xa4", b"\xed\xa0\x80", b"\0")


def drawn(chance: Chance, kinds: tuple[type[Frame], ...]) -> bytes:
    """Draw one good frame of one of these kinds."""
    kind = chance.one(kinds)
    request = 1 + chance.randrange(2**32 - 1) if kind in _NUMBERED else 0
    return encode(_frame(chance, kind), request)


def altered(chance: Chance, data: bytes) -> bytes:
    """Change a frame, and most of the time make its length right again."""
    changed = bytearray(octets.changed(chance, data, _WORDS))
    if len(changed) >= HEADER_SIZE and chance.often(0.8):
        struct.pack_into(">I", changed, 0, len(changed) - HEADER_SIZE)
    elif len(changed) >= HEADER_SIZE and chance.often(0.3):
        length = chance.one((MAX_PAYLOAD, MAX_PAYLOAD + 1, 2**32 - 1, 0))
        struct.pack_into(">I", changed, 0, length)
    return bytes(changed)


def drawn_permissions(chance: Chance, most: int = 8) -> Permissions:
    """Draw permissions of either form."""
    form = chance.one(tuple(Form))
    rules = [_rule(chance, form) for _ in range(chance.few(most + 1) - 1)]
    return Permissions(form, tuple(rule for rule in rules if rule is not None))


def _rule(chance: Chance, form: Form) -> Rule | None:
    topic_filter = filter_of(drawn_filter(chance)[:200])
    if topic_filter is None:
        return None
    return Rule(
        effect=Effect.ALLOW if form is Form.ALLOW_ONLY else chance.one(tuple(Effect)),
        operations=Operation(1 + chance.randrange(3)),
        filter=topic_filter,
        literal=chance.often(0.3),
        qos=1 + chance.randrange(_QOS_BITS) if chance.often(0.5) else _QOS_BITS,
        retain=1 + chance.randrange(_RETAIN_BITS) if chance.often(0.5) else _RETAIN_BITS,
    )


def _grant(chance: Chance) -> Grant:
    return Grant(
        expires_at=chance.one(_TIMES),
        principal=chance.one(_TEXTS),
        issuer=chance.one(_TEXTS),
        subject=chance.one(_TEXTS),
        token_id=chance.one(_TEXTS),
        client=chance.one((None, *_TEXTS)),
        bound=chance.one((None, "", "jwk", "jkt", "x5t#S256")),
        permissions=drawn_permissions(chance),
    )


def _frame(chance: Chance, kind: type[Frame]) -> Frame:
    epoch, text = chance.one(_EPOCHS), chance.one(_TEXTS)
    if kind is Hello:
        return Hello(
            lowest=chance.randrange(2),
            highest=1 + chance.randrange(3),
            broker_instance=chance.randbytes(16),
            epoch=epoch,
            broker_version=chance.randrange(2**32),
            broker_name=text,
        )
    if kind is Welcome:
        workers = chance.few(255)
        return Welcome(
            version=chance.randrange(256),
            guard_instance=chance.randbytes(16),
            worker=chance.randrange(workers),
            workers=workers,
        )
    if kind is Record:
        return Record(
            epoch=epoch,
            state=chance.one(tuple(SessionState)),
            clean=chance.often(0.5),
            assigned=chance.often(0.5),
            client_id=text,
            grant=_grant(chance),
        )
    if kind in _NUMBERED:
        return _question_or_answer(chance, kind, epoch, text)
    if kind is Admitted:
        return Admitted(epoch=epoch, client_id=text)
    if kind is Offline:
        return Offline(epoch=epoch, client_id=text, kept=chance.often(0.5))
    if kind is End:
        return End(epoch=epoch, cause=chance.one(tuple(EndCause)), client_id=text)
    if kind is Replace:
        return Replace(epoch=epoch, client_id=text, grant=_grant(chance))
    return RecordsEnd()


def _question_or_answer(chance: Chance, kind: type[Frame], epoch: int, text: str) -> Frame:
    if kind is Connect:
        return _connect(chance, epoch, text)
    if kind is Decision:
        if chance.often(0.3):
            return Decision(epoch=epoch, reason=0x80 + chance.randrange(0x80))
        if chance.often(0.3):
            return Decision(epoch=epoch, reason=0x18, data=chance.one(_DATA))
        return Decision(epoch=epoch, reason=0, grant=_grant(chance), data=chance.one(_DATA))
    if kind is Reauthenticate:
        return Reauthenticate(
            epoch=epoch,
            client_id=text,
            method=chance.one(_TEXTS),
            data=chance.one(_DATA),
            peer=chance.one(_TEXTS),
            certificate_thumbprint=chance.one((b"", bytes(32))),
            wait_ms=chance.randrange(2**32),
        )
    wait = chance.randrange(2**32)
    return Continue(epoch=epoch, client_id=text, data=chance.one(_DATA), wait_ms=wait)


def _connect(chance: Chance, epoch: int, text: str) -> Connect:
    method = chance.one(_TEXTS) if chance.often(0.3) else None
    credentials = (None, *_DATA) if method is None else (None,)
    return Connect(
        epoch=epoch,
        clean=chance.often(0.5),
        assigned=chance.often(0.5),
        protocol_level=chance.one((3, 4, 5)),
        client_id=text,
        username=chance.one(credentials),
        password=chance.one(credentials),
        peer=chance.one(_TEXTS),
        certificate_thumbprint=chance.one((b"", bytes(32))),
        delayed=chance.often(0.5),
        wait_ms=chance.one((0, 200, 5_000, 2**32 - 1)),
        method=method,
        data=b"" if method is None else chance.one(_DATA),
    )
