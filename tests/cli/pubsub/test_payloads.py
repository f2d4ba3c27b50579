# SPDX-License-Identifier: Apache-2.0
"""Standard input as messages: every byte of it, as soon as it comes."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfob.cli.pubsub import payloads
from keyfob.cli.pubsub.payloads import lines, whole_file
from keyfob.errors import ConfigError, UpstreamError


def quiet() -> None:
    """Nothing ends the reading."""


@given(st.lists(st.binary(max_size=30), max_size=20))
def test_lines_are_what_stands_between_ends_of_lines(pieces: list[bytes]) -> None:
    reader, writer = os.pipe()
    woken, waker = os.pipe()
    try:
        for piece in pieces:
            os.write(writer, piece)
        os.close(writer)
        found = list(lines(reader, woken, quiet))
    finally:
        for one in (reader, woken, waker):
            os.close(one)
    whole = b"".join(pieces).split(b"\n")
    assert found == (whole if whole[-1] else whole[:-1])


def test_a_line_is_there_before_the_next_one_is_written() -> None:
    reader, writer = os.pipe()
    woken, waker = os.pipe()
    found = lines(reader, woken, quiet)
    for text in (b"one", b"", b"\0\xff"):
        os.write(writer, text + b"\n")
        assert next(found) == text
    os.close(writer)
    assert next(found, None) is None
    for one in (reader, woken, waker):
        os.close(one)


def test_whoever_waits_for_a_line_hears_of_the_end() -> None:
    reader, writer = os.pipe()
    woken, waker = os.pipe()

    def gone() -> None:
        raise UpstreamError("the connection is gone")

    threading.Timer(0.05, os.write, (waker, b".")).start()
    with pytest.raises(UpstreamError):
        next(lines(reader, woken, gone))
    for one in (reader, writer, woken, waker):
        os.close(one)


def test_more_than_a_message_can_be_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(payloads, "LONGEST", 10)
    file = tmp_path / "file"
    file.write_bytes(b"x" * 11)
    with pytest.raises(ConfigError, match="at most"):
        whole_file(file)
    file.write_bytes(b"x" * 10)
    assert whole_file(file) == b"x" * 10
    file.write_bytes(b"short\n" + b"x" * 11)
    woken, waker = os.pipe()
    with file.open("rb") as stream, pytest.raises(ConfigError, match="at most"):
        list(lines(stream.fileno(), woken, quiet))
    os.close(woken)
    os.close(waker)
