# SPDX-License-Identifier: Apache-2.0
"""Fuzzes wire.c and the compiling of permissions: the plugin's end of the guard link."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from fuzz.chance import Chance
from fuzz.link_frames import FROM_GUARD, altered, drawn
from fuzz.plugin_parts import PluginParts, opened
from fuzz.target import Check, Target, demand
from keyfob.authorization.permissions import Rule
from keyfob.brokers.mosquitto.frames import (
    Decision,
    End,
    Frame,
    Grant,
    Record,
    RecordsEnd,
    Replace,
    Welcome,
)
from keyfob.brokers.mosquitto.wire import HEADER_SIZE, FrameReader
from keyfob.errors import ProtocolError

__all__ = ["TARGET"]

_INVARIANT: Final = (
    "The C codec reads no byte that is not there, takes a frame exactly where the Python codec "
    "does and with the same content, and tells a record again byte for byte."
)
_HEADER: Final = struct.Struct(">IBBHI")
_RECORD, _DECISION, _REPLACE = 3, 6, 11
_BOUND: Final = (None, "", "jwk", "jkt", "x5t#S256")  # in the order of their numbers
_FOR_GUARD: Final = frozenset({1, 5, 7, 8, 10, 12})  # what the plugin alone says
# effect:operations:literal:QoS mask:retain mask:filter, with a 0 where a rule needs a bit.
_MUTE: Final = re.compile(r" [01]:(0:[01]:[0-7]:[0-3]|[1-3]:[01]:(0:[0-3]|[1-7]:0)):")


def make(chance: Chance) -> bytes:
    """Draw a frame, nearly always altered."""
    data = drawn(chance, FROM_GUARD)
    return altered(chance, data) if chance.often(0.9) else data


@contextmanager
def _opened() -> Iterator[Check]:
    with opened() as parts:
        yield lambda data: _check(parts, data)


def _check(parts: PluginParts, data: bytes) -> str:
    answer = parts.ask("read", data)
    first = _first_frame(data)
    expected = _python_reads(first)
    if expected == "violation" and answer not in ("violation", "more"):
        if _MUTE.search(answer):
            return "a rule that never says anything"  # Python refuses it, C lets it stand
        # The codec in C leaves it to the compiler to look into the filters.
        demand(_compiled(parts, first) == "refused", f"C takes what Python refuses: {answer[:300]}")
        return "refused by the compiler"
    demand(answer == expected, f"C: {answer[:300]}; Python: {expected[:300]}")
    if answer.startswith("RECORD "):
        demand(parts.ask("load", first) == "loaded", "a good record is not compiled")
        demand(parts.ask("rewrite") == first.hex(), "a record is told otherwise than it was heard")
    return answer.split(" ", 1)[0]


def _first_frame(data: bytes) -> bytes:
    if len(data) < HEADER_SIZE:
        return data
    return data[: HEADER_SIZE + int.from_bytes(data[:4], "big")]


def _python_reads(data: bytes) -> str:
    """Return the line that runner.c prints for what Python makes of a frame."""
    try:
        frames = FrameReader().feed(data)
    except ProtocolError:
        return "violation"
    if not frames:
        complete = len(data) >= HEADER_SIZE
        return "violation" if complete and data[4] in _FOR_GUARD else "more"
    frame, request = frames[0]
    return f"{_line(frame, request)} size={len(data)}"


def _compiled(parts: PluginParts, data: bytes) -> str:
    """Ask whether the permissions in a RECORD, DECISION or REPLACE can be compiled."""
    kind = data[4]
    if kind == _DECISION:
        data_for_client = HEADER_SIZE + 9
        size = int.from_bytes(data[data_for_client : data_for_client + 2], "big")
        payload = b"\0" * 10 + b"\0\1x" + data[data_for_client + 2 + size :]
        data = _HEADER.pack(len(payload), _RECORD, 0, 0, 0) + payload
    if kind == _REPLACE:
        payload = data[HEADER_SIZE : HEADER_SIZE + 8] + b"\0\0" + data[HEADER_SIZE + 8 :]
        data = _HEADER.pack(len(payload), _RECORD, 0, 0, 0) + payload
    return parts.ask("load", data) if kind in (_RECORD, _DECISION, _REPLACE) else "no permissions"


def _line(frame: Frame, request: int) -> str:
    match frame:
        case Welcome():
            numbers = f"{frame.version} {frame.worker} {frame.workers}"
            return f"WELCOME {numbers} {frame.guard_instance.hex()}"
        case Record():
            flags = frame.clean + 2 * frame.assigned
            head = f"RECORD {frame.epoch} {int(frame.state)} {flags}"
            return f"{head} {_hex(frame.client_id)} {_grant(frame.grant)}"
        case Decision(grant=None):
            return f"DECISION {request} {frame.epoch} {frame.reason} {frame.data.hex() or '-'}"
        case Decision(grant=Grant() as grant):
            data = frame.data.hex() or "-"
            return f"DECISION {request} {frame.epoch} 0 {data} {_grant(grant)}"
        case End():
            return f"END {frame.epoch} {int(frame.cause)} {_hex(frame.client_id)}"
        case Replace():
            return f"REPLACE {frame.epoch} {_hex(frame.client_id)} {_grant(frame.grant)}"
        case RecordsEnd():
            return "RECORDS_END"
    return "violation"  # what only the plugin says


def _grant(grant: Grant) -> str:
    texts = (grant.principal, grant.issuer, grant.subject, grant.token_id)
    token = _BOUND.index(grant.bound) + 8 * (grant.client is not None)
    words = [str(grant.expires_at), *map(_hex, texts), str(token), _hex(grant.client or "")]
    words.append(str(int(grant.permissions.form)))
    return " ".join([*words, *map(_rule, grant.permissions.rules)])


def _rule(rule: Rule) -> str:
    numbers = (rule.effect, rule.operations.value, rule.literal, rule.qos, rule.retain)
    return ":".join([*(str(int(number)) for number in numbers), _hex(str(rule.filter))])


def _hex(text: str) -> str:
    return text.encode("utf-8").hex() or "-"


TARGET = Target(name="plugin-frames", invariant=_INVARIANT, make=make, open=_opened)
