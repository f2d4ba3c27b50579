# SPDX-License-Identifier: Apache-2.0
"""The fields that frames of the guard link are made of: text, bytes, Permissions, Grant.

``pack_*`` makes the bytes of a field; ``*_at`` reads the one that starts at an offset and says
where the next one does. Besides ``ProtocolError`` they let pass what ``wire`` turns into it:
``struct.error``, ``UnicodeError``, and the errors of permissions and filters that cannot be.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from keyfob.authorization.permissions import (
    MAX_RULES,
    Effect,
    Form,
    Operation,
    Permissions,
    Rule,
)
from keyfob.brokers.mosquitto.frames import Grant
from keyfob.errors import ProtocolError
from keyfob.mqtt.topics import TopicFilter

__all__ = [
    "MAX_FIELD",
    "bytes_at",
    "complete",
    "grant_at",
    "pack_bytes",
    "pack_grant",
    "pack_text",
    "text_at",
    "untrusted_text_at",
]

MAX_FIELD: Final = 65_535
"""The longest field in bytes: its length is a u16."""

MAX_UNTRUSTED: Final = 256
"""Bytes read of text that anybody may have made up; an address has at most 46 characters."""

_U16: Final = Struct(">H")
_EXPIRY: Final = Struct(">q")
_PERMISSIONS: Final = Struct(">BH")
_RULE: Final = Struct(">BBBBBH")

_TOKEN: Final = Struct(">B")

_LITERAL: Final = 1
_HAS_CLIENT: Final = 8
_KINDS: Final = (None, "", "jwk", "jkt", "x5t#S256")
"""What a token is bound to, by the number that the link has for it."""
_OPERATIONS: Final = tuple(Operation(bits) for bits in range(4))


def pack_bytes(value: bytes) -> bytes:
    """``value`` behind its u16 length."""
    if len(value) > MAX_FIELD:
        raise ProtocolError(f"a field of {len(value)} bytes does not fit into a frame")
    return _U16.pack(len(value)) + value


def pack_text(value: str) -> bytes:
    """``value`` in UTF-8 behind its u16 length."""
    # Like a lone surrogate, which encode() refuses: JSON can hold it, and the plugin would end the
    # link of all clients on it.
    if "\0" in value:
        raise ProtocolError("text with U+0000 does not fit into a frame")
    return pack_bytes(value.encode())


def bytes_at(payload: bytes, at: int) -> tuple[bytes, int]:
    """The field that starts at ``at``, and where the next one does."""
    (size,) = _U16.unpack_from(payload, at)
    end = at + 2 + size
    if end > len(payload):
        raise ProtocolError("a field runs past the end of its frame")
    return payload[at + 2 : end], end


def text_at(payload: bytes, at: int) -> tuple[str, int]:
    """The text that starts at ``at``, and where the next field does."""
    raw, end = bytes_at(payload, at)
    if b"\0" in raw:
        raise ProtocolError("text with U+0000")
    return raw.decode(), end


def untrusted_text_at(payload: bytes, at: int) -> tuple[str, int]:
    """The text that starts at ``at``, whatever its bytes are, and where the next field does.

    What is not UTF-8 and U+0000 are replaced by U+FFFD, and what is too long is cut: it is there
    to be shown, and ends no link.
    """
    raw, end = bytes_at(payload, at)
    text = raw[:MAX_UNTRUSTED].decode(errors="replace")
    return text.replace("\0", "\ufffd"), end


def complete(payload: bytes, at: int) -> None:
    """Refuse a payload that goes on behind its last field."""
    if at != len(payload):
        raise ProtocolError("bytes left over in a frame")


def _pack_permissions(permissions: Permissions) -> bytes:
    parts = [_PERMISSIONS.pack(permissions.form, len(permissions.rules))]
    for rule in permissions.rules:
        text = str(rule.filter).encode()
        parts.append(
            _RULE.pack(
                rule.effect,
                rule.operations.value,
                rule.literal,
                rule.qos,
                rule.retain,
                len(text),
            )
        )
        parts.append(text)
    return b"".join(parts)


def _rule_at(payload: bytes, at: int, form: int) -> tuple[Rule, int]:
    effect, operations, flags, qos, retain, _ = _RULE.unpack_from(payload, at)
    if effect > 1 or (form == Form.ALLOW_ONLY and effect != Effect.ALLOW):
        raise ProtocolError("a rule with an effect that its form does not have")
    if operations > 3 or flags > _LITERAL or qos > 0b111 or retain > 0b11:
        raise ProtocolError("a rule with a reserved bit set")
    text, end = text_at(payload, at + _RULE.size - 2)
    rule = Rule(
        effect=Effect(effect),
        operations=_OPERATIONS[operations],
        filter=TopicFilter.parse(text),
        literal=flags == _LITERAL,
        qos=qos,
        retain=retain,
    )
    return rule, end


def _permissions_at(payload: bytes, at: int) -> tuple[Permissions, int]:
    form, count = _PERMISSIONS.unpack_from(payload, at)
    if form > Form.FIRST_MATCH:
        raise ProtocolError("permissions of an unknown form")
    if count > MAX_RULES:
        raise ProtocolError("permissions with too many rules")
    at += _PERMISSIONS.size
    rules = []
    for _ in range(count):
        rule, at = _rule_at(payload, at, form)
        rules.append(rule)
    return Permissions(form=Form(form), rules=tuple(rules)), at


def _pack_token(grant: Grant) -> bytes:
    if grant.bound not in _KINDS:
        raise ProtocolError("a grant whose token is bound in a way that the link has no number for")
    flag = _HAS_CLIENT * (grant.client is not None)
    return _TOKEN.pack(_KINDS.index(grant.bound) + flag) + pack_text(grant.client or "")


def _token_at(payload: bytes, at: int) -> tuple[str | None, str | None, int]:
    """The client and the binding of a token, and where the next field starts."""
    (token,) = _TOKEN.unpack_from(payload, at)
    client, at = text_at(payload, at + _TOKEN.size)
    known, kind = token & _HAS_CLIENT, token & ~_HAS_CLIENT
    if kind >= len(_KINDS) or (client and not known):
        raise ProtocolError("a grant of a token that cannot be")
    return client if known else None, _KINDS[kind], at


def pack_grant(grant: Grant) -> bytes:
    """A Grant, its Permissions last."""
    return b"".join(
        (
            _EXPIRY.pack(grant.expires_at),
            pack_text(grant.principal),
            pack_text(grant.issuer),
            pack_text(grant.subject),
            pack_text(grant.token_id),
            _pack_token(grant),
            _pack_permissions(grant.permissions),
        )
    )


def grant_at(payload: bytes, at: int) -> tuple[Grant, int]:
    """The Grant that starts at ``at``, and where the next field does."""
    (expires_at,) = _EXPIRY.unpack_from(payload, at)
    principal, at = text_at(payload, at + _EXPIRY.size)
    issuer, at = text_at(payload, at)
    subject, at = text_at(payload, at)
    token_id, at = text_at(payload, at)
    client, bound, at = _token_at(payload, at)
    permissions, at = _permissions_at(payload, at)
    grant = Grant(
        expires_at=expires_at,
        principal=principal,
        issuer=issuer,
        subject=subject,
        token_id=token_id,
        client=client,
        bound=bound,
        permissions=permissions,
    )
    return grant, at
