# SPDX-License-Identifier: Apache-2.0
"""Pictures of a load curve: the peak is in them, and they are what a terminal or browser reads."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from keyfob.cli.load_plot import columns_of, svg, text_plot


@given(
    st.lists(st.integers(0, 10**7), min_size=1, max_size=300),
    st.integers(1, 100),
    st.integers(0, 20),
)
def test_the_fullest_second_is_in_a_column(counts: list[int], columns: int, aside: int) -> None:
    drawn = columns_of(counts, columns, aside=aside)
    assert len(drawn) <= columns
    assert max(drawn) == max(counts[aside:], default=0)


def test_seconds_can_be_taken_together() -> None:
    assert columns_of([9, 9, 1, 3, 5, 7], 3, interval=2, aside=2) == [0, 2, 6]


@given(st.lists(st.floats(0, 1e7), min_size=1, max_size=100), st.integers(1, 20))
def test_a_text_plot_is_full_at_its_highest_column(columns: list[float], height: int) -> None:
    lines = text_plot(columns, height=height).splitlines()
    assert len(lines) == height + 1
    assert max(map(len, lines)) <= 14 + len(columns)
    if max(columns) > 0:
        assert lines[0].endswith("█") or "█" in lines[0]


def test_an_svg_is_xml_with_every_column_mean_and_limit() -> None:
    root = ElementTree.fromstring(svg([1.0, 2.0, 3.0], [2.0, 2.5], [3.6, 3.25], "a fleet"))
    space = "{http://www.w3.org/2000/svg}"
    area, *lines = (path.get("d") or "" for path in root.iter(f"{space}path"))
    assert len(re.findall(r"H", area)) == 3
    assert len(lines) == 4
    texts = [text.text for text in root.iter(f"{space}text")]
    assert "lifetime 2" in texts
    heights = [float(y) for y in re.findall(r"V([\d.]+)", area)]
    assert heights[0] > heights[1] > heights[2] >= 40
