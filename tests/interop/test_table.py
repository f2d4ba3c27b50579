# SPDX-License-Identifier: Apache-2.0
"""The table of the matrix hides nothing."""

from __future__ import annotations

from tests.interop.table import FAILED, PASSED, SKIPPED, Table


def test_a_cell_shows_the_worst_of_its_tests_parts() -> None:
    table = Table(["a"])
    for result in (PASSED, FAILED, PASSED):
        table.note("row", "a", result, 1.0)
    assert table.cells == {"row": {"a": FAILED}}
    assert table.seconds == {"a": 3.0}


def test_a_cell_that_was_not_run_says_so_and_a_skipped_one_says_why() -> None:
    table = Table(["a", "b", "c"], titles={"a": "1.0 a"})
    table.note("row", "a", PASSED, 2.0)
    table.note("row", "c", SKIPPED, 0.0, "no network")
    lines = [line.split("  ") for line in table.lines()]
    assert [cell.strip() for cell in lines[0] if cell.strip()] == ["1.0 a", "b", "c"]
    assert [cell.strip() for cell in lines[2] if cell.strip()] == [
        "row",
        "ok",
        "not run",
        "skipped",
    ]
    assert lines[-1] == ["skipped for c: no network"]
