# SPDX-License-Identifier: Apache-2.0
"""What the configuration names becomes the part that it means."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from keyfob.cli.guard_parts import audit_sink
from keyfob.config import AuditTarget
from keyfob.errors import ConfigError
from keyfob.guard.audit import AuditEvent, AuditSink, Outcome
from keyfob.guard.audit_sinks import ConsoleSink, JsonStreamSink
from keyfob.guard.syslog_sink import SyslogSink


def sink_of(form: str, directory: Path) -> AuditSink:
    return audit_sink(AuditTarget.parse(form, directory))


def test_the_configuration_names_a_file_relative_to_its_own_folder(tmp_path: Path) -> None:
    made = sink_of("file:log/audit.jsonl", tmp_path)
    made.write([AuditEvent(time=1.0, outcome=Outcome.REFUSED, client_id="dev2")])
    made.close()
    path = tmp_path / "log/audit.jsonl"
    assert json.loads(path.read_text())["client_id"] == "dev2"
    assert path.parent.stat().st_mode & 0o077 == 0
    sink_of(f"file:{path}", Path("/nonexistent")).close()


@pytest.mark.parametrize(
    ("form", "kind"),
    [("stdout", JsonStreamSink), ("console", ConsoleSink), ("syslog", SyslogSink)],
)
def test_the_other_sinks_have_one_word(form: str, kind: type, tmp_path: Path) -> None:
    assert type(sink_of(form, tmp_path)) is kind


@pytest.mark.parametrize(
    ("form", "target"),
    [
        ("syslog", Path("/dev/log")),
        ("syslog:/run/systemd/journal/syslog", Path("/run/systemd/journal/syslog")),
        ("syslog:logs.example:514", ("logs.example", 514)),
        ("syslog:192.0.2.1:5140", ("192.0.2.1", 5140)),
        ("syslog:[2001:db8::1]:514", ("2001:db8::1", 514)),
    ],
)
def test_a_syslog_receiver_is_a_path_or_a_host_and_port(form: str, target: Any) -> None:
    made = sink_of(form, Path("/here"))
    assert isinstance(made, SyslogSink)
    assert made._target == target


def test_a_file_that_cannot_be_opened_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("not a folder")
    for form in ("file:log/audit.jsonl", "file:."):
        with pytest.raises(ConfigError, match="cannot be opened"):
            sink_of(form, tmp_path)
