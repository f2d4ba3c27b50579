# SPDX-License-Identifier: Apache-2.0
"""Rows of a file that go wrong: each is rejected alone, and no row is made of another."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from keyfob.server.fleet_rows import MAX_LINE, Row, RowReader
from keyfob.server.register import Register
from tests.server.test_fleet_import import load, rejected


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_empty_lines_at_the_end_do_not_make_it_another_input(
    register: Register, tmp_path: Path, form: str
) -> None:
    text = "device\ndev1\n\n\n" if form == "csv" else '{"device": "dev1"}\n\n'
    load(register, text, tmp_path, form)  # type: ignore[arg-type]
    again = load(register, text, tmp_path, form)  # type: ignore[arg-type]
    assert (again.before, again.registered) == (1, 0)


@pytest.mark.parametrize("more", [0, 1, MAX_LINE - 1, MAX_LINE, 3 * MAX_LINE])
def test_a_line_that_is_too_long_is_rejected_and_the_rest_is_loaded(
    register: Register, tmp_path: Path, more: int
) -> None:
    long = "x" * (MAX_LINE + more)
    outcome = load(register, f"device\ndev1\n{long}\ndev2\n{long}", tmp_path)
    assert (outcome.registered, outcome.rejected) == (2, 2)
    assert [row["row"] for row in rejected(tmp_path)] == ["3", "5"]
    assert (tmp_path / "rejects.csv").stat().st_size < 1_000


@pytest.mark.parametrize("member", ["jwks", "metadata", "labels"])
def test_a_line_that_is_nested_too_deep_is_rejected_and_the_rest_is_loaded(
    register: Register, tmp_path: Path, member: str
) -> None:
    deep = f'{{"device": "dev1", "{member}": {"[" * 30_000}{"]" * 30_000}}}'
    outcome = load(register, f'{deep}\n{{"device": "dev2"}}\n', tmp_path, "jsonl")
    assert (outcome.registered, outcome.rejected) == (1, 1)
    assert [row["row"] for row in rejected(tmp_path)] == ["1"]


@pytest.mark.parametrize("lines", [2, 3])
def test_no_device_is_made_of_what_stands_within_the_quotes_of_another(
    register: Register, tmp_path: Path, lines: int
) -> None:
    """Whoever says what a label is, and a program that quotes it as RFC 4180 says."""
    within = "\n".join(["evil,,#"] * (lines - 1))
    text = f'device,labels,publish\n"dev1","site=x\n{within}\nb","a"\ndev2,,\n"dev3",,\n'
    outcome = load(register, text, tmp_path)
    assert [device.id for device in register.list_devices()] == ["dev2", "dev3"]
    assert outcome.rejected == lines + 1


def test_a_list_in_a_cell_is_cut_at_spaces_and_nowhere_else() -> None:
    text = "device,publish\ndev1,a\u00a0b  c\u2028/#\n"
    ((_, row),) = RowReader(io.BytesIO(text.encode()), "csv").rows()
    assert isinstance(row, Row)
    assert row.publish == ["a\u00a0b", "c\u2028/#"]


def test_long_rows_are_taken_in_bounded_pieces() -> None:
    """Rows of the longest kind need no more memory at once than a few thousand short ones."""
    line = b'{"device":"d","state":"' + b"x" * (MAX_LINE - 100) + b'"}\n'
    reader = RowReader(io.BytesIO(line * 1_000), "jsonl")
    rows = reader.rows()
    pieces = []
    while piece := reader.take(rows, 5_000):
        pieces.append(len(piece))
    assert sum(pieces) == 1_000
    assert max(pieces) * MAX_LINE < 10_000_000


def test_a_byte_order_mark_spoils_no_row(register: Register, tmp_path: Path) -> None:
    text = '\ufeff{"device": "dev1"}\n'
    assert load(register, text, tmp_path, "jsonl").registered == 1
