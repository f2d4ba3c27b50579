# SPDX-License-Identifier: Apache-2.0
"""A line per event: JSON for programs, plain words for people, safe for their terminals."""

from __future__ import annotations

import io
import json
import unicodedata
from pathlib import Path
from typing import Any, BinaryIO, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfob.guard.audit import AuditEvent, Outcome
from keyfob.guard.audit_sinks import ConsoleSink, JsonLinesSink, JsonStreamSink, printable
from tests.guard.world import ISSUER, NOW


def event(outcome: Outcome = Outcome.REFUSED, **changes: Any) -> AuditEvent:
    values: dict[str, Any] = {
        "time": NOW,
        "outcome": outcome,
        "broker": "b1",
        "client_id": "dev2",
        "peer": "127.0.0.1",
        "issuer": ISSUER,
    }
    return AuditEvent(**{**values, **changes})


def console(shown: AuditEvent) -> str:
    stream = io.StringIO()
    sink = ConsoleSink(stream)
    sink.write([shown])
    sink.close()
    return stream.getvalue()


def test_json_lines_say_everything(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    sink = JsonLinesSink(path)
    sink.write([event(reason="token_expired"), event(Outcome.ALLOWED, expires_at=NOW + 5)])
    first, second = (json.loads(line) for line in path.read_text().splitlines())
    sink.close()
    assert first["reason"] == "token_expired"
    assert second == {
        "time": NOW,
        "outcome": "allowed",
        "broker": "b1",
        "client_id": "dev2",
        "reason": "",
        "explanation": "",
        "principal": "",
        "issuer": ISSUER,
        "token_id": "",
        "peer": "127.0.0.1",
        "expires_at": NOW + 5,
    }


def test_json_lines_are_appended_to_a_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    for _ in range(2):
        sink = JsonLinesSink(path)
        sink.write([event()])
        sink.close()
    assert len(path.read_text().splitlines()) == 2
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_truncated_file_goes_on_at_its_beginning(tmp_path: Path) -> None:
    """As logrotate's copytruncate leaves it."""
    path = tmp_path / "audit.jsonl"
    sink = JsonLinesSink(path)
    sink.write([event()])
    path.write_text("")
    sink.write([event()])
    sink.close()
    assert json.loads(path.read_text())["client_id"] == "dev2"


@pytest.mark.parametrize(
    ("shown", "line"),
    [
        (
            event(reason="client_id_mismatch", explanation="The token is for device 'dev1'."),
            "refused dev2: The token is for device 'dev1'. (client_id_mismatch) from 127.0.0.1\n",
        ),
        (
            event(client_id="", reason="token_expired", explanation="Expired.", peer=""),
            "refused a client without identifier: Expired. (token_expired)\n",
        ),
        (
            event(Outcome.REVOKED, reason="token_revoked", explanation="Revoked."),
            "ended dev2: Revoked. (token_revoked)\n",
        ),
        (
            event(Outcome.FORGOTTEN, explanation="Too old."),
            "forgot the stored session of dev2: Too old.\n",
        ),
        (
            event(Outcome.UPSTREAM_FAILED, explanation="keys: no answer"),
            f"upstream {ISSUER}: keys: no answer\n",
        ),
        (event(Outcome.UPSTREAM_RECOVERED), f"upstream {ISSUER}: answers again\n"),
        (
            event(Outcome.EVENT_ACCEPTED, explanation="session-revoked"),
            f"event from {ISSUER}: session-revoked from 127.0.0.1\n",
        ),
        (
            event(
                Outcome.EVENT_REFUSED, issuer="", reason="type_refused", explanation="No.", peer=""
            ),
            "event from somebody: No. (type_refused)\n",
        ),
    ],
)
def test_the_console_says_it_in_a_sentence(shown: AuditEvent, line: str) -> None:
    assert console(shown) == line


def test_the_console_says_who_was_let_in_until_when() -> None:
    line = console(event(Outcome.ALLOWED, principal="dev2", expires_at=NOW))
    assert line.startswith("allowed dev2 until ")
    other = console(event(Outcome.ALLOWED, principal="example:user", expires_at=NOW))
    assert other.startswith("allowed dev2 as example:user until ")


@given(st.text(st.characters(exclude_categories=[])), st.sampled_from(Outcome))
def test_no_client_identifier_breaks_the_line_or_reaches_the_terminal(
    text: str, outcome: Outcome
) -> None:
    """Whatever a device calls itself: one line, no control or format character, no surrogate."""
    line = console(event(outcome, client_id=text, principal=text, explanation=text, peer=text))
    assert line.count("\n") == 1
    assert line.endswith("\n")
    categories = {unicodedata.category(character) for character in line[:-1]}
    assert not categories & {"Cc", "Cs", "Zl", "Zp"}
    assert not set(line) & set("\u200b\u200e\u200f\u202a\u202b\u202d\u202e\u2066\u2067\ufeff")


def test_a_long_identifier_is_shortened() -> None:
    assert len(printable("x" * 65_535)) < 100
    assert len(console(event(client_id="\x1b" * 65_535, explanation="y" * 100_000))) < 2000


def test_ordinary_names_of_any_script_stay_readable() -> None:
    for name in ("dev-1_a.b", "Prüfstand 7", "温度计", "датчик"):
        assert printable(name) == name


def test_a_console_that_knows_ascii_only_gets_every_line() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    ConsoleSink(stream).write([event(client_id="温"), event(client_id="x" * 100)])
    assert len(raw.getvalue().splitlines()) == 2


class Stuttering(io.RawIOBase):
    """Takes a few bytes at a time, as standard output may when Python does not buffer it."""

    def __init__(self) -> None:
        self.taken = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        part = bytes(data[:7])
        self.taken += part
        return len(part)


def test_a_stream_gets_whole_json_lines() -> None:
    stream = Stuttering()
    sink = JsonStreamSink(cast("BinaryIO", stream))
    sink.write([event(reason="token_expired"), event(Outcome.ALLOWED)])
    sink.close()
    outcomes = [json.loads(line)["outcome"] for line in bytes(stream.taken).splitlines()]
    assert outcomes == ["refused", "allowed"]
    assert not stream.closed
