# SPDX-License-Identifier: Apache-2.0
"""One table of results: what was tested, with which broker. No cell stays empty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

PASSED, SKIPPED, FAILED, NOT_RUN = "ok", "skipped", "FAILED", "not run"
_WORSE = (PASSED, SKIPPED, FAILED)


@dataclass
class Table:
    """Results by row and column; both keep the order in which they were first named."""

    columns: Sequence[str]
    titles: dict[str, str] = field(default_factory=dict)
    cells: dict[str, dict[str, str]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)

    def note(self, row: str, column: str, result: str, seconds: float, reason: str = "") -> None:
        """Take in one part of a test: the worst of its set-up, its call and its end counts."""
        cells = self.cells.setdefault(row, {})
        cells[column] = max(cells.get(column, PASSED), result, key=_WORSE.index)
        self.seconds[column] = self.seconds.get(column, 0.0) + seconds
        if reason and (line := f"{self.titles.get(column, column)}: {reason}") not in self.reasons:
            self.reasons.append(line)

    def lines(self) -> list[str]:
        """The table as text, and under it why cells were skipped."""
        head = ["", *(self.titles.get(column, column) for column in self.columns)]
        body = [
            [row, *(cells.get(column, NOT_RUN) for column in self.columns)]
            for row, cells in self.cells.items()
        ]
        total = ["seconds", *(f"{self.seconds.get(column, 0.0):.0f}" for column in self.columns)]
        widths = [max(map(len, column)) for column in zip(head, *body, total, strict=True)]
        rule = ["-" * width for width in widths]
        return [
            *(
                "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
                for line in (head, rule, *body, rule, total)
            ),
            *(f"skipped for {reason}" for reason in self.reasons),
        ]
