# SPDX-License-Identifier: Apache-2.0
"""Whose client is whose."""

from __future__ import annotations

import zlib

from hypothesis import given
from hypothesis import strategies as st

from keyfob.guard.shares import WHOLE, Share

names = st.text(min_size=1).filter(lambda name: "\0" not in name)


@given(st.text(), st.integers(1, 64))
def test_a_client_belongs_to_exactly_one_worker(client_id: str, workers: int) -> None:
    client_id = client_id.encode("utf-8", "replace").decode()
    holders = [w for w in range(workers) if Share(w, workers).holds(client_id)]
    assert holders == [zlib.crc32(client_id.encode()) % workers]


@given(names, st.integers(1, 64), st.integers(1, 64))
def test_a_note_is_read_by_who_wrote_it_and_by_nobody_else(
    broker: str, workers: int, others: int
) -> None:
    share, other = Share(0, workers), Share(0, others)
    assert share.noted(share.note(broker)) == broker
    assert (other.noted(share.note(broker)) is None) == (workers != others)


def test_a_worker_that_is_alone_holds_everybody_and_notes_plainly() -> None:
    assert WHOLE.holds("dev1")
    assert WHOLE.note("mosquitto") == "mosquitto"
