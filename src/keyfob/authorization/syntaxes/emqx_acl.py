# SPDX-License-Identifier: Apache-2.0
"""EMQX's ``acl`` claim, in its list form and in its older map form.

    [{"permission": "deny", "action": "all", "topic": "t/3", "qos": [1], "retain": true}, ...]
    {"pub": [filter, ...], "sub": [filter, ...], "all": [filter, ...]}

The list is read in its order and the first rule that matches decides, as in EMQX; what none
matches is refused, where EMQX would go on to its other authorizers.
A SUBSCRIBE needs a rule that covers all of it, where EMQX compares the filter as if it were a name.

A rule may hold conditions on who connects and from where (``username_re``, ``ipaddr``, ...), or
members that EMQX drops. Rights come from the token alone, so a rule that allows is then left out,
and a rule that denies holds always.
A denied topic that cannot be known refuses the token; an allowed one is left out.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, Final, TypeVar

from keyfob.authorization.permissions import (
    ANY_QOS,
    ANY_RETAIN,
    MAX_RULES,
    Effect,
    Form,
    Operation,
    Rule,
)
from keyfob.authorization.syntaxes.emqx_topics import ATTRIBUTES, parse_topic
from keyfob.authorization.syntaxes.reading import Reading, invalid, shown, texts, too_many
from keyfob.errors import ConfigError, TopicError

if TYPE_CHECKING:
    from keyfob.tokens.claims import Claims

__all__ = ["MAX_ENTRIES", "MAX_SPELLED", "EmqxAcl", "parse_acl"]

_T = TypeVar("_T")

MAX_ENTRIES: Final = MAX_RULES
"""Rules of a list; each makes one rule for each of its topics."""

MAX_SPELLED: Final = 64
"""Topics with ``eq`` and a wildcard: for each that matches a message, the broker looks at every
rule before it."""

_BOTH: Final = Operation.PUBLISH | Operation.SUBSCRIBE
_EFFECTS: Final = MappingProxyType({"allow": Effect.ALLOW, "deny": Effect.DENY})
_ACTIONS: Final = MappingProxyType(
    {
        "pub": Operation.PUBLISH,
        "publish": Operation.PUBLISH,
        "sub": Operation.SUBSCRIBE,
        "subscribe": Operation.SUBSCRIBE,
        "all": _BOTH,
    }
)
_LISTS: Final = MappingProxyType(
    {"pub": Operation.PUBLISH, "sub": Operation.SUBSCRIBE, "all": _BOTH}
)
_MEMBERS: Final = frozenset({"permission", "action", "topic", "topics", "qos", "retain"})
_QOS: Final = MappingProxyType({"0": 1, "1": 2, "2": 4})
_RETAIN: Final = MappingProxyType({"all": ANY_RETAIN, "0": 1, "false": 1, "1": 2, "true": 2})


@dataclass(frozen=True, slots=True, kw_only=True)
class EmqxAcl:
    """The syntax.

    Args:
        claim: The claim, EMQX's ``acl_claim_name``.

    Raises:
        ConfigError: No claim.
    """

    name: ClassVar[str] = "emqx_acl"
    form: ClassVar[Form] = Form.FIRST_MATCH

    claim: str = "acl"

    def __post_init__(self) -> None:
        if not self.claim:
            raise ConfigError('emqx_acl: name the claim, such as claim = "acl"')

    def read(self, claims: Claims, device: str) -> Reading:
        """Return what the claim says; a token without it may do nothing."""
        value = claims.get(self.claim)
        if value is None:
            return Reading(ignored=((f"the claim {self.claim}", "the token has none"),))
        return parse_acl(value, _values(claims, device), self.claim)

    def looks_at(self, claims: Claims) -> Hashable | None:
        """Tell tokens apart only by whether they have the claim."""
        return None if claims.get(self.claim) is not None else ()


def parse_acl(value: object, values: Mapping[str, str], claim: str = "acl") -> Reading:
    """Return what an ``acl`` claim says.

    Args:
        value: The claim, as strict JSON gives it.
        values: What ``clientid``, ``username`` and ``client_attrs.NAME`` stand for.
        claim: What the claim is called.

    Raises:
        KeyfobError: ``permissions_invalid`` or ``too_many_rules``.
    """
    collected = _Collected(values)
    if isinstance(value, dict):
        _read_map(value, claim, collected)
        return collected.reading(Form.ALLOW_ONLY)
    if not isinstance(value, list):
        raise invalid(f"{claim} is neither a list nor an object")
    if len(value) > MAX_ENTRIES:
        raise too_many(f"{claim} has {len(value)} rules, more than {MAX_ENTRIES}")
    for place, raw in enumerate(value):
        where = f"{claim}[{place}]"
        if not isinstance(raw, dict):
            raise invalid(f"{where} is not an object")
        _read_rule(raw, where, collected)
    return collected.reading(Form.FIRST_MATCH)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    """A rule of the claim but for its topics."""

    effect: Effect = Effect.ALLOW
    operations: Operation
    qos: int = ANY_QOS
    retain: int = ANY_RETAIN
    where: str


class _Collected:
    """The rules of one claim while they are read."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        self._rules: list[Rule] = []
        self._ignored: list[tuple[str, str]] = []
        self._spelled = 0

    def reading(self, form: Form) -> Reading:
        return Reading(rules=tuple(self._rules), ignored=tuple(self._ignored), form=form)

    def ignore(self, what: str, why: str) -> None:
        self._ignored.append((what, why))

    def add(self, said: _Said, text: str) -> None:
        try:
            topic_filter, literal = parse_topic(text, self._values)
        except TopicError as error:
            if said.effect is Effect.DENY:
                raise invalid(
                    f"{said.where} denies what cannot be known: {error.message}"
                ) from None
            self.ignore(f"{text} of {said.where}", error.message)
            return
        rule = Rule(
            effect=said.effect,
            operations=said.operations,
            filter=topic_filter,
            literal=literal,
            qos=said.qos,
            retain=said.retain,
            source=said.where,
        )
        self._rules.append(rule)
        self._spelled += rule.is_verbatim
        if self._spelled > MAX_SPELLED:
            raise too_many(f"more than {MAX_SPELLED} topics with eq and a wildcard")


