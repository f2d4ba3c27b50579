# SPDX-License-Identifier: Apache-2.0
"""The policy table: what scopes, roles and other values of claims stand for.

A row gives one scope, or one value of a claim, a meaning in topic filters, with placeholders that
are filled from the token and never from the connection.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Final, Literal

from keyfob.authorization.permissions import Form, Operation, Rule
from keyfob.authorization.syntaxes.reading import Reading
from keyfob.errors import ConfigError, TopicError
from keyfob.mqtt.topics import expand, placeholders

if TYPE_CHECKING:
    from keyfob.tokens.claims import Claims

__all__ = ["PolicyRule", "PolicyTable"]

_PLACEHOLDER: Final = re.compile("device|sub|client_id|claim:(.+)", re.DOTALL)
_CLAIM: Final = "claim:"
_BROKEN_POINTER: Final = re.compile("~(?![01])")


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRule:
    """One row of a policy table: what one scope, or one value of a claim, stands for.

    Args:
        kind: ``scope``, or ``claim`` for the value of a claim or an entry of its list.
        claim: The claim, with dots between its levels, such as ``realm_access.roles``, or a JSON
            Pointer (RFC 6901) where a name holds dots: ``/resource_access/my.app/roles``.
        value: The scope, or the value. A text equals texts only, a number numbers, and True true.
        publish: Templates of topic filters that may be published to.
        subscribe: Templates of topic filters that may be subscribed to.

    Raises:
        ConfigError: A template that can never give a topic filter, or no claim.
    """

    kind: Literal["scope", "claim"]
    claim: str = ""
    value: str | bool | int
    publish: tuple[str, ...] = ()
    subscribe: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.value == "" or (self.kind == "claim") != bool(self.claim):
            raise ConfigError("a policy row names a scope, or a claim and its value")
        if self.kind == "scope" and not isinstance(self.value, str):
            raise ConfigError(f"policy for scope {self.value}: a scope is a text")
        if self.claim.startswith("/") and _BROKEN_POINTER.search(self.claim):
            raise ConfigError(f"policy for {self.source}: in a JSON Pointer write ~0 for ~")
        for operation, template in self.templates():
            _check_template(self.source, operation, template)

    @property
    def source(self) -> str:
        """The row's name, for explanations."""
        if self.kind == "scope":
            return f"scope {self.value}"
        value = str(self.value)
        return f"{self.claim}={value.lower() if isinstance(self.value, bool) else value}"

    def templates(self) -> Iterator[tuple[Operation, str]]:
        """Return every template with what it is about."""
        for template in self.publish:
            yield Operation.PUBLISH, template
        for template in self.subscribe:
            yield Operation.SUBSCRIBE, template

    def paths(self) -> Iterator[str]:
        """Return the claims that the row looks at, besides those that every token has."""
        if self.kind == "claim":
            yield self.claim
        for _, template in self.templates():
            for name in placeholders(template):
                if name.startswith(_CLAIM):
                    yield name.removeprefix(_CLAIM)

    def applies(self, claims: Claims) -> bool:
        """Tell whether the token has this row's scope or value."""
        if self.kind == "scope":
            return self.value in claims.scope
        found = claims.get(self.claim)
        return any(map(self._equals, found)) if isinstance(found, list) else self._equals(found)

    def _equals(self, found: object) -> bool:
        # In Python 1 == True, in JSON nothing equals another type.
        return type(found) is type(self.value) and found == self.value


@dataclass(frozen=True, slots=True)
class PolicyTable:
    """The rows of one issuer; every row that applies gives what it has.

    Args:
        rows: The rows.
    """

    name: ClassVar[str] = "policy"
    form: ClassVar[Form] = Form.ALLOW_ONLY

    rows: tuple[PolicyRule, ...] = ()
    _scopes: frozenset[str] = field(init=False, repr=False, compare=False)
    _paths: tuple[str, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        scopes = frozenset(str(row.value) for row in self.rows if row.kind == "scope")
        paths = dict.fromkeys(path for row in self.rows for path in row.paths())
        object.__setattr__(self, "_scopes", scopes)
        object.__setattr__(self, "_paths", tuple(paths))

    def read(self, claims: Claims, device: str) -> Reading:
        """Return what the rows that apply give, and the templates that the token cannot fill."""
        rules: list[Rule] = []
        ignored: list[tuple[str, str]] = []
        for row in self.rows:
            if row.applies(claims):
                _expand_row(row, claims, device, rules, ignored)
        return Reading(rules=tuple(rules), ignored=tuple(ignored), scopes=self._scopes)

    def looks_at(self, claims: Claims) -> Hashable | None:
        """Look at the claims that rows and placeholders name."""
        return tuple(_comparable(claims.get(path)) for path in self._paths)


def _comparable(value: object) -> Hashable:
    """Return what of a claim can matter to a row: scalars with their types, one level deep."""
    if isinstance(value, list):
        return tuple(_comparable(None if isinstance(entry, list) else entry) for entry in value)
    return type(value), value if isinstance(value, str | bool | int) else None


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
            known[name] = claims.get(name.removeprefix(_CLAIM))
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
