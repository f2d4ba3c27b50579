# SPDX-License-Identifier: Apache-2.0
"""Which messages are printed, and when it is enough; no I/O of its own."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from keyfob.cli.pubsub.message import Message
from keyfob.mqtt.topics import TopicFilter, TopicName, matches

__all__ = ["Receiving", "Selection", "What"]

_RANDOM: Final = random.SystemRandom()


class What(Enum):
    """What to do with a message."""

    NOTHING = auto()
    PRINT = auto()
    STOP = auto()
    """Nothing more is wanted, nor is this one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which messages are wanted.

    Attributes:
        no_retained: None that was retained (-R).
        retained_only: Those alone, until the first other one.
        without: None of these topics (-T).
        count: So many; 0: all.
        share: So many of a hundred, by chance.
    """

    no_retained: bool = False
    retained_only: bool = False
    without: tuple[TopicFilter, ...] = ()
    count: int = 0
    share: float = 100.0


@dataclass(slots=True)
class Receiving:
    """Judges one message after the other.

    Args:
        selection: Which are wanted.
        chance: Draws a number from 0 to 1.
    """

    selection: Selection
    chance: Callable[[], float] = _RANDOM.random
    enough: bool = field(default=False, init=False)
    """Whether nothing more is wanted."""
    _count: int = field(default=0, init=False)

    def filtered_out(self, message: Message) -> bool:
        """Tell whether its topic is not wanted (-T)."""
        if not self.selection.without:
            return False
        name = TopicName.parse(message.topic)
        return any(matches(one, name) for one in self.selection.without)

    def judge(self, message: Message) -> What:
        """Say what to do with a message; it counts where it is wanted."""
        wanted = self.selection
        if self.enough:
            return What.NOTHING
        if wanted.retained_only and not message.retain:
            self.enough = True
            return What.STOP
        if (message.retain and wanted.no_retained) or self.filtered_out(message):
            return What.NOTHING
        if wanted.count:
            self._count += 1
            self.enough = self._count >= wanted.count
        if wanted.share < 100.0 and self.chance() * 100.0 >= wanted.share:
            return What.NOTHING
        return What.PRINT
