# SPDX-License-Identifier: Apache-2.0
"""Rich authorization details of type ``mqtt`` (RFC 9396 sections 2 and 9.1).

    {"type": "mqtt", "locations": [broker, ...], "actions": ["publish", "subscribe"],
     "topics": [filter, ...]}

Each object allows each of its actions on each of its topics.
``locations`` may be absent: then the object is for every broker. docs/rights.md has the schema.
A malformed object of this type refuses the token, as section 5 asks of who issues it: a member
that nobody here knows may have been meant to restrict.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable
from dataclasses import dataclass
from functools import reduce
from operator import or_
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, Final

from keyfob.authorization.permissions import MAX_RULES, Form, Operation, Rule
from keyfob.authorization.syntaxes.reading import (
    Reading,
    granted_filter,
    invalid,
    texts,
    too_many,
)

if TYPE_CHECKING:
    from keyfob.tokens.claims import Claims

__all__ = ["CLAIM", "MAX_DETAILS", "TYPE", "AuthorizationDetails", "parse_details"]

CLAIM: Final = "authorization_details"
"""The claim (RFC 9396 section 9.1)."""

TYPE: Final = "mqtt"
"""The ``type`` that is read here."""

MAX_DETAILS: Final = MAX_RULES
"""As many objects, of any type, as there may be rules: each of ours makes at least one."""

_MEMBERS: Final = frozenset({"type", "locations", "actions", "topics"})
_ACTIONS: Final = MappingProxyType({"publish": Operation.PUBLISH, "subscribe": Operation.SUBSCRIBE})


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizationDetails:
    """The syntax.

    Args:
        locations: What this broker is called there, compared as text.
    """

    name: ClassVar[str] = "authorization_details"
    form: ClassVar[Form] = Form.ALLOW_ONLY

    locations: tuple[str, ...] = ()

    def read(self, claims: Claims, device: str) -> Reading:  # noqa: ARG002 - a syntax may need it
        """Return what the claim says; a token without it says nothing."""
        if CLAIM not in claims.members:
            return Reading()
        return parse_details(claims.members[CLAIM], self.locations)

    def looks_at(self, claims: Claims) -> Hashable | None:
        """Tell tokens apart only by whether they have the claim."""
        return None if CLAIM in claims.members else ()


def parse_details(value: object, locations: Collection[str] = ()) -> Reading:
    """Return what an ``authorization_details`` claim says.

    Args:
        value: The claim, as strict JSON gives it.
        locations: What this broker is called there.

    Raises:
        KeyfobError: ``permissions_invalid`` or ``too_many_rules``.
    """
    if not isinstance(value, list):
        raise invalid(f"{CLAIM} is not a list")
    if len(value) > MAX_DETAILS:
        raise too_many(f"{CLAIM} has {len(value)} objects, more than {MAX_DETAILS}")
    rules: list[Rule] = []
    ignored: list[tuple[str, str]] = []
    for place, detail in enumerate(value):
        where = f"{CLAIM}[{place}]"
        kind = detail.get("type") if isinstance(detail, dict) else None
        if not isinstance(detail, dict) or not isinstance(kind, str):
            raise invalid(f"{where} is not an object with a type")
        if kind != TYPE:
            ignored.append((f"{where} of type {kind}", f"its type is not {TYPE}"))
            continue
        given = _rules(detail, where)
        if "locations" not in detail or not set(detail["locations"]).isdisjoint(locations):
            rules += given
        else:
            ignored.append((where, "its locations do not name this broker"))
    return Reading(rules=tuple(rules), ignored=tuple(ignored))


def _rules(detail: dict[str, object], where: str) -> list[Rule]:
    """Return the rules of one object of our type, all of it checked."""
    if unknown := sorted(detail.keys() - _MEMBERS):
        raise invalid(f"{where} has the unknown member {unknown[0]!a:.60}")
    if "locations" in detail:
        texts(detail["locations"], f"{where}.locations")
    actions = texts(detail.get("actions"), f"{where}.actions")
    for action in actions:
        if action not in _ACTIONS:
            raise invalid(f"{where} has the unknown action {action!a:.60}")
    operations = reduce(or_, (_ACTIONS[action] for action in actions))
    return [
        Rule(
            operations=operations,
            filter=granted_filter(topic, operations, f"{where}.topics"),
            source=where,
        )
        for topic in texts(detail.get("topics"), f"{where}.topics")
    ]
