# SPDX-License-Identifier: Apache-2.0
"""Topic filters that somebody holds, as a tree of their levels: is another one covered by one?

A device in many groups holds thousands of filters, and may ask for a hundred narrower ones in one
request. Comparing each with each would keep the event loop busy for the better part of a second.
In the tree a filter is followed level by level, through ``+`` and its own text: that costs what
the filter has levels, whatever is held. Only where held filters mix ``+`` and text on many levels
there are more ways through; they are counted, and too many are refused.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Final

from keyfob.mqtt.topics import TopicFilter, shape
from keyfob.server.oauth_errors import OAuthError

__all__ = ["MAX_STEPS", "HeldFilters"]

# The longest scope that may be asked for has 10,000 characters, so 5,000 levels: twenty ways
# through each of them, a few hundredths of a second.
MAX_STEPS: Final = 100_000


@dataclass(slots=True)
class _Node:
    """The filters that begin with the same levels; whether one of them ends here, and how."""

    below: dict[str, _Node] = field(default_factory=dict)
    closed: bool = False
    open: bool = False


class HeldFilters:
    """Filters, each held for some kind of use.

    Args:
        max_steps: How many nodes are looked at, in all questions together.
    """

    def __init__(self, max_steps: int = MAX_STEPS) -> None:
        self._max_steps = max_steps
        self._roots: Final[dict[tuple[Hashable, str | None], _Node]] = {}
        self.steps = 0

    def add(self, kind: Hashable, held: TopicFilter) -> None:
        """Hold one more filter."""
        levels, is_open = shape(held)
        node = self._roots.setdefault((kind, held.share_group), _Node())
        for level in levels:
            node = node.below.setdefault(level, _Node())
        if is_open:
            node.open = True
        else:
            node.closed = True

    def cover(self, kind: Hashable, wanted: TopicFilter) -> bool:
        """Tell whether one of the filters of a kind covers another (``mqtt.topics.covers``).

        Raises:
            OAuthError: ``invalid_scope``: this takes too many steps.
        """
        groups = dict.fromkeys((None, wanted.share_group))
        roots = [self._roots[kind, group] for group in groups if (kind, group) in self._roots]
        levels, is_open = shape(wanted)
        return any(self._covers(root, levels, is_open=is_open) for root in roots)

    def _covers(self, root: _Node, levels: tuple[str, ...], *, is_open: bool) -> bool:
        nodes = [root]
        for index, level in enumerate(levels):
            ways = {level} if index == 0 and level.startswith("$") else {level, "+"}
            nodes = [node.below[way] for node in nodes for way in ways if way in node.below]
            self._count(len(nodes))
            if any(node.open for node in nodes):
                return True
            if not nodes:
                return False
        return not is_open and any(node.closed for node in nodes)

    def _count(self, steps: int) -> None:
        self.steps += steps
        if self.steps > self._max_steps:
            raise OAuthError(
                "invalid_scope", "too many rights to compare; ask for less", reason="rights_tangled"
            )
