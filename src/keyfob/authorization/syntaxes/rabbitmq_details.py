# SPDX-License-Identifier: Apache-2.0
"""RabbitMQ's authorization details (RFC 9396), which stand for scopes.

    {"type": "rabbitmq", "actions": ["read", "write"],
     "locations": ["cluster:finance/vhost:prod-*/exchange:amq.topic/routing-key:devices.*"]}

Each action on each location of this cluster is one scope. A part of a location that is not given is
``*``, and what is no ``key:value`` of a known key is skipped, as in RabbitMQ.
"""

from __future__ import annotations

from typing import Final

from keyfob.authorization.syntaxes.rabbitmq_patterns import Pattern
from keyfob.authorization.syntaxes.reading import invalid, texts, too_many
from keyfob.errors import TopicError

__all__ = ["CLAIM", "MAX_DETAILS", "scopes_in_details"]

CLAIM: Final = "authorization_details"
"""The claim (RFC 9396 section 9.1)."""

MAX_DETAILS: Final = 2048
"""As many objects as RabbitMQ reads scopes."""

_KEYS: Final = frozenset({"cluster", "vhost", "queue", "exchange", "routing-key"})
_ACTIONS: Final = ("read", "write", "configure")


def scopes_in_details(value: object, kind: str, cluster: str) -> list[tuple[str, str]]:
    """Return the scopes, without a prefix, that the details of type ``kind`` stand for.

    Args:
        value: The claim, as strict JSON gives it.
        kind: RabbitMQ's ``resource_server_type``.
        cluster: Its ``resource_server_id``.

    Returns:
        Each scope after the place that it comes from.

    Raises:
        KeyfobError: ``permissions_invalid`` or ``too_many_rules``.
    """
    if not isinstance(value, list):
        raise invalid(f"{CLAIM} is not a list")
    if len(value) > MAX_DETAILS:
        raise too_many(f"{CLAIM} has {len(value)} objects, more than {MAX_DETAILS}")
    found: list[tuple[str, str]] = []
    for place, detail in enumerate(value):
        if isinstance(detail, dict) and detail.get("type") == kind:
            where = f"{CLAIM}[{place}]"
            found += [(where, scope) for scope in _scopes(detail, where, cluster)]
    return found


def _scopes(detail: dict[str, object], where: str, cluster: str) -> list[str]:
    asked = _listed(detail, "actions", where)
    paths = [
        path
        for location in _listed(detail, "locations", where)
        if (path := _path(location, cluster)) is not None
    ]
    return [f"{action}:{path}" for action in _ACTIONS if action in asked for path in paths]


def _listed(detail: dict[str, object], member: str, where: str) -> list[str]:
    value = detail.get(member)
    return [value] if isinstance(value, str) else texts(value, f"{where}.{member}", empty=True)


def _path(location: str, cluster: str) -> str | None:
    """Return what follows the action in a scope, or None for a location that is not ours."""
    given: dict[str, str] = {}
    for part in location.split("/"):
        words = [word for word in part.split(":") if word]
        if len(words) > 1 and words[0] in _KEYS:
            given[words[0]] = words[1]
    try:
        ours = "cluster" in given and Pattern.parse(given["cluster"]).matches(cluster)
    except TopicError:
        return None
    queue = given.get("queue", given.get("exchange", "*"))
    if not ours or given.get("exchange", queue) != queue:
        return None
    return f"{given.get('vhost', '*')}/{queue}/{given.get('routing-key', '*')}"
