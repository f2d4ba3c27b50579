# SPDX-License-Identifier: Apache-2.0
"""Places for decisions: every form that is documented, and nothing that looks like one."""

from __future__ import annotations

from pathlib import Path

import pytest

from keyfob.config import AuditTarget
from keyfob.errors import ConfigError

FOLDER = Path("/folder")


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("file:log/a.jsonl", AuditTarget(kind="file", path=FOLDER / "log/a.jsonl")),
        ("file:/a:b", AuditTarget(kind="file", path=Path("/a:b"))),
        ("stdout", AuditTarget(kind="stdout")),
        ("console", AuditTarget(kind="console")),
        ("syslog", AuditTarget(kind="syslog")),
        ("syslog:/run/log", AuditTarget(kind="syslog", path=Path("/run/log"))),
        ("syslog:logs.example:514", AuditTarget(kind="syslog", host="logs.example", port=514)),
        ("syslog:[::1]:65535", AuditTarget(kind="syslog", host="::1", port=65535)),
    ],
)
def test_a_place_is_read(text: str, target: AuditTarget) -> None:
    assert AuditTarget.parse(text, FOLDER) == target


@pytest.mark.parametrize(
    "text",
    [
        *("", "file", "file:", "file:a\0", "log.jsonl", "Console", "console:", "stdout:x"),
        *("syslog:", "syslog:host", "syslog:host:", "syslog:host:0", "syslog:host:65536"),
        *("syslog:host:5x", "syslog::514", "syslog:::1:514", "syslog:[host]:514", "syslog:/a\0"),
        *("syslog:host:514\n", "syslog:h ost:514", "syslog:host:\u0665", "syslog:run/log"),
    ],
)
def test_what_is_no_place_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(ConfigError, match=r"write file:PATH, stdout, console"):
        AuditTarget.parse(text, FOLDER)
