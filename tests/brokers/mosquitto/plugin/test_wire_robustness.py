# SPDX-License-Identifier: Apache-2.0
"""Whatever a peer sends, the decoder answers: no byte is read that is not there."""

from __future__ import annotations

import random
import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keyfob.authorization.permissions import Form, Operation, Permissions, Rule
from keyfob.mqtt.topics import TopicFilter
from tests.brokers.mosquitto.plugin import frames
from tests.brokers.mosquitto.plugin.runner import Runner

bounded = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)

ALLOWED = frames.permissions(
    Permissions(
        Form.FIRST_MATCH,
        tuple(
            Rule(operations=Operation(3), filter=TopicFilter.parse(text), literal=i % 2 == 1)
            for i, text in enumerate(("a/+/ä", "$share/g/b/#", "devices/dev1/up", "#"))
        ),
    )
)
SEEDS = [
    frames.welcome(),
    frames.record(ALLOWED, "gerät", state=0, clean=True),
    frames.records_end(),
    frames.decision(7, 9, allowed=ALLOWED),
    frames.decision(7, 9, reason=0x87),
    frames.end("dev1", 2, 5),
    frames.replace(ALLOWED, "gerät", epoch=5),
]
TOPICS = (b"a/b/\xc3\xa4", b"b", b"devices/dev1/up", b"$SYS/x")


def mutated(chance: random.Random, seed: bytes) -> bytes:
    data = bytearray(seed)
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(data)) if data else 0
        match chance.randrange(5):
            case 0:
                data[place:place] = chance.randbytes(chance.randint(1, 9))
            case 1:
                del data[place : place + chance.randint(1, 9)]
            case 2 if data:
                data[place] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
            case 3 if data:
                data[place] ^= 1 << chance.randrange(8)
            case _:
                data[place:] = data[: chance.randint(0, len(data))]
    if chance.random() < 0.8 and len(data) >= 12:  # else most die on the length
        struct.pack_into(">I", data, 0, len(data) - 12)
    return bytes(data)


@pytest.mark.parametrize("seed", range(len(SEEDS)))
def test_a_mutated_frame_is_read_or_refused_and_never_overread(runner: Runner, seed: int) -> None:
    chance = random.Random(seed)
    answers = set()
    for _ in range(1500):
        data = mutated(chance, SEEDS[seed])
        answer = runner.ask("read", data)
        answers.add(answer.split()[0])
        if answer.startswith("RECORD ") and runner.ask("load", data) == "loaded":
            assert runner.ask("rewrite") == data.hex()
            for topic in TOPICS:
                runner.says("publish", topic, 0, 0)
                runner.says("subscribe", topic, 1)
                runner.says("receive", topic)
    assert "violation" in answers


@pytest.mark.parametrize("seed", range(len(SEEDS)))
def test_a_frame_that_is_cut_short_is_waited_for(runner: Runner, seed: int) -> None:
    data = SEEDS[seed]
    assert {runner.ask("read", data[:size]) for size in range(len(data))} == {"more"}


@pytest.mark.parametrize("seed", range(len(SEEDS)))
def test_only_the_first_frame_is_taken(runner: Runner, seed: int) -> None:
    data = SEEDS[seed]
    assert runner.ask("read", data + data) == runner.ask("read", data)


@bounded
@given(data=st.binary(max_size=300))
def test_any_bytes_are_answered(runner: Runner, data: bytes) -> None:
    first = runner.ask("read", data).split()[0]
    frame = {"WELCOME", "RECORD", "RECORDS_END", "DECISION", "END", "REPLACE"}
    assert first in {"more", "violation", *frame}


@bounded
@given(data=st.binary(max_size=120))
def test_a_text_is_utf_8_exactly_where_python_says_so(runner: Runner, data: bytes) -> None:
    try:
        well_formed = b"\0" not in data and bool(data.decode() or True)
    except UnicodeDecodeError:
        well_formed = False
    end = frames.frame(frames.END, struct.pack(">QB", 1, 1) + frames.text(data))
    assert runner.ask("read", end).startswith("END" if well_formed else "violation")


@bounded
@given(text=st.binary(max_size=300))
def test_what_goes_into_a_log_is_one_short_line_of_ascii(runner: Runner, text: bytes) -> None:
    shown = runner.ask("log", text)
    assert len(shown) < 128
    assert shown.isascii()
    assert shown.isprintable()
    assert not any(byte in text and chr(byte) in shown for byte in (0x1B, 0x0A, 0x0D, 0x7F))


def test_a_frame_that_does_not_fit_is_not_written(runner: Runner) -> None:
    """A client identifier that a broker let through must not end the link."""
    assert runner.ask("write", "ADMITTED", 1, b"x" * 65_535) != "refused"
    assert runner.ask("write", "ADMITTED", 1, b"x" * 65_536) == "refused"
    for fields in ([b"x" * 65_536, *[b""] * 6], [*[b""] * 6, b"x" * 65_536]):
        assert runner.ask("write", "CONNECT", 1, 1, 0, 5, *fields, 0) == "refused"
    assert runner.ask("write", "CONTINUE", 1, 1, b"x" * 65_536, b"", 0) == "refused"
