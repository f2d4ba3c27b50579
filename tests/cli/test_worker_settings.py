# SPDX-License-Identifier: Apache-2.0
"""A worker that starts later than its lead goes by what the lead goes by."""

from __future__ import annotations

from pathlib import Path

import pytest

from keyfob.cli.worker_settings import read_again, spelled
from keyfob.config import load
from keyfob.errors import ConfigError

GUARD = """
[guard]
workers = 4
database = "guard.db"
audit = ["syslog"]
[guard.http]
port = 9443
certificate = "http.pem"
private_key = "http.key"
"""


def test_the_guard_section_is_the_leads_and_the_rest_is_the_files(tmp_path: Path) -> None:
    """Another database would lack the revocations, another number have it decide for others."""
    path = tmp_path / "keyfob.toml"
    path.write_text(GUARD)
    before = load(path)
    path.write_text(GUARD.replace("4", "1").replace("guard.db", "new.db") + "[server]\nport = 1\n")
    now = read_again(before, spelled(before))
    assert now.guard == before.guard
    assert now.server.port == 1


def test_it_says_nothing_but_what_a_lead_says(tmp_path: Path) -> None:
    path = tmp_path / "keyfob.toml"
    path.write_text(GUARD)
    for text in ("", "[]", '{"database": 1}', '{"nothing": 1}'):
        with pytest.raises(ConfigError, match="for a lead to start"):
            read_again(load(path), text)
