# SPDX-License-Identifier: Apache-2.0
"""Native scopes: ``mqtt.connect``, ``mqtt.publish:<filter>`` and ``mqtt.subscribe:<filter>``.

A filter is written into the scope as it is.
What a scope token cannot hold (RFC 6749 section 3.3: a space, ``"``, a backslash, anything outside
printable ASCII), and ``%`` itself, is percent-encoded as UTF-8 (RFC 3986 section 2.1).
Decoding is strict and happens once: ``%2525`` is ``%25``.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple
from urllib.parse import quote, unquote_to_bytes

from keyfob.authorization.permissions import Form, Operation, Rule
from keyfob.authorization.syntaxes.reading import Reading
from keyfob.errors import TopicError
from keyfob.mqtt.topics import TopicFilter, covers

if TYPE_CHECKING:
    from keyfob.tokens.claims import Claims

__all__ = [
    "CONNECT",
    "IgnoredScope",
    "NativeScopes",
    "ParsedScopes",
    "encode_scope",
    "is_scope_token",
    "parse_scope",
    "parse_scopes",
    "scope_covers",
]

CONNECT: Final = "mqtt.connect"
"""The scope that lets a device connect; it allows no topic by itself."""

_OPERATIONS: Final = MappingProxyType(
    {"mqtt.publish": Operation.PUBLISH, "mqtt.subscribe": Operation.SUBSCRIBE}
)
# A device comes back every hour with the same scopes. What is remembered is bounded in number and
# in length, so that no token can fill the memory.
_LONGEST_REMEMBERED: Final = 256
_SCOPE_TOKEN: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")
_BROKEN_ENCODING: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
# What a scope token can hold, but for %.
_UNENCODED: Final = "".join(
    map(chr, (0x21, *range(0x23, 0x25), *range(0x26, 0x5C), *range(0x5D, 0x7F)))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class IgnoredScope:
    """A scope that gave no rule.

    Args:
        scope: The scope as it came; escape it before it is shown.
        why: What is wrong with it.
    """

    scope: str
    why: str


class ParsedScopes(NamedTuple):
    """What a list of scopes says about topics."""

    rules: tuple[Rule, ...]
    ignored: tuple[IgnoredScope, ...]


@dataclass(frozen=True, slots=True)
class NativeScopes:
    """The syntax; it has no options."""

    name: ClassVar[str] = "scopes"
    form: ClassVar[Form] = Form.ALLOW_ONLY

    def read(self, claims: Claims, device: str) -> Reading:  # noqa: ARG002 - a syntax may need it
        """Return what the native scopes say; what is wrong with one is ignored and told."""
        own = [scope for scope in claims.scope if scope.partition(":")[0] in _OPERATIONS]
        parsed = parse_scopes(own)
        ignored = tuple((f"scope {entry.scope}", entry.why) for entry in parsed.ignored)
        return Reading(rules=parsed.rules, ignored=ignored, scopes=frozenset(own))

    def looks_at(self, claims: Claims) -> Hashable | None:  # noqa: ARG002 - only at the scope
        """Look at nothing but the scope."""
        return ()


def is_scope_token(text: str) -> bool:
    """Tell whether ``text`` can stand in a scope (RFC 6749 section 3.3)."""
    return _SCOPE_TOKEN.fullmatch(text) is not None


def parse_scopes(scope: str | Sequence[str]) -> ParsedScopes:
    """Return the rules that native scopes give, and the scopes that gave none.

    ``mqtt.connect`` is in neither list.

    Args:
        scope: The scopes, as one text with spaces between them (RFC 6749 section 3.3) or as a
            list; an entry of a list is one scope and is never cut again.
    """
    entries: Iterable[str] = scope.split(" ") if isinstance(scope, str) else scope
    rules: list[Rule] = []
    ignored: list[IgnoredScope] = []
    for entry in dict.fromkeys(entries):
        if entry in ("", CONNECT):
            continue
        try:
            rules.append(parse_scope(entry))
        except TopicError as error:
            ignored.append(IgnoredScope(scope=entry, why=error.message))
    return ParsedScopes(rules=tuple(rules), ignored=tuple(ignored))


def parse_scope(scope: str) -> Rule:
    """Return the rule that one native scope gives.

    Raises:
        TopicError: It is no scope token, no native scope about topics, or its filter is none.
    """
    return _remembered(scope) if len(scope) <= _LONGEST_REMEMBERED else _parse(scope)


def encode_scope(operation: Operation, topic_filter: TopicFilter) -> str:
    """Return the native scope for one operation on ``topic_filter``; ``parse_scope`` undoes it.

    Raises:
        TopicError: Publishing to a shared subscription.
        ValueError: ``operation`` is not exactly one.
    """
    kind = next((name for name, known in _OPERATIONS.items() if known is operation), None)
    if kind is None:
        raise ValueError(f"a native scope is about one operation, not {operation!r}")
    _check_publishable(operation, topic_filter)
    return f"{kind}:{quote(str(topic_filter), safe=_UNENCODED)}"


def scope_covers(registered: str, requested: str) -> bool:
    """Tell whether who holds the scope ``registered`` may be given ``requested``.

    It may be the same text, or a native scope for the same operation whose filter is covered.
    """
    if registered == requested:
        return True
    try:
        held, wanted = parse_scope(registered), parse_scope(requested)
    except TopicError:
        return False
    return held.operations == wanted.operations and covers(held.filter, wanted.filter)


def _parse(scope: str) -> Rule:
    if not is_scope_token(scope):
        raise TopicError("not a scope token")
    kind, colon, text = scope.partition(":")
    operation = _OPERATIONS.get(kind)
    if operation is None or not colon:
        raise TopicError("not a native scope")
    topic_filter = TopicFilter.parse(_decoded(text))
    _check_publishable(operation, topic_filter)
    return Rule(operations=operation, filter=topic_filter, source=f"scope {scope}")


_remembered = lru_cache(maxsize=4096)(_parse)


def _check_publishable(operation: Operation, topic_filter: TopicFilter) -> None:
    if topic_filter.share_group is not None and operation is Operation.PUBLISH:
        raise TopicError("a shared subscription cannot be published to")


def _decoded(text: str) -> str:
    if "%" not in text:
        return text
    if _BROKEN_ENCODING.search(text):
        raise TopicError("a % without two hexadecimal digits")
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise TopicError("percent-encoded bytes that are not UTF-8") from None
