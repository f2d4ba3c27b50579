# SPDX-License-Identifier: Apache-2.0
"""AIF-MQTT: the scope of RFC 9431 section 2.3, an authorization information format (RFC 9237).

    [["topic1", ["pub", "sub"]], ["topic2/#", ["pub"]], ["+/topic3", ["sub"]]]

In a JWT the ``scope`` is the base64url of that JSON, without padding, and nothing beside it.
What is no base64url of a JSON array is an ordinary scope, and nothing here reads it.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, Final

from keyfob.authorization.permissions import (
    MAX_FILTER_BYTES,
    MAX_RULES,
    Form,
    Operation,
    Rule,
)
from keyfob.authorization.syntaxes.reading import (
    Reading,
    granted_filter,
    invalid,
    texts,
    too_many,
)
from keyfob.tokens import base64url, json_strict

if TYPE_CHECKING:
    from keyfob.tokens.claims import Claims

__all__ = ["MAX_CHARS", "MAX_ENTRIES", "Aif", "parse_aif"]

MAX_ENTRIES: Final = MAX_RULES
"""Pairs of filter and permissions; each makes one rule."""

MAX_CHARS: Final = 2 * MAX_FILTER_BYTES
"""The longest scope that is looked into: base64url and JSON around filters add no more."""

_PERMISSIONS: Final = MappingProxyType({"pub": Operation.PUBLISH, "sub": Operation.SUBSCRIBE})


@dataclass(frozen=True, slots=True)
class Aif:
    """The syntax; it has no options."""

    name: ClassVar[str] = "aif"
    form: ClassVar[Form] = Form.ALLOW_ONLY

    def read(self, claims: Claims, device: str) -> Reading:  # noqa: ARG002 - a syntax may need it
        """Return what the scope says; one that is no AIF says nothing."""
        return parse_aif(claims.scope)

    def looks_at(self, claims: Claims) -> Hashable | None:  # noqa: ARG002 - only at the scope
        """Look at nothing but the scope."""
        return ()


def parse_aif(scope: Sequence[str]) -> Reading:
    """Return what the values of a scope say.

    Raises:
        KeyfobError: ``permissions_invalid`` for an AIF beside other scopes, or one whose entries
            are not what RFC 9431 says; ``too_many_rules`` above a bound.
    """
    arrays = [array for value in scope if (array := _array_in(value)) is not None]
    if not arrays:
        return Reading()
    if len(scope) > 1:
        raise invalid("an AIF scope stands beside other scopes (RFC 9431 section 2.3)")
    if len(arrays[0]) > MAX_ENTRIES:
        raise too_many(f"the AIF scope has {len(arrays[0])} entries, more than {MAX_ENTRIES}")
    rules = tuple(_rule(entry, f"AIF scope[{place}]") for place, entry in enumerate(arrays[0]))
    return Reading(rules=rules, scopes=frozenset(scope))


def _array_in(scope: str) -> list[object] | None:
    """Return the JSON array whose base64url ``scope`` is, or None where it is none."""
    if len(scope) > MAX_CHARS:
        raise too_many(f"a scope has {len(scope)} characters, more than {MAX_CHARS}")
    try:
        value = json_strict.loads(base64url.decode(scope.encode("ascii")))
    except ValueError:
        return None
    return value if isinstance(value, list) else None


def _rule(entry: object, where: str) -> Rule:
    if not isinstance(entry, list) or len(entry) != 2 or not isinstance(entry[0], str):
        raise invalid(f"{where} is not a topic filter and its permissions")
    words = texts(entry[1], f"{where}[1]")
    if not _PERMISSIONS.keys() >= set(words):
        raise invalid(f"{where} has a permission other than pub and sub")
    operations = reduce(or_, (_PERMISSIONS[word] for word in words))
    return Rule(
        operations=operations, filter=granted_filter(entry[0], operations, where), source=where
    )
