# SPDX-License-Identifier: Apache-2.0
"""Permissions: the rules that say what one client may publish, subscribe to and be sent.

A set of permissions has one of two forms.
In the *allow-only* form order never matters and removing a rule never allows more.
In the *first-match* form the first rule that has something to say decides; it exists for foreign
syntaxes that can deny.
In both, what no rule allows is refused.

How one rule is compared:

- A filter is compared as MQTT does: it must match the name (publish, delivery) or cover the
  requested filter (SUBSCRIBE, RFC 9431 section 3.3). One rule must do it alone; two rules that
  cover a request together do not.
- A *literal* rule is compared as plain text. It differs only where its text holds a wildcard: then
  it equals no name, and only the SUBSCRIBE that spells it so.
- A rule whose filter has a share group speaks about SUBSCRIBEs of that group, and never about
  PUBLISH. A rule without one speaks about requests of any group.
- A deny rule refuses a SUBSCRIBE that it merely overlaps: some of what it would bring is denied.
- A message may be delivered where a SUBSCRIBE to exactly its topic would be allowed, or the one
  that a literal rule spells and that matches it.

No rule can allow a PUBLISH to ``$share/...``: no filter begins with that level, and a filter that
begins with a wildcard does not match it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Flag, IntEnum
from typing import Final, NoReturn

import msgspec

from keyfob.errors import KeyfobError
from keyfob.mqtt.topics import TopicFilter, TopicName, covers, matches, overlaps

__all__ = [
    "ANY_QOS",
    "ANY_RETAIN",
    "MAX_FILTER_BYTES",
    "MAX_RULES",
    "Effect",
    "Form",
    "Operation",
    "Permissions",
    "Rule",
    "Verdict",
]

MAX_RULES: Final = 4096
"""As many rules as the guard link carries (docs/wire-protocol.md)."""

MAX_FILTER_BYTES: Final = 131_072
"""All filters of one client together: half a frame of the guard link, so that every grant fits."""

ANY_QOS: Final = 0b111
"""The QoS mask with QoS 0, 1 and 2."""

ANY_RETAIN: Final = 0b11
"""The retain mask with messages that are not retained (1) and that are (2)."""


class Operation(Flag):
    """What a rule is about; the values are those of the guard link."""

    PUBLISH = 1
    SUBSCRIBE = 2


_SOMETHING: Final = tuple(Operation(value) for value in (1, 2, 3))


class Effect(IntEnum):
    """What a rule says; the values are those of the guard link."""

    DENY = 0
    ALLOW = 1


class Form(IntEnum):
    """How rules are read; the values are those of the guard link."""

    ALLOW_ONLY = 0
    FIRST_MATCH = 1


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is allowed or denied.

    Args:
        effect: Allow or deny.
        operations: What it is about.
        filter: The topics it is about.
        literal: Compare ``filter`` as plain text.
        qos: Bit n is set where QoS n is meant. For SUBSCRIBE it is the QoS asked for.
        retain: Bit 0 for messages that are not retained, bit 1 for those that are. PUBLISH only.
        source: What the rule comes from, such as a scope. It explains, and is never compared.

    Raises:
        KeyfobError: With code ``permissions_invalid`` for a rule that could never say anything.
    """

    effect: Effect = Effect.ALLOW
    operations: Operation
    filter: TopicFilter
    literal: bool = False
    qos: int = ANY_QOS
    retain: int = ANY_RETAIN
    source: str = ""

    def __post_init__(self) -> None:
        if self.operations not in _SOMETHING or not (
            0 < self.qos <= ANY_QOS and 0 < self.retain <= ANY_RETAIN
        ):
            raise _invalid("a rule needs an operation, a QoS and a retain bit, and no others")

    def __eq__(self, other: object) -> bool:
        return type(other) is Rule and self._compared() == other._compared()

    def __hash__(self) -> int:
        return hash(self._compared())

    def _compared(self) -> tuple[object, ...]:
        return (
            *(self.effect, self.operations, self.filter),
            *(self.literal, self.qos, self.retain),
        )

    @property
    def is_verbatim(self) -> bool:
        """Whether the rule is only about the SUBSCRIBE that spells its filter."""
        return self.literal and self.filter.has_wildcard


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The answer to one question, and the rule that gave it (None: no rule had anything to say)."""

    allowed: bool
    rule: Rule | None = None

    def __bool__(self) -> NoReturn:
        raise TypeError("a verdict is always true as an object: use .allowed")


_NOTHING_SAID: Final = Verdict(allowed=False)


@dataclass(frozen=True, slots=True)
class Permissions:
    """What one client may do; made by ``allow_only`` or ``first_match``.

    Raises:
        KeyfobError: With code ``too_many_rules`` above ``MAX_RULES`` or ``MAX_FILTER_BYTES``, with
            ``permissions_invalid`` for a deny rule in the allow-only form.
    """

    form: Form
    rules: tuple[Rule, ...]
    _publish: _Index | None = field(init=False, repr=False, compare=False, default=None)
    _subscribe: _Index | None = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        if len(self.rules) > MAX_RULES:
            raise _too_many(f"{len(self.rules)} rules are more than {MAX_RULES}")
        if sum([len(str(rule.filter).encode()) for rule in self.rules]) > MAX_FILTER_BYTES:
            raise _too_many(f"the filters need more than {MAX_FILTER_BYTES} bytes")
        denies = Effect.DENY in [rule.effect for rule in self.rules]
        if denies and self.form is Form.ALLOW_ONLY:
            raise _invalid("a deny rule needs the first-match form")

    @classmethod
    def allow_only(cls, rules: Iterable[Rule] = ()) -> Permissions:
        """Return permissions of rules that all allow, in no particular order."""
        return cls(Form.ALLOW_ONLY, tuple(rules))

    @classmethod
    def first_match(cls, rules: Iterable[Rule] = ()) -> Permissions:
        """Return permissions of rules that are read in order."""
        return cls(Form.FIRST_MATCH, tuple(rules))

    def publish(self, topic: TopicName, qos: int = 0, retain: bool = False) -> Verdict:
        """Answer whether a message may be published to ``topic``."""
        qos_bit, retain_bit = _qos_bit(qos), 2 if retain else 1
        for rule in self._rules_about(Operation.PUBLISH).naming(topic):
            if rule.qos & qos_bit and rule.retain & retain_bit:
                return Verdict(allowed=rule.effect is Effect.ALLOW, rule=rule)
        return _NOTHING_SAID

    def subscribe(self, requested: TopicFilter, qos: int = 0) -> Verdict:
        """Answer whether ``requested`` may be subscribed to, all of it."""
        qos_bit = _qos_bit(qos)
        for rule in self._rules_about(Operation.SUBSCRIBE).all:
            if rule.qos & qos_bit and _decides(rule, requested):
                return Verdict(allowed=rule.effect is Effect.ALLOW, rule=rule)
        return _NOTHING_SAID

    def receive(self, topic: TopicName) -> Verdict:
        """Answer whether a message that was published to ``topic`` may be delivered.

        It may where a SUBSCRIBE would be allowed, at some QoS, in some share group or in none: to
        exactly ``topic``, or to the filter of a literal rule that matches it. So a deny rule for
        one QoS, or for one group, stops no delivery that another SUBSCRIBE may have brought.
        """
        denied: dict[str | None, int] = {}  # QoS, by the share group that they are denied to
        refusal = _NOTHING_SAID
        index = self._rules_about(Operation.SUBSCRIBE)
        for rule in index.naming(topic):
            group = rule.filter.share_group
            if rule.effect is Effect.DENY:
                denied[group] = denied.get(group, 0) | rule.qos
                refusal = Verdict(allowed=False, rule=refusal.rule or rule)
            elif rule.qos & ~(denied.get(None, 0) | denied.get(group, 0)):
                return Verdict(allowed=True, rule=rule)
        spelled = index.spelling_more_than(topic)
        return refusal if spelled is None else Verdict(allowed=True, rule=spelled)

    def _rules_about(self, operation: Operation) -> _Index:
        """Return the index for ``operation``, made on first use: most permissions only travel."""
        name = "_publish" if operation is Operation.PUBLISH else "_subscribe"
        index: _Index | None = getattr(self, name)
        if index is None:
            index = _Index(rule for rule in self.rules if _is_about(rule, operation))
            object.__setattr__(self, name, index)
        return index


class _Index:
    """Rules in order, those without a wildcard found by the only name that they match."""

    __slots__ = ("_by_name", "_verbatim", "_wild", "all")

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.all = tuple(rules)
        self._by_name: dict[str, list[tuple[int, Rule]]] = {}
        self._wild: list[tuple[int, Rule]] = []
        self._verbatim: list[tuple[int, Rule]] = []
        for place, rule in enumerate(self.all):
            if rule.is_verbatim:
                self._verbatim.append((place, rule))
            elif rule.filter.has_wildcard:
                self._wild.append((place, rule))
            else:
                self._by_name.setdefault(rule.filter.value, []).append((place, rule))

    def naming(self, topic: TopicName) -> list[Rule]:
        """Return the rules about ``topic``, in order, QoS and retain aside."""
        found = [entry for entry in self._wild if matches(entry[1].filter, topic)]
        found += self._by_name.get(topic.value, ())
        return [rule for _, rule in sorted(found)]

    def spelling_more_than(self, topic: TopicName) -> Rule | None:
        """Return a literal rule that allows a SUBSCRIBE with wildcards which brings ``topic``."""
        for place, rule in self._verbatim:
            if rule.effect is Effect.ALLOW and matches(rule.filter, topic):
                denied = 0
                for before in self.all[:place]:
                    if before.effect is Effect.DENY and _decides(before, rule.filter):
                        denied |= before.qos
                if rule.qos & ~denied:
                    return rule
        return None


def _is_about(rule: Rule, operation: Operation) -> bool:
    if operation is Operation.PUBLISH and rule.filter.share_group is not None:
        return False
    return operation in rule.operations


def _decides(rule: Rule, requested: TopicFilter) -> bool:
    """Tell whether ``rule`` settles the SUBSCRIBE to ``requested``, QoS aside."""
    if rule.filter.share_group not in (None, requested.share_group):
        return False
    if rule.is_verbatim:
        return rule.filter.value == requested.value
    if rule.effect is Effect.ALLOW:
        return covers(rule.filter, requested)
    return overlaps(rule.filter, requested)


def _qos_bit(qos: int) -> int:
    """Return the mask of one QoS; an impossible one has no bit, so that no rule speaks for it."""
    return 1 << qos if qos in (0, 1, 2) else 0


def _invalid(message: str) -> KeyfobError:
    return KeyfobError(message, code="permissions_invalid")


def _too_many(message: str) -> KeyfobError:
    return KeyfobError(message, code="too_many_rules")
