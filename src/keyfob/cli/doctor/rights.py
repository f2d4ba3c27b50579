# SPDX-License-Identifier: Apache-2.0
"""What a token allows, by the ways to write rights into one that Keyfob reads; no I/O."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from keyfob.authorization.permissions import Effect, Form, Operation, Permissions, Rule
from keyfob.authorization.syntaxes.aif import Aif
from keyfob.authorization.syntaxes.authorization_details import AuthorizationDetails
from keyfob.authorization.syntaxes.emqx_acl import EmqxAcl
from keyfob.authorization.syntaxes.rabbitmq import RabbitMq
from keyfob.authorization.syntaxes.reading import Reading, Syntax
from keyfob.authorization.syntaxes.scopes import CONNECT, NativeScopes, parse_scopes
from keyfob.cli.doctor.finding import Section, Severity, found
from keyfob.cli.doctor.token_checks import Seen
from keyfob.cli.shown import shown
from keyfob.errors import KeyfobError
from keyfob.mqtt.topics import TopicFilter, overlaps
from keyfob.tokens.claims import Claims

__all__ = ["Allowed", "read_rights"]

_SYNTAXES: Final[tuple[Syntax, ...]] = (
    NativeScopes(),
    AuthorizationDetails(),
    Aif(),
    RabbitMq(),
)
_EMQX: Final = EmqxAcl()


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """What a token allows.

    Attributes:
        permissions: As a broker would enforce it; None: that is not known.
    """

    permissions: Permissions | None = None

    def granted(self, operation: Operation) -> list[Rule]:
        """Return the rules that allow an operation."""
        rules = self.permissions.rules if self.permissions else ()
        return [
            rule for rule in rules if operation in rule.operations and rule.effect is Effect.ALLOW
        ]

    def knows_nothing_of(self, topic_filter: TopicFilter) -> bool:
        """Tell whether it is known that a filter is not allowed, nor any part of it."""
        if self.permissions is None:
            return False
        granted = self.granted(Operation.SUBSCRIBE)
        return not any(overlaps(rule.filter, topic_filter) for rule in granted)


def read_rights(seen: Seen, device: str) -> tuple[Allowed, Section]:
    """Return what a token allows, and tell it.

    Args:
        seen: The token.
        device: Who it is for, for placeholders; empty: not known.
    """
    if not seen.is_jwt:
        return _beside_opaque(seen)
    try:
        claims = Claims.parse(seen.claims)
    except KeyfobError as error:
        return Allowed(), found(
            "rights_unreadable",
            f"its claims are not as RFC 7519 has them ({error.message}): nobody reads rights there",
            "have the server write them so",
        )
    readings: list[tuple[str, Reading]] = []
    section = Section()
    for syntax in _SYNTAXES if claims.get(_EMQX.claim) is None else (_EMQX,):
        try:
            readings.append((syntax.name, syntax.read(claims, device)))
        except KeyfobError as error:
            section |= found(
                "rights_unreadable",
                f"what it says by {syntax.name} cannot be read: {error.message}",
                "correct what the server writes there",
            )
    return _told(readings, claims.scope, section)


def _beside_opaque(seen: Seen) -> tuple[Allowed, Section]:
    """What the answer's scope says is all that a bearer of an opaque token can know."""
    scope = seen.token.scope
    if not scope:
        return Allowed(), Section(facts={"rights": "not known: the token is opaque"})
    parsed = parse_scopes(scope)
    allowed = Allowed(permissions=Permissions.allow_only(parsed.rules)) if parsed.rules else None
    facts = {"rights": "as the scope beside the token says", **_lists(parsed.rules)}
    return allowed or Allowed(), Section(facts=facts)


def _told(
    readings: list[tuple[str, Reading]], scope: tuple[str, ...], section: Section
) -> tuple[Allowed, Section]:
    rules = [rule for _, reading in readings for rule in reading.rules]
    syntaxes = [name for name, reading in readings if reading.rules]
    ignored = [
        f"{shown(what)}: {shown(why)}"
        for name, reading in readings
        for what, why in reading.ignored
        if reading.rules or name == "scopes"
    ]
    if ignored:
        section |= found(
            "rights_unreadable",
            f"something in it gives no right: {'; '.join(ignored[:3])}",
            "correct what the server writes there",
        )
    if CONNECT not in scope:
        section |= found(
            "connect_scope_missing",
            f"its scope has no {CONNECT}, which a guard requires unless required_scopes of its"
            " [[issuer]] says otherwise",
            "ask for it with --scope, or have the server give it; or write required_scopes = []",
            Severity.NOTE,
        )
    if not rules:
        return Allowed(), section | _none()
    ordered = any(reading.form is Form.FIRST_MATCH for _, reading in readings)
    make = Permissions.first_match if ordered else Permissions.allow_only
    try:
        permissions = make(rules)
    except KeyfobError as error:
        return Allowed(), section | found(
            "rights_unreadable", error.message, "give the device less, and shorter, filters"
        )
    facts: dict[str, object] = {"rights": f"by {', '.join(syntaxes)}", **_lists(rules)}
    return Allowed(permissions=permissions), Section(facts=facts) | section


def _lists(rules: list[Rule] | tuple[Rule, ...]) -> dict[str, object]:
    return {
        "publish": list(_filters(rules, Operation.PUBLISH)),
        "subscribe": list(_filters(rules, Operation.SUBSCRIBE)),
    }


def _filters(rules: list[Rule] | tuple[Rule, ...], operation: Operation) -> Iterator[str]:
    for rule in rules:
        if operation in rule.operations:
            deny = "" if rule.effect is Effect.ALLOW else "not "
            yield f"{deny}{shown(str(rule.filter))}"


def _none() -> Section:
    return Section(facts={"rights": "none that Keyfob reads", "publish": [], "subscribe": []}) | (
        found(
            "rights_none",
            "nothing in it is a right that Keyfob reads: by itself it allows no topic",
            "give the device rights at the server, or let a policy of the guard map what the token"
            " has (docs/rights.md)",
            Severity.NOTE,
        )
    )
