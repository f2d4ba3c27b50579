# SPDX-License-Identifier: Apache-2.0
"""A policy: what the claims of a verified token allow its device, and why.

Native scopes speak for themselves.
Any other scope, role or claim value is given a meaning by a table of ``PolicyRule``: it stands for
topic filters, with placeholders that are filled from the token and never from the connection.
Whatever gives no permission is ignored, never widened, and recorded with its reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from keyfob.authorization.decision import Step
from keyfob.authorization.permissions import Operation, Permissions, Rule
from keyfob.authorization.syntaxes.scopes import CONNECT, IgnoredScope, parse_scopes
from keyfob.errors import ConfigError, TopicError
from keyfob.mqtt.topics import expand, placeholders

if TYPE_CHECKING:
    from keyfob.tokens.claims import Claims

__all__ = ["Granted", "Policy", "PolicyRule"]

_PLACEHOLDER: Final = re.compile("device|sub|client_id|claim:(.+)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRule:
    """One row of a policy table: what one scope, or one value of a claim, stands for.

    Args:
        kind: ``scope``, or ``claim`` for the value of a claim or an entry of its list.
        claim: The claim, with dots between its levels, such as ``realm_access.roles``.
        value: The scope, or the value.
        publish: Templates of topic filters that may be published to.
        subscribe: Templates of topic filters that may be subscribed to.

    Raises:
        ConfigError: A template that can never give a topic filter, or no claim.
    """

    kind: Literal["scope", "claim"]
    claim: str = ""
    value: str
    publish: tuple[str, ...] = ()
    subscribe: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.value or (self.kind == "claim") != bool(self.claim):
            raise ConfigError("a policy row names a scope, or a claim and its value")
        for operation, template in self.templates():
            _check_template(self.source, operation, template)

    @property
    def source(self) -> str:
        """The row's name, for explanations."""
        return f"scope {self.value}" if self.kind == "scope" else f"{self.claim}={self.value}"

    def templates(self) -> Iterator[tuple[Operation, str]]:
        """Return every template with what it is about."""
        for template in self.publish:
            yield Operation.PUBLISH, template
        for template in self.subscribe:
            yield Operation.SUBSCRIBE, template

    def applies(self, claims: Claims) -> bool:
        """Tell whether the token has this row's scope or value."""
        if self.kind == "scope":
            return self.value in claims.scope
        found = claims.get(self.claim)
        return self.value in found if isinstance(found, list) else found == self.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """What a token allows, with what it takes to explain it.

    Args:
        permissions: What it allows.
        ignored: What gave no permission and why, as it came: ``steps`` escapes it.
    """

    permissions: Permissions
    ignored: tuple[tuple[str, str], ...] = ()

    @property
    def steps(self) -> tuple[Step, ...]:
        """One step for each permission, then one for each thing that gave none.

        Built when asked for: most decisions are never explained.
        """
        given = tuple(
            Step(check="permission", ok=True, detail=_told(rule)) for rule in self.permissions.rules
        )
        left_out = tuple(
            Step(check="permission", ok=False, detail=f"{_shown(what)} is ignored: {why}")
            for what, why in self.ignored
        )
        nothing = Step(check="permission", ok=False, detail="the token allows no topic")
        return (given or (nothing,)) + left_out


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How the tokens of one issuer are read.

    Args:
        native_scopes: Whether ``mqtt.publish:`` and ``mqtt.subscribe:`` scopes count.
        rules: The policy table.
    """

    native_scopes: bool = True
    rules: tuple[PolicyRule, ...] = ()
    _scopes: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        known = frozenset(rule.value for rule in self.rules if rule.kind == "scope")
        object.__setattr__(self, "_scopes", known)

    def permissions(self, claims: Claims, device: str) -> Granted:
        """Return what the claims of a verified token allow ``device``.

        Raises:
            KeyfobError: With code ``too_many_rules`` where it is more than a broker can hold.
        """
        rules: list[Rule] = []
        ignored = [
            (f"scope {entry.scope}", entry.why)
            for entry in self._native(claims, rules)
            if entry.scope not in self._scopes
        ]
        for row in self.rules:
            if row.applies(claims):
                _expand_row(row, claims, device, rules, ignored)
        return Granted(permissions=Permissions.allow_only(rules), ignored=tuple(ignored))

    def _native(self, claims: Claims, rules: list[Rule]) -> Iterable[IgnoredScope]:
        """Add what native scopes give to ``rules``; return the scopes that gave nothing."""
        if self.native_scopes:
            parsed = parse_scopes(claims.scope)
            rules.extend(parsed.rules)
            return parsed.ignored
        why = "native scopes are off for this issuer, and no policy row names it"
        return (IgnoredScope(scope=scope, why=why) for scope in claims.scope if scope != CONNECT)


def _expand_row(
    row: PolicyRule,
    claims: Claims,
    device: str,
    rules: list[Rule],
    ignored: list[tuple[str, str]],
) -> None:
    for operation, template in row.templates():
        try:
            topic_filter = expand(template, _values(template, claims, device))
        except TopicError as error:
            ignored.append((f"{template} of {row.source}", error.message))
        else:
            rules.append(Rule(operations=operation, filter=topic_filter, source=row.source))


def _values(template: str, claims: Claims, device: str) -> Mapping[str, str]:
    """Return the values of the placeholders in ``template`` that the token has as a text."""
    known: dict[str, object] = {
        "device": device,
        "sub": claims.subject,
        "client_id": claims.client_id,
    }
    for name in placeholders(template):
        if name not in known:
            known[name] = claims.get(name.removeprefix("claim:"))
    return {name: value for name, value in known.items() if isinstance(value, str)}


def _check_template(source: str, operation: Operation, template: str) -> None:
    """Refuse a template that no token could fill, when the policy is made and not at a CONNECT."""
    names = placeholders(template)
    for name in names:
        if not _PLACEHOLDER.fullmatch(name):
            raise ConfigError(f"policy for {source}: there is no placeholder {{{name}}}")
    try:
        sample = expand(template, dict.fromkeys(names, "x"))
    except TopicError as error:
        raise ConfigError(f"policy for {source}: {error.message}") from error
    if operation is Operation.PUBLISH and sample.share_group is not None:
        raise ConfigError(f"policy for {source}: a shared subscription cannot be published to")


def _told(rule: Rule) -> str:
    verb = "publish" if rule.operations is Operation.PUBLISH else "subscribe"
    return f"{verb} {_shown(str(rule.filter))} by {_shown(rule.source)}"


def _shown(text: str) -> str:
    """Return ``text`` escaped and shortened: a token may hold anything, a log line may not."""
    return repr(text if len(text) <= 120 else text[:117] + "...")[1:-1]
