# SPDX-License-Identifier: Apache-2.0
"""Interleaved rounds: every variant once a round, so that noise meets them all alike."""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

__all__ = ["ROUNDS", "Series", "interleave", "print_table"]

ROUNDS: Final = 15


@dataclass(frozen=True, slots=True)
class Series:
    """One figure of one variant, a value a round."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle value."""
        return statistics.median(self.values)

    @property
    def spread(self) -> str:
        """The middle half: first to third quartile."""
        low, _, high = statistics.quantiles(self.values, n=4)
        return f"{low:,.4g}..{high:,.4g}"

    def over(self, other: Series) -> Series:
        """The ratio to another variant, round by round."""
        return Series(tuple(a / b for a, b in zip(self.values, other.values, strict=True)))


def interleave(
    variants: Mapping[str, Callable[[], Mapping[str, float]]], rounds: int = ROUNDS
) -> dict[str, dict[str, Series]]:
    """Run every variant once a round, in an order that changes, after one round to warm up.

    Args:
        variants: What to run, by name; each run returns its figures by name.
        rounds: How often.

    Returns:
        variant -> figure -> series.
    """
    names = list(variants)
    collected: dict[str, dict[str, list[float]]] = {name: {} for name in names}
    for number in range(rounds + 1):
        order = random.Random(number).sample(names, len(names))
        for name in order:
            figures = variants[name]()
            if number:
                for figure, value in figures.items():
                    collected[name].setdefault(figure, []).append(value)
    return {
        name: {figure: Series(tuple(values)) for figure, values in figures.items()}
        for name, figures in collected.items()
    }


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a Markdown table."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    print(f"\n{title}\n")
    for row in [header, ["-" * width for width in widths], *rows]:
        print("| " + " | ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)) + " |")
