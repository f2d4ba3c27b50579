# SPDX-License-Identifier: Apache-2.0
"""One topic of an EMQX rule: ``eq``, placeholders, and what MQTT makes of the rest.

``eq t/#`` is the text ``t/#``. Anything else is a topic filter: ``${clientid}``, ``${username}``,
``${cert_common_name}``, ``${zone}`` and ``${client_attrs.NAME}`` in it stand for a value, ``${$}``
for a dollar sign, and every other ``${...}`` for itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from keyfob.errors import TopicError
from keyfob.mqtt.topics import TopicFilter, expand

__all__ = ["ATTRIBUTES", "parse_topic"]

ATTRIBUTES: Final = "client_attrs."
"""What the names of client attributes begin with."""

_LITERAL: Final = "eq "
_VARIABLE: Final = re.compile(r"\$\{\.?([a-zA-Z0-9._]*)\}|\$\{\$\}")
_VARIABLES: Final = frozenset({"clientid", "username", "cert_common_name", "zone"})
# Braces are text to EMQX where they surround none of its variables, and never to ``expand``.
_BRACES: Final = {"{": "{opened}", "}": "{closed}"}
_BRACE_VALUES: Final = {"opened": "{", "closed": "}"}


def parse_topic(text: str, values: Mapping[str, str]) -> tuple[TopicFilter, bool]:
    """Return the filter that ``text`` is, and whether it is compared as plain text.

    Args:
        text: The topic as it stands in the claim.
        values: What the variables stand for, by their names.

    Raises:
        TopicError: No topic filter, a variable without a fit value, or a share group: EMQX
            compares the filter inside a shared subscription, so that such a rule says nothing.
    """
    literal = text.startswith(_LITERAL)
    if literal:
        topic_filter = TopicFilter.parse(text.removeprefix(_LITERAL))
    else:
        topic_filter = expand(_template(text), {**values, **_BRACE_VALUES})
    if topic_filter.share_group is not None:
        raise TopicError("an EMQX rule names no share group")
    return topic_filter, literal


def _template(topic: str) -> str:
    """Return ``topic`` as ``expand`` wants it: its variables in braces, no other brace."""
    made: list[str] = []
    end = 0
    for found in _VARIABLE.finditer(topic):
        made.append(_escaped(topic[end : found.start()]))
        made.append(_meant(found))
        end = found.end()
    return "".join(made) + _escaped(topic[end:])


def _meant(found: re.Match[str]) -> str:
    name = found[1]
    if name is None:
        return "$"
    known = name in _VARIABLES or name.startswith(ATTRIBUTES)
    return f"{{{name}}}" if known else _escaped(found[0])


def _escaped(text: str) -> str:
    return re.sub("[{}]", lambda found: _BRACES[found[0]], text)
