# SPDX-License-Identifier: Apache-2.0
"""Lines are shown in order, and a watcher that stopped reading stops nobody."""

from __future__ import annotations

import contextlib
import io
import os

from keyfob.cli.console import Console


def test_every_line_is_shown_in_order_before_it_closes() -> None:
    stream = io.StringIO()
    with Console(stream) as console:
        for number in range(1000):
            console.show(str(number))
    assert stream.getvalue().split() == [str(number) for number in range(1000)]


def test_a_stopped_reader_delays_nobody_and_learns_how_much_it_missed() -> None:
    reading, writing = os.pipe()
    stream = open(writing, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - a descriptor
    with stream, Console(stream, limit=10) as console:
        for _ in range(1000):
            console.show("x" * 1000)  # far more than a pipe holds
        # It reads on, and later lines come through.
        seen = b""
        while b"lines were not shown" not in seen or b"later" not in seen:
            console.show("later")
            seen += os.read(reading, 100_000)
    os.close(reading)


def test_a_reader_that_left_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    stream = open(writing, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - a descriptor
    with Console(stream) as console:
        console.show("to nobody")
    console.show("to nobody again")
    with contextlib.suppress(BrokenPipeError):
        stream.close()


def test_a_stream_that_knows_no_unicode_gets_escapes() -> None:
    raw = io.BytesIO()
    with Console(io.TextIOWrapper(raw, encoding="ascii", write_through=True)) as console:
        console.show("eyJ…")
    assert raw.getvalue() == b"eyJ\\u2026\n"