def _values(claims: Claims, device: str) -> dict[str, str]:
    """Return what the variables stand for: the device, and what the token says of its user.

    EMQX takes the user name from the CONNECT and has the token repeat it in ``username``
    (``verify_claims``); it takes client attributes from ``client_attrs``.
    """
    values = {"clientid": device}
    username, attributes = claims.get("username"), claims.get(ATTRIBUTES.removesuffix("."))
    if isinstance(username, str):
        values["username"] = username
    if isinstance(attributes, dict):
        named = ((ATTRIBUTES + name, value) for name, value in attributes.items())
        values |= {name: value for name, value in named if isinstance(value, str)}
    return values


def _read_map(value: dict[str, object], claim: str, collected: _Collected) -> None:
    for key, entries in value.items():
        where = f"{claim}.{shown(key)}"
        if key not in _LISTS:
            collected.ignore(where, "it is none of pub, sub and all")
            continue
        said = _Said(operations=_LISTS[key], where=where)
        for text in texts(entries, where, empty=True):
            collected.add(said, text)


def _read_rule(raw: dict[str, object], where: str, collected: _Collected) -> None:
    operations = _word(raw, "action", _ACTIONS, where)
    # EMQX does not look at the retain flag of a rule that is about subscribing only.
    about_publish = Operation.PUBLISH in operations
    effect = _word(raw, "permission", _EFFECTS, where)
    topics = _topics(raw, where)
    qos = _qos_mask(raw.get("qos"), where)
    retain = _retain_mask(raw.get("retain"), where) if about_publish else ANY_RETAIN
    if conditions := ", ".join(sorted(raw.keys() - _MEMBERS)):
        if effect is Effect.ALLOW:
            collected.ignore(where, f"its condition cannot be judged here: {conditions}")
            return
        collected.ignore(f"{conditions} of {where}", "the rule denies in any case")
    if not qos or not topics:
        collected.ignore(where, "it names no QoS" if topics else "it names no topic")
        return
    said = _Said(effect=effect, operations=operations, qos=qos, retain=retain, where=where)
    for text in topics:
        collected.add(said, text)


def _word(raw: dict[str, object], member: str, words: Mapping[str, _T], where: str) -> _T:
    value = raw.get(member)
    if not isinstance(value, str) or value not in words:
        raise invalid(f"{where}.{member} is none of {', '.join(words)}")
    return words[value]


def _topics(raw: dict[str, object], where: str) -> list[str]:
    if ("topic" in raw) == ("topics" in raw):
        raise invalid(f"{where} has not one of topic and topics")
    if "topics" in raw:
        return texts(raw["topics"], f"{where}.topics", empty=True)
    return texts([raw["topic"]], f"{where}.topic")


def _qos_mask(value: object, where: str) -> int:
    """Return the bits of ``qos``: a number, a list, or a text with commas; absent is all."""
    if value is None:
        return ANY_QOS
    entries = value.split(",") if isinstance(value, str) else value
    mask = 0
    for entry in entries if isinstance(entries, list) else [entries]:
        word = _spelled(entry)
        if word not in _QOS:
            raise invalid(f"{where}.qos is not made of 0, 1 and 2")
        mask |= _QOS[word]
    return mask


def _retain_mask(value: object, where: str) -> int:
    if value is None:
        return ANY_RETAIN
    if isinstance(value, bool):
        return 2 if value else 1
    word = _spelled(value)
    if word not in _RETAIN:
        raise invalid(f"{where}.retain is none of true, false and all")
    return _RETAIN[word]


def _spelled(value: object) -> str:
    """Return a text or a whole number as text, and nothing else: True is no 1 here."""
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
