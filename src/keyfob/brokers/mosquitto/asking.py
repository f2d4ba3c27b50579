# SPDX-License-Identifier: Apache-2.0
"""The frames by which a decision is asked for and given: CONNECT and what follows on it.

Each has two functions: ``pack_*`` makes its payload, ``read_*`` takes one apart. What they raise is
what ``fields`` does.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from keyfob.brokers.mosquitto.fields import (
    bytes_at,
    complete,
    grant_at,
    pack_bytes,
    pack_grant,
    pack_text,
    text_at,
    untrusted_text_at,
)
from keyfob.brokers.mosquitto.frames import Connect, Continue, Decision, Reauthenticate
from keyfob.errors import ProtocolError

__all__ = [
    "DECISION_HEAD",
    "pack_connect",
    "pack_continue",
    "pack_decision",
    "pack_reauthenticate",
    "read_connect",
    "read_continue",
    "read_decision",
    "read_reauthenticate",
]

DECISION_HEAD: Final = Struct(">QB")

_CONNECT: Final = Struct(">QBB")
_EPOCH: Final = Struct(">Q")
_WAIT: Final = Struct(">I")

_CLEAN, _ASSIGNED, _HAS_USERNAME, _HAS_PASSWORD, _DELAYED, _HAS_METHOD = 1, 2, 4, 8, 16, 32

_MORE: Final = 0x18  # Continue authentication (MQTT 5.0 section 2.4)


def pack_connect(frame: Connect) -> bytes:
    """Make the payload of a CONNECT."""
    flags = (
        _CLEAN * frame.clean
        + _ASSIGNED * frame.assigned
        + _HAS_USERNAME * (frame.username is not None)
        + _HAS_PASSWORD * (frame.password is not None)
        + _DELAYED * frame.delayed
        + _HAS_METHOD * (frame.method is not None)
    )
    if frame.method is not None and (frame.username is not None or frame.password is not None):
        raise ProtocolError("a CONNECT with a method and another credential")
    return b"".join(
        (
            _CONNECT.pack(frame.epoch, flags, frame.protocol_level),
            pack_text(frame.client_id),
            pack_bytes(frame.username or b""),
            pack_bytes(frame.password or b""),
            pack_text(frame.peer),
            pack_bytes(frame.certificate_thumbprint),
            pack_text(frame.method or ""),
            pack_bytes(frame.data),
            _WAIT.pack(frame.wait_ms),
        )
    )


def read_connect(payload: bytes) -> Connect:
    """Read the payload of a CONNECT."""
    epoch, flags, level = _CONNECT.unpack_from(payload)
    client_id, at = text_at(payload, _CONNECT.size)
    username, at = bytes_at(payload, at)
    password, at = bytes_at(payload, at)
    # An address by the broker's word, which a proxy in front of it may have from anybody.
    peer, at = untrusted_text_at(payload, at)
    thumbprint, at = _thumbprint_at(payload, at)
    method, at = text_at(payload, at)
    data, at = bytes_at(payload, at)
    (wait_ms,) = _WAIT.unpack_from(payload, at)
    complete(payload, at + _WAIT.size)
    if flags > 0b111111 or not 3 <= level <= 5:
        raise ProtocolError("a CONNECT with a wrong flag or protocol level")
    if _misses(flags, username, password, method, data):
        raise ProtocolError("a CONNECT with a credential that its flags call absent")
    return Connect(
        epoch=epoch,
        clean=bool(flags & _CLEAN),
        assigned=bool(flags & _ASSIGNED),
        protocol_level=level,
        client_id=client_id,
        username=username if flags & _HAS_USERNAME else None,
        password=password if flags & _HAS_PASSWORD else None,
        peer=peer,
        certificate_thumbprint=thumbprint,
        delayed=bool(flags & _DELAYED),
        wait_ms=wait_ms,
        method=method if flags & _HAS_METHOD else None,
        data=data,
    )


def _misses(flags: int, username: bytes, password: bytes, method: str, data: bytes) -> bool:
    """Tell whether the flags call a credential absent that is there, or one too many present."""
    if flags & _HAS_METHOD:
        return bool(username or password or flags & (_HAS_USERNAME | _HAS_PASSWORD))
    return bool(
        (username and not flags & _HAS_USERNAME)
        or (password and not flags & _HAS_PASSWORD)
        or method
        or data
    )


def _thumbprint_at(payload: bytes, at: int) -> tuple[bytes, int]:
    thumbprint, end = bytes_at(payload, at)
    if len(thumbprint) not in {0, 32}:
        raise ProtocolError("a thumbprint that is no SHA-256")
    return thumbprint, end


def pack_decision(frame: Decision) -> bytes:
    """Make the payload of a DECISION."""
    head = DECISION_HEAD.pack(frame.epoch, frame.reason)
    if (frame.reason == 0) != (frame.grant is not None):
        raise ProtocolError("a DECISION carries a grant when its reason is 0, and only then")
    if frame.grant is not None:
        return head + pack_bytes(frame.data) + pack_grant(frame.grant)
    if frame.reason == _MORE:
        return head + pack_bytes(frame.data)
    if frame.data:
        raise ProtocolError("a DECISION that refuses carries no data")
    return head


def read_decision(payload: bytes) -> Decision:
    """Read the payload of a DECISION."""
    epoch, reason = DECISION_HEAD.unpack_from(payload)
    at, data, grant = DECISION_HEAD.size, b"", None
    if reason in {0, _MORE}:
        data, at = bytes_at(payload, at)
    elif reason < 0x80:  # MQTT 5.0 section 2.4: below is success
        raise ProtocolError("a DECISION with a reason that refuses nothing")
    if reason == 0:
        grant, at = grant_at(payload, at)
    complete(payload, at)
    return Decision(epoch=epoch, reason=reason, grant=grant, data=data)


def pack_reauthenticate(frame: Reauthenticate) -> bytes:
    """Make the payload of a REAUTHENTICATE."""
    return b"".join(
        (
            _EPOCH.pack(frame.epoch),
            pack_text(frame.client_id),
            pack_text(frame.method),
            pack_bytes(frame.data),
            pack_text(frame.peer),
            pack_bytes(frame.certificate_thumbprint),
            _WAIT.pack(frame.wait_ms),
        )
    )


def read_reauthenticate(payload: bytes) -> Reauthenticate:
    """Read the payload of a REAUTHENTICATE."""
    (epoch,) = _EPOCH.unpack_from(payload)
    client_id, at = text_at(payload, _EPOCH.size)
    method, at = text_at(payload, at)
    data, at = bytes_at(payload, at)
    peer, at = untrusted_text_at(payload, at)
    thumbprint, at = _thumbprint_at(payload, at)
    (wait_ms,) = _WAIT.unpack_from(payload, at)
    complete(payload, at + _WAIT.size)
    return Reauthenticate(
        epoch=epoch,
        client_id=client_id,
        method=method,
        data=data,
        peer=peer,
        certificate_thumbprint=thumbprint,
        wait_ms=wait_ms,
    )


def pack_continue(frame: Continue) -> bytes:
    """Make the payload of a CONTINUE."""
    head = _EPOCH.pack(frame.epoch) + pack_text(frame.client_id)
    return head + pack_bytes(frame.data) + _WAIT.pack(frame.wait_ms)


def read_continue(payload: bytes) -> Continue:
    """Read the payload of a CONTINUE."""
    (epoch,) = _EPOCH.unpack_from(payload)
    client_id, at = text_at(payload, _EPOCH.size)
    data, at = bytes_at(payload, at)
    (wait_ms,) = _WAIT.unpack_from(payload, at)
    complete(payload, at + _WAIT.size)
    return Continue(epoch=epoch, client_id=client_id, data=data, wait_ms=wait_ms)
