# SPDX-License-Identifier: Apache-2.0
"""RabbitMQ's scopes: ``<prefix>(read|write|configure):<vhost>/<exchange>/<routing key>``.

``write`` of a routing key is publishing and ``read`` of one is subscribing.
Each of the three parts is a pattern (``rabbitmq_patterns``); in a scope, ``{name}`` stands for a
claim of the token that is a string, and ``{vhost}`` for the virtual host.
Scopes about queues, about other exchanges or virtual hosts, without a routing key, and tags say
nothing about topics here. A pattern is translated to a filter within it; one without gives nothing.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, Final

from keyfob.authorization.permissions import Form, Operation, Rule
from keyfob.authorization.syntaxes.rabbitmq_details import CLAIM, scopes_in_details
from keyfob.authorization.syntaxes.rabbitmq_patterns import Pattern
from keyfob.authorization.syntaxes.reading import Reading, too_many
from keyfob.errors import ConfigError, TopicError
from keyfob.mqtt.topics import MAX_PLACEHOLDER_BYTES

if TYPE_CHECKING:
    from keyfob.tokens.claims import Claims

__all__ = ["MAX_SCOPES", "RabbitMq", "parse_scope"]

MAX_SCOPES: Final = 2048
"""As many as RabbitMQ reads (its ``too_many_scopes``), with those that aliases stand for."""

_OPERATIONS: Final = MappingProxyType(
    {"write": Operation.PUBLISH, "read": Operation.SUBSCRIBE, "configure": None, "tag": None}
)
_VARIABLE: Final = re.compile(r"\{([^{}.*]*)\}")
# A value fills a part of one word: it adds no star, no word, no part, and is decoded by nobody.
_NEVER_IN_A_VALUE: Final = re.compile(r"[*./%+#{}\0]")


@dataclass(frozen=True, slots=True, kw_only=True)
class RabbitMq:
    """The syntax, with the settings of RabbitMQ's OAuth 2.0 plugin.

    Args:
        resource_server_id: What this broker is called.
        scope_prefix: What its scopes begin with; None is the identifier and a dot.
        vhost: The virtual host that stands for this broker.
        exchange: The exchange that stands for its topics.
        aliases: The scopes that a scope stands for, prefix and all; an alias of an alias is none.
        resource_server_type: The ``type`` of its ``authorization_details``; empty: they are not
            read.

    Raises:
        ConfigError: No virtual host or no exchange.
    """

    name: ClassVar[str] = "rabbitmq"
    form: ClassVar[Form] = Form.ALLOW_ONLY

    resource_server_id: str = "rabbitmq"
    scope_prefix: str | None = None
    vhost: str = "/"
    exchange: str = "amq.topic"
    aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    resource_server_type: str = ""

    def __post_init__(self) -> None:
        if not (self.vhost and self.exchange):
            raise ConfigError('rabbitmq: name a vhost and an exchange, such as "/" and "amq.topic"')
        frozen = {name: tuple(scopes) for name, scopes in self.aliases.items()}
        object.__setattr__(self, "aliases", MappingProxyType(frozen))

    @property
    def prefix(self) -> str:
        """What the scopes begin with."""
        own = self.scope_prefix
        return f"{self.resource_server_id}." if own is None else own

    def read(self, claims: Claims, device: str) -> Reading:  # noqa: ARG002 - a syntax may need it
        """Return what the scopes say, and the details where their type is configured."""
        written = [*self._scopes(claims), *self._details(claims)]
        if len(written) > MAX_SCOPES:
            raise too_many(f"{len(written)} RabbitMQ scopes are more than {MAX_SCOPES}")
        rules: list[Rule] = []
        ignored: list[tuple[str, str]] = []
        for source, text in written:
            try:
                pattern, operation = parse_scope(text, claims.members, self.vhost, self.exchange)
                topic_filter = pattern.topic_filter()
            except TopicError as error:
                ignored.append((source, error.message))
                continue
            rules.append(Rule(operations=operation, filter=topic_filter, source=source))
            if not pattern.is_told_whole:
                ignored.append((f"the rest of {source}", f"MQTT can say {topic_filter} of it"))
        known = frozenset(scope for scope in claims.scope if self._meant_by(scope))
        return Reading(rules=tuple(rules), ignored=tuple(ignored), scopes=known)

    def looks_at(self, claims: Claims) -> Hashable | None:
        """Look at the claims that stand in braces, and at details not at all."""
        if self.resource_server_type and CLAIM in claims.members:
            return None
        names = {name for _, text in self._scopes(claims) for name in _VARIABLE.findall(text)}
        values = ((name, claims.members.get(name)) for name in sorted(names))
        return tuple((name, value) for name, value in values if isinstance(value, str))

    def _scopes(self, claims: Claims) -> list[tuple[str, str]]:
        """Return the scopes for this broker without their prefix, each with its name for people."""
        return [
            (f"scope {scope}" if scope.endswith(text) else f"scope {scope}, alias of {text}", text)
            for scope in dict.fromkeys(claims.scope)
            for text in self._meant_by(scope)
        ]

    def _details(self, claims: Claims) -> list[tuple[str, str]]:
        if not self.resource_server_type or CLAIM not in claims.members:
            return []
        value = claims.members[CLAIM]
        return scopes_in_details(value, self.resource_server_type, self.resource_server_id)

    def _meant_by(self, scope: str) -> list[str]:
        """Return what ``scope`` and its aliases say to this broker, without the prefix."""
        written = (scope, *self.aliases.get(scope, ()))
        found = [text.removeprefix(self.prefix) for text in written if self._is_ours(text)]
        return list(dict.fromkeys(found))

    def _is_ours(self, text: str) -> bool:
        # With an empty prefix any scope could be ours, and what it says has to tell.
        kind = text.removeprefix(self.prefix).partition(":")[0]
        return text.startswith(self.prefix) and (bool(self.prefix) or kind in _OPERATIONS)


def parse_scope(
    text: str, members: Mapping[str, object], vhost: str, exchange: str
) -> tuple[Pattern, Operation]:
    """Return the routing keys that one scope is about, and what it lets do with them.

    Args:
        text: The scope without its prefix.
        members: The claims, for what stands in braces.
        vhost: The virtual host that has to match.
        exchange: The exchange that has to match.

    Raises:
        TopicError: It says nothing about topics here, with the reason.
    """
    kind, _, rest = text.partition(":")
    operation = _OPERATIONS.get(kind)
    if operation is None:
        raise TopicError("only read and write say something about topics")
    parts = _filled(rest, members, vhost).split("/")
    if len(parts) != 3:
        raise TopicError("it is not <vhost>/<exchange>/<routing key>, without which topics need")
    if not Pattern.parse(parts[0]).matches(vhost):
        raise TopicError("it is about another virtual host")
    if not Pattern.parse(parts[1]).matches(exchange):
        raise TopicError("it is about another exchange, or a queue")
    return Pattern.parse(parts[2]), operation


def _filled(text: str, members: Mapping[str, object], vhost: str) -> str:
    """Put values for the names in braces (RabbitMQ takes a name without a value for itself)."""

    def value_of(found: re.Match[str]) -> str:
        name = found[1]
        value = vhost if name == "vhost" else members.get(name)
        if not isinstance(value, str) or not value:
            raise TopicError(f"there is no text for {{{name[:80]}}}", code="placeholder_refused")
        size = len(value.encode("utf-8", "surrogatepass"))
        if _NEVER_IN_A_VALUE.search(value) or size > MAX_PLACEHOLDER_BYTES:
            raise TopicError(
                f"the value of {{{name[:80]}}} is too long or holds one of *./%+#{{}} or U+0000",
                code="placeholder_refused",
            )
        return value

    if re.search("[{}]", _VARIABLE.sub("", text)):
        raise TopicError("a brace without its other one")
    return _VARIABLE.sub(value_of, text)
