# SPDX-License-Identifier: Apache-2.0
"""A policy: what the claims of a verified token allow its device, and why.

An issuer's tokens are read by the syntaxes that are chosen for it, and by its policy table.
What they allow adds up, except where a syntax has an order: that one stands alone.
Whatever gives no permission is ignored, never widened, and recorded with its reason.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from keyfob.authorization.decision import Step
from keyfob.authorization.permissions import (
    ANY_QOS,
    ANY_RETAIN,
    Effect,
    Form,
    Operation,
    Permissions,
    Rule,
)
from keyfob.authorization.policy_table import PolicyRule, PolicyTable
from keyfob.authorization.syntaxes.aif import Aif
from keyfob.authorization.syntaxes.authorization_details import AuthorizationDetails
from keyfob.authorization.syntaxes.emqx_acl import EmqxAcl
from keyfob.authorization.syntaxes.rabbitmq import RabbitMq
from keyfob.authorization.syntaxes.reading import Syntax, shown
from keyfob.authorization.syntaxes.scopes import CONNECT, NativeScopes
from keyfob.errors import ConfigError

if TYPE_CHECKING:
    from keyfob.tokens.claims import Claims

__all__ = ["SYNTAXES", "Granted", "Policy", "PolicyRule"]

SYNTAXES: Final[Mapping[str, type[Syntax]]] = MappingProxyType(
    {syntax.name: syntax for syntax in (NativeScopes, AuthorizationDetails, Aif, EmqxAcl, RabbitMq)}
)
"""Every syntax by the name that ``rights`` has for it; its fields are its options."""

_VERBS: Final = MappingProxyType({"publish": Operation.PUBLISH, "subscribe": Operation.SUBSCRIBE})


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
        rules = self.permissions.rules
        given = tuple(
            Step(check="permission", ok=rule.effect is Effect.ALLOW, detail=_told(rule))
            for rule in rules
        )
        left_out = tuple(
            Step(check="permission", ok=False, detail=f"{shown(what)} is ignored: {shown(why)}")
            for what, why in self.ignored
        )
        nothing = Step(check="permission", ok=False, detail="the token allows no topic")
        allows = any(rule.effect is Effect.ALLOW for rule in rules)
        return (given if allows else (*given, nothing)) + left_out


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How the tokens of one issuer are read.

    Args:
        rights: The syntaxes, each at most once.
        rules: The policy table.

    Raises:
        ConfigError: A syntax that stands twice, or one that has an order and does not stand alone.
    """

    rights: tuple[Syntax, ...] = (NativeScopes(),)
    rules: tuple[PolicyRule, ...] = ()
    _parts: tuple[Syntax, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        names = [syntax.name for syntax in self.rights]
        for name in names:
            if names.count(name) > 1:
                raise ConfigError(f"rights: {name} stands twice")
        table = (PolicyTable(self.rules),) if self.rules else ()
        parts = (*self.rights, *table)
        for part in parts:
            if part.form is Form.FIRST_MATCH and len(parts) > 1:
                raise ConfigError(
                    f"rights: {part.name} can deny, and its rules have an order, so it stands"
                    ' alone: write rights = ["' + part.name + '"] and no policy rows'
                )
        object.__setattr__(self, "_parts", parts)

    def permissions(self, claims: Claims, device: str) -> Granted:
        """Return what the claims of a verified token allow ``device``.

        Raises:
            KeyfobError: With code ``permissions_invalid`` where a syntax finds what it cannot
                read, with ``too_many_rules`` where it is more than a broker can hold.
        """
        rules: list[Rule] = []
        ignored: list[tuple[str, str]] = []
        known = {CONNECT}
        form = Form.ALLOW_ONLY
        for part in self._parts:
            reading = part.read(claims, device)
            rules += reading.rules
            ignored += reading.ignored
            known |= reading.scopes
            form = max(form, reading.form)
        for scope in dict.fromkeys(claims.scope):
            if scope not in known:
                ignored.append((f"scope {scope}", "no syntax and no policy row reads it"))
        return Granted(permissions=Permissions(form, tuple(rules)), ignored=tuple(ignored))

    def reads(self, claims: Claims) -> Hashable | None:
        """Return all that ``permissions`` looks at besides the device.

        Two tokens of a device for which this is the same are granted the same. None: it is not
        worth telling, each has to be read.
        """
        looked_at = tuple(part.looks_at(claims) for part in self._parts)
        if None in looked_at:
            return None
        return claims.scope, claims.subject, claims.client_id, looked_at


def _told(rule: Rule) -> str:
    verbs = [verb for verb, operation in _VERBS.items() if operation in rule.operations]
    words = [" and ".join(verbs), shown(str(rule.filter))]
    if rule.effect is Effect.DENY:
        words.insert(0, "deny")
    if rule.literal:
        words.append("literally")
    if rule.qos != ANY_QOS:
        words.append("at QoS " + ", ".join(str(qos) for qos in range(3) if rule.qos >> qos & 1))
    if rule.retain != ANY_RETAIN:
        words.append("retained" if rule.retain == 2 else "not retained")
    return f"{' '.join(words)} by {shown(rule.source)}"
