# SPDX-License-Identifier: Apache-2.0
"""Every event is one well formed syslog message, and a receiver that was away is found again."""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfob.guard.audit import MAX_EXPLANATION, MAX_NAME, AuditEvent, AuditLog, Outcome
from keyfob.guard.syslog_sink import MAX_MESSAGE, SyslogSink
from tests.guard.world import ISSUER, NOW

PATIENCE = 30.0

# RFC 5424 section 6: HEADER SP STRUCTURED-DATA SP MSG.
MESSAGE = re.compile(
    rb"<(?P<priority>\d{1,3})>1 (?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z)"
    rb" (?P<host>[!-~]{1,255}) (?P<app>[!-~]{1,48}) (?P<process>[!-~]{1,128})"
    rb" (?P<id>[!-~]{1,32}) - (?P<message>\{.*\})",
    re.DOTALL,
)


def event(outcome: Outcome = Outcome.REFUSED, **changes: Any) -> AuditEvent:
    values: dict[str, Any] = {"time": NOW + 0.25, "outcome": outcome, "client_id": "dev1"}
    return AuditEvent(**{**values, "issuer": ISSUER, **changes})


def listener(path: Path) -> socket.socket:
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    opened.settimeout(PATIENCE)
    opened.bind(str(path))
    return opened


@pytest.fixture
def local(tmp_path: Path) -> Iterator[tuple[Path, socket.socket]]:
    path = tmp_path / "log"
    with listener(path) as opened:
        yield path, opened


def test_a_message_is_the_events_json_line_with_the_header_of_rfc_5424(
    local: tuple[Path, socket.socket],
) -> None:
    path, receiver = local
    sink = SyslogSink(path)
    sink.write([event(reason="token_expired")])
    found = MESSAGE.fullmatch(receiver.recv(65_536))
    sink.close()
    assert found is not None
    assert found["app"] == b"keyfob"
    assert found["process"] == str(os.getpid()).encode()
    assert found["id"] == b"refused"
    assert found["time"] == b"2026-09-21T14:13:20.250000Z"
    document = json.loads(found["message"])
    assert (document["client_id"], document["reason"]) == ("dev1", "token_expired")
    assert set(document) == set(AuditEvent.__struct_fields__)


@pytest.mark.parametrize("outcome", Outcome)
def test_every_outcome_has_a_severity_of_the_authorization_facility(
    outcome: Outcome, local: tuple[Path, socket.socket]
) -> None:
    path, receiver = local
    sink = SyslogSink(path)
    sink.write([event(outcome)])
    found = MESSAGE.fullmatch(receiver.recv(65_536))
    sink.close()
    assert found is not None
    facility, severity = divmod(int(found["priority"]), 8)
    assert facility == 10
    assert severity in (4, 5, 6)
    assert (severity == 6) == (
        outcome.value in ("allowed", "reauthenticated", "forgotten", "event_ignored")
    )


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_a_receiver_over_udp_gets_it(family: socket.AddressFamily) -> None:
    host = "127.0.0.1" if family == socket.AF_INET else "::1"
    with socket.socket(family, socket.SOCK_DGRAM) as receiver:
        receiver.settimeout(PATIENCE)
        try:
            receiver.bind((host, 0))
        except OSError:
            pytest.skip("this machine has no such address")
        sink = SyslogSink((host, receiver.getsockname()[1]))
        sink.write([event(client_id="a"), event(client_id="b")])
        names = []
        for _ in range(2):
            found = MESSAGE.fullmatch(receiver.recv(65_536))
            assert found is not None
            names.append(json.loads(found["message"])["client_id"])
        sink.close()
    assert names == ["a", "b"]


def test_a_receiver_that_was_started_anew_is_found_again(tmp_path: Path) -> None:
    path = tmp_path / "log"
    sink = SyslogSink(path)
    for name in ("before", "after"):
        with listener(path) as receiver:
            sink.write([event(client_id=name)])
            assert name.encode() in receiver.recv(65_536)
        path.unlink()
        with pytest.raises(OSError, match=r"."):
            sink.write([event(client_id="between")])
    sink.close()


def test_the_operator_is_told_once_which_sink_fails_and_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "nobody"
    with AuditLog([SyslogSink(path)]) as log:
        for _ in range(2):
            log.record(event())
            log.flush()
    assert caplog.messages == [
        f"audit: syslog at {path} cannot be written: No such file or directory"
    ]
    assert str(SyslogSink(("::1", 514))) == "syslog at ::1 port 514"


def test_while_nobody_listens_lines_count_as_dropped_and_the_guard_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with AuditLog([SyslogSink(path)], flush_interval=3600) as log:
        for _ in range(3):
            log.record(event())
        log.flush()
        assert log.dropped == 3
        with listener(path) as receiver:
            log.record(event(client_id="back"))
            log.flush()
            assert b"back" in receiver.recv(65_536)
        assert log.dropped == 3


def test_a_receiver_that_does_not_read_does_not_hold_up_the_audit_for_ever(
    local: tuple[Path, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keyfob.guard.syslog_sink.SEND_SECONDS", 0.05)
    path, _ = local
    with AuditLog([SyslogSink(path)], flush_interval=3600) as log:
        for _ in range(2_000):  # more than net.unix.max_dgram_qlen
            log.record(event())
        log.flush()
        assert log.dropped == 2_000


_ANY = st.text(st.characters(exclude_categories=["Cs"]), max_size=MAX_NAME)


@given(_ANY, st.text(max_size=MAX_EXPLANATION), st.sampled_from(Outcome))
def test_whatever_a_client_is_called_a_message_is_one_bounded_json_document(
    name: str, explanation: str, outcome: Outcome
) -> None:
    explanation = explanation.encode("utf-8", "replace").decode()
    sink = SyslogSink()
    shown = event(outcome, client_id=name, explanation=explanation, principal=name, peer=name)
    found = MESSAGE.fullmatch(sink._message(shown))
    assert found is not None
    assert len(found[0]) <= MAX_MESSAGE
    document = json.loads(found["message"])
    assert document["client_id"] == name
    assert b"\n" not in found[0]


@pytest.mark.parametrize("character", ["x", "\x01", "\U0001f4a3", '"'])
def test_the_longest_event_is_made_short_and_stays_json(character: str) -> None:
    long: dict[str, Any] = {
        "client_id": character * MAX_NAME,
        "principal": character * MAX_NAME,
        "token_id": character * MAX_NAME,
        "peer": character * MAX_NAME,
        "explanation": character * MAX_EXPLANATION,
        "issuer": "https://" + "i" * 10_000,
        "broker": character * 10_000,
    }
    found = MESSAGE.fullmatch(SyslogSink()._message(event(**long)))
    assert found is not None
    assert len(found[0]) <= MAX_MESSAGE
    assert json.loads(found["message"])["client_id"].startswith(character * 64)
