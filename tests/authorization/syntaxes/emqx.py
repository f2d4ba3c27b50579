# SPDX-License-Identifier: Apache-2.0
"""What EMQX decides: ``emqx_authz_client_info``, ``emqx_authz_rule`` and ``emqx_topic``, ported.

Only what an ``acl`` claim can say; every condition on the client is one question to the caller.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

_NAMES = {"pub": "publish", "publish": "publish", "sub": "subscribe", "subscribe": "subscribe"}
_CONDITIONS = {
    "username_re", "clientid_re", "zone", "zone_re", "listener", "listener_re", "ipaddr",
}  # fmt: skip


def authorize(
    acl: Any,
    client: Mapping[str, str],
    action: str,
    topic: str,
    *,
    qos: int,
    retain: bool,
    holds: Callable[[str], bool] = lambda _: True,
) -> bool:
    """Tell whether the claim allows the action; no match is no."""
    if isinstance(acl, dict):
        return any(
            match_topics(topic, acl.get(key, []), client)
            for key, name in (("pub", "publish"), ("sub", "subscribe"), ("all", action))
            if name == action
        )
    for rule in acl:
        topics = [rule["topic"]] if "topic" in rule else rule["topics"]
        if (
            match_action(rule, action, qos, retain)
            and all(holds(name) for name in rule if name in _CONDITIONS)
            and match_topics(topic, topics, client)
        ):
            return bool(rule["permission"] == "allow")
    return False


def match_action(rule: Mapping[str, Any], action: str, qos: int, retain: bool) -> bool:
    if rule["action"] != "all" and _NAMES[rule["action"]] != action:
        return False
    wanted = rule.get("qos", [0, 1, 2])
    if isinstance(wanted, str):
        wanted = [int(one) for one in wanted.split(",")]
    if qos not in (wanted if isinstance(wanted, list) else [wanted]):
        return False
    return action == "subscribe" or rule.get("retain", "all") in ("all", retain)


def match_topics(topic: str, topics: list[str], client: Mapping[str, str]) -> bool:
    return any(match_topic(topic, one, client) for one in topics)


def match_topic(topic: str, pattern: str, client: Mapping[str, str]) -> bool:
    if pattern.startswith("eq "):
        return topic == pattern[3:]
    rendered = re.sub(r"\$\{(clientid|username)\}", lambda m: client[m[1]], pattern)
    return match_words(topic.split("/"), rendered.split("/"))


def match_words(name: list[str], wanted: list[str]) -> bool:
    if name[0].startswith("$") and wanted[0] in ("+", "#"):
        return False
    return match_tokens(name, wanted)


def match_tokens(name: list[str], wanted: list[str]) -> bool:
    if not name and not wanted:
        return True
    if name and wanted and (name[0] == wanted[0] or wanted[0] == "+"):
        return match_tokens(name[1:], wanted[1:])
    return wanted == ["#"]
