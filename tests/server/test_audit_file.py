# SPDX-License-Identifier: Apache-2.0
"""One JSON line for every issue and refusal, whatever happens to the server, file or disk."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from keyfob.errors import ConfigError
from keyfob.server import audit_file
from keyfob.server.audit import TokenEvent
from keyfob.server.audit_file import AuditFile


def event(number: int) -> TokenEvent:
    return TokenEvent(at=float(number), outcome="refused", peer="192.0.2.1", client_id=f"d{number}")


def numbers(path: Path) -> list[int]:
    return [int(json.loads(line)["at"]) for line in path.read_text().splitlines()]


def test_a_line_is_in_the_file_when_the_sink_returns(tmp_path: Path) -> None:
    path = tmp_path / "log" / "audit.jsonl"
    with AuditFile(path) as file:
        for number in range(3):
            file(event(number))
            assert numbers(path) == [*range(number + 1)]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_it_goes_on_at_the_end_of_a_file_that_is_there(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    for number in range(2):
        with AuditFile(path) as file:
            file(event(number))
    assert numbers(path) == [0, 1]


def test_a_file_that_was_moved_away_is_followed_by_a_new_one(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    with AuditFile(path) as file:
        file(event(0))
        path.rename(tmp_path / "old")
        file(event(1))
        file.reopen()
        file(event(2))
    assert numbers(tmp_path / "old") == [0, 1]
    assert numbers(path) == [2]


def test_a_file_that_was_copied_and_truncated_goes_on_at_its_start(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    with AuditFile(path) as file:
        file(event(0))
        os.truncate(path, 0)
        file(event(1))
    assert numbers(path) == [1]


def test_a_place_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Is a directory"):
        AuditFile(tmp_path)


class FullDisk:
    """Takes only some bytes of a write, or none, as long as a test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left: int | None = None
        self._write = os.write
        monkeypatch.setattr(os, "write", self)

    def __call__(self, file: int, data: Any) -> int:
        if self.left is None:
            return self._write(file, data)
        if self.left == 0:
            raise OSError(28, "No space left on device")
        taken, self.left = data[: self.left], 0
        return self._write(file, taken)


def test_lines_wait_for_a_full_disk_and_follow_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "audit.jsonl"
    disk = FullDisk(monkeypatch)
    with AuditFile(path) as file:
        file(event(0))
        disk.left = 10
        for number in range(1, 5):
            file(event(number))
        disk.left = None
        file(event(5))
        assert file.dropped == 0
    whole = [line for line in path.read_text().splitlines() if line.endswith("}")]
    assert [int(json.loads(line)["at"]) for line in whole] == [0, 1, 2, 3, 4, 5]
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
    assert "d1" not in caplog.text


def test_what_waits_too_long_is_counted_and_memory_stays_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = FullDisk(monkeypatch)
    monkeypatch.setattr(audit_file, "MAX_WAITING", 3)
    path = tmp_path / "audit.jsonl"
    with AuditFile(path) as file:
        disk.left = 0
        for number in range(5):
            file(event(number))
        disk.left = None
        file(event(5))
        assert file.dropped == 3
    assert numbers(path) == [3, 4, 5]


def test_what_waits_at_the_end_is_written_if_there_is_room_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = FullDisk(monkeypatch)
    path = tmp_path / "audit.jsonl"
    with AuditFile(path) as file:
        disk.left = 0
        file(event(0))
        file(event(1))
        disk.left = None
    assert (numbers(path), file.dropped) == ([0, 1], 0)
    with AuditFile(path) as file:
        disk.left = 0
        file(event(2))
    assert (numbers(path), file.dropped) == ([0, 1], 1)  # and if not, that is told


@pytest.mark.parametrize("how", ["restart", "reopen"])
def test_a_line_that_was_torn_spoils_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    disk = FullDisk(monkeypatch)
    path = tmp_path / "audit.jsonl"
    with AuditFile(path) as file:
        file(event(0))
        disk.left = 10
        file(event(1))
        if how == "reopen":
            file.reopen()
            disk.left = None
            file(event(2))
    disk.left = None
    with AuditFile(path) as file:
        file(event(3))
    whole = [line for line in path.read_text().splitlines() if line.endswith("}")]
    assert [int(json.loads(line)["at"]) for line in whole] == (
        [0, 3] if how == "restart" else [0, 1, 2, 3]
    )


def test_what_has_no_disk_below_it_is_no_fault(caplog: pytest.LogCaptureFixture) -> None:
    with AuditFile(Path("/dev/null")) as file:
        file(event(0))
        file.reopen()
        file(event(1))
    assert caplog.text == ""


def test_a_disk_that_fails_keeps_nobody_from_a_new_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: int) -> None:
        raise OSError(5, "Input/output error")

    path = tmp_path / "audit.jsonl"
    with AuditFile(path) as file:
        file(event(0))
        path.rename(tmp_path / "old")
        monkeypatch.setattr(os, "fdatasync", broken)
        file.reopen()
        file(event(1))
    assert numbers(path) == [1]
    assert "Input/output error" in caplog.text
