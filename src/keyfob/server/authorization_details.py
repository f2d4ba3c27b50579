# SPDX-License-Identifier: Apache-2.0
"""Rich authorization requests of type ``mqtt`` (RFC 9396): a part of a device's rights, asked for.

    [{"type": "mqtt", "locations": [broker, ...], "actions": ["publish"], "topics": [filter, ...]}]

The guard's own parser reads them (``authorization.syntaxes.authorization_details``), so what is
issued here is what is enforced there. A device is registered for scopes; its details are never more
than these scopes allow, topic by topic. What a scope cannot say is the broker: ``locations``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from keyfob.authorization.permissions import Operation, Rule
from keyfob.authorization.syntaxes.authorization_details import TYPE, parse_details
from keyfob.authorization.syntaxes.scopes import parse_scope
from keyfob.errors import KeyfobError, TopicError
from keyfob.mqtt.topics import TopicFilter
from keyfob.server.held_filters import HeldFilters
from keyfob.server.oauth_errors import OAuthError
from keyfob.tokens import json_strict

__all__ = [
    "DETAILS_TYPES",
    "MAX_DETAILS",
    "MAX_DETAILS_LENGTH",
    "MAX_TOPICS",
    "Detail",
    "common_details",
    "details_covered",
    "details_of_claim",
    "details_text",
    "read_details",
    "requested_details",
    "still_covered",
]

DETAILS_TYPES: Final = (TYPE,)
"""The types that may be asked for (RFC 9396 section 10)."""

MAX_DETAILS: Final = 32
MAX_TOPICS: Final = 64
MAX_LOCATIONS: Final = 64
MAX_DETAILS_LENGTH: Final = 8_000
_ACTIONS: Final = {"publish": Operation.PUBLISH, "subscribe": Operation.SUBSCRIBE}


@dataclass(frozen=True, slots=True)
class Detail:
    """One object of type ``mqtt``.

    Args:
        actions: What may be done: ``publish``, ``subscribe``.
        topics: The topic filters where.
        locations: At which brokers; None: at every one.
    """

    actions: tuple[str, ...]
    topics: tuple[str, ...]
    locations: tuple[str, ...] | None = None

    def members(self) -> dict[str, object]:
        """Return the JSON object."""
        where = {} if self.locations is None else {"locations": list(self.locations)}
        return {"type": TYPE, **where, "actions": list(self.actions), "topics": list(self.topics)}


@dataclass(frozen=True, slots=True)
class _Right:
    """One operation on one filter, at some brokers (None: at every one)."""

    operation: Operation
    filter: TopicFilter
    locations: frozenset[str] | None


class _Held:
    """What somebody holds."""

    def __init__(self, scopes: Iterable[str], details: Iterable[Detail]) -> None:
        self._filters = HeldFilters()
        self._places: dict[frozenset[str] | None, None] = {}
        for right in (*_of_scopes(scopes), *_rights(details)):
            self._filters.add((right.operation, right.locations), right.filter)
            self._places[right.locations] = None

    def covers(self, wanted: _Right) -> bool:
        """Tell whether one right covers another, at least at the same brokers."""
        return any(
            self._filters.cover((wanted.operation, places), wanted.filter)
            for places in self._places
            if places is None or (wanted.locations is not None and wanted.locations <= places)
        )


def requested_details(text: str) -> tuple[Detail, ...]:
    """Read the ``authorization_details`` parameter (RFC 9396 section 2).

    Raises:
        OAuthError: ``invalid_authorization_details`` (section 5): another type, an unknown member
            or value, nothing at all, or too much.
    """
    if len(text) > MAX_DETAILS_LENGTH:
        raise _refused("details_too_many")
    try:
        value = json_strict.loads(text.encode())
    except (ValueError, UnicodeEncodeError):
        raise _refused("details_malformed") from None
    if not isinstance(value, list) or not value:
        raise _refused("details_malformed")
    if len(value) > MAX_DETAILS:
        raise _refused("details_too_many")
    for one in value:
        if isinstance(one, dict) and isinstance(one.get("type"), str) and one["type"] != TYPE:
            raise _refused("details_type_unknown")
    try:
        details = _details(value)
    except KeyfobError:
        raise _refused("details_malformed") from None
    if sum(len(one.topics) for one in details) > MAX_TOPICS:
        raise _refused("details_too_many")
    if sum(len(one.locations or ()) for one in details) > MAX_LOCATIONS:
        raise _refused("details_too_many")
    return details


def details_of_claim(value: object) -> tuple[Detail, ...]:
    """Return what a token of ours says; what is none of our type gives nothing.

    Raises:
        KeyfobError: It is not what this server writes.
    """
    return () if value is None else _details(value)


def details_text(details: Iterable[Detail]) -> str:
    """Return details as they are kept; empty for none."""
    members = [one.members() for one in details]
    return json.dumps(members, separators=(",", ":"), ensure_ascii=False) if members else ""


def read_details(text: str) -> tuple[Detail, ...]:
    """Return what ``details_text`` wrote."""
    return _details(json_strict.loads(text.encode())) if text else ()


def details_covered(
    scopes: Iterable[str], held: Iterable[Detail], wanted: Iterable[Detail]
) -> bool:
    """Tell whether who holds these scopes and details may be given ``wanted``.

    Each action on each topic has to be covered by one right that is held, at least at the same
    brokers; two rights that cover it together do not.
    """
    rights = _Held(scopes, held)
    return all(map(rights.covers, _rights(wanted)))


def still_covered(scopes: Iterable[str], granted: Sequence[Detail]) -> tuple[Detail, ...]:
    """Return what is left of details that were granted, where these scopes are held now."""
    return common_details(scopes, (), granted) if granted else ()


def common_details(
    scopes: Iterable[str], held: Iterable[Detail], others: Iterable[Detail]
) -> tuple[Detail, ...]:
    """Return the topics of ``others`` that the scopes and details held cover with every action."""
    rights = _Held(scopes, held)
    left: list[Detail] = []
    for one in others:
        topics = tuple(topic for topic in one.topics if _topic_covered(rights, one, topic))
        if topics:
            left.append(Detail(one.actions, topics, one.locations))
    return tuple(left)


def _topic_covered(rights: _Held, detail: Detail, topic: str) -> bool:
    wanted = _rights([Detail(detail.actions, (topic,), detail.locations)])
    return all(map(rights.covers, wanted))


def _of_scopes(scopes: Iterable[str]) -> list[_Right]:
    found: list[_Right] = []
    for scope in scopes:
        try:
            rule: Rule = parse_scope(scope)
        except TopicError:  # not about topics: no detail is like it
            continue
        found += [
            _Right(operation, rule.filter, None)
            for operation in _ACTIONS.values()
            if operation in rule.operations
        ]
    return found


def _rights(details: Iterable[Detail]) -> list[_Right]:
    return [
        _Right(
            _ACTIONS[action],
            TopicFilter.parse(topic),
            None if one.locations is None else frozenset(one.locations),
        )
        for one in details
        for action in one.actions
        for topic in one.topics
    ]


def _details(value: object) -> tuple[Detail, ...]:
    if not isinstance(value, list):
        raise KeyfobError("not a list", code="permissions_invalid")
    return tuple(_detail(one) for one in value)


def _detail(value: Any) -> Detail:  # noqa: ANN401 - it is JSON
    """Read one object as the guard does where it is that broker."""
    parse_details([value])
    if not isinstance(value, Mapping) or value["type"] != TYPE:
        raise KeyfobError(f"not of type {TYPE}", code="permissions_invalid")
    locations = value.get("locations")
    return Detail(
        actions=tuple(dict.fromkeys(value["actions"])),
        topics=tuple(dict.fromkeys(value["topics"])),
        locations=None if locations is None else tuple(dict.fromkeys(locations)),
    )


def _refused(reason: str) -> OAuthError:
    return OAuthError(
        "invalid_authorization_details",
        "the authorization details are not acceptable",
        reason=reason,
    )
