# SPDX-License-Identifier: Apache-2.0
"""Chance: where all randomness of a run comes from, so that a seed tells the whole run."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

__all__ = ["Chance"]

_T = TypeVar("_T")


class Chance(random.Random):
    """Python's own generator, and the draws that mutators need.

    Args:
        seed: Two runs with the same one draw the same.
    """

    def __init__(self, seed: str) -> None:
        super().__init__(seed)

    def often(self, probability: float) -> bool:
        """Say yes that often."""
        return self.random() < probability

    def few(self, most: int) -> int:
        """Draw a number from 1 to ``most``, small ones most of the time."""
        return 1 + int(most * self.random() ** 3)

    def place(self, length: int) -> int:
        """Draw a position in something, the end included."""
        return int(self.random() * (length + 1))

    def one(self, choices: Sequence[_T]) -> _T:
        """Draw one of several."""
        return choices[int(self.random() * len(choices))]

    def some(self, choices: Sequence[_T], most: int) -> list[_T]:
        """Draw between none and ``most``, with repetitions."""
        return [self.one(choices) for _ in range(int(self.random() * (most + 1)))]
