# SPDX-License-Identifier: Apache-2.0
"""The units in examples/systemd, as systemd reads them, and what the commands need of them."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest
from typer.main import get_command

from keyfob.cli.main import app

UNITS: Final = Path(__file__).parents[1] / "examples" / "systemd"
ANALYZE: Final = shutil.which("systemd-analyze")
OURS: Final = ("keyfob-guard.service", "keyfob-server.service")
MOSQUITTO: Final = Path("/lib/systemd/system/mosquitto.service")

with_systemd = pytest.mark.skipif(
    ANALYZE is None, reason="there is no systemd-analyze: the units in examples are NOT verified"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The units, with a program in the place of the one that is not installed here."""
    shutil.copytree(UNITS, tmp_path, dirs_exist_ok=True)
    for name in OURS:
        unit = tmp_path / name
        text = unit.read_text(encoding="utf-8")
        unit.write_text(text.replace("/opt/keyfob/bin/keyfob", "/bin/true"), encoding="utf-8")
    return tmp_path


def analyzed(*arguments: str, units: Path) -> str:
    assert ANALYZE is not None
    done = subprocess.run(
        [ANALYZE, *arguments],
        env={"PATH": "/usr/bin:/bin", "SYSTEMD_UNIT_PATH": f"{units}:"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said


def complaints(said: str, names: tuple[str, ...]) -> list[str]:
    """What is said of these units; a machine's others may have faults of their own."""
    return [line for line in said.splitlines() if any(name in line for name in names)]


@with_systemd
@pytest.mark.parametrize("name", OURS)
def test_systemd_takes_every_line_of_a_unit(name: str, folder: Path) -> None:
    said = analyzed("verify", "--man=no", str(folder / name), units=folder)
    assert complaints(said, (name,)) == []


@with_systemd
def test_systemd_notices_a_wrong_line(folder: Path) -> None:
    unit = folder / OURS[0]
    text = unit.read_text(encoding="utf-8")
    unit.write_text(text.replace("ProtectHome=yes", "ProtectHomes=yes"), encoding="utf-8")
    said = analyzed("verify", "--man=no", str(unit), units=folder)
    assert len(complaints(said, (OURS[0],))) == 1


@with_systemd
@pytest.mark.skipif(not MOSQUITTO.exists(), reason="no mosquitto.service: its drop-in is NOT tried")
def test_systemd_takes_mosquittos_unit_with_what_is_added(folder: Path) -> None:
    shutil.copy(MOSQUITTO, folder)
    said = analyzed("verify", "--man=no", str(folder / "mosquitto.service"), units=folder)
    names = ("keyfob.conf", "mosquitto.service")
    own = ("Unit configuration has fatal error",)
    assert [line for line in complaints(said, names) if not any(one in line for one in own)] == []


@with_systemd
@pytest.mark.parametrize("name", OURS)
def test_a_unit_is_as_shut_in_as_systemd_can_tell(name: str, folder: Path) -> None:
    # 10 is open to everything; what systemd calls OK ends at 5. Fails above the threshold.
    analyzed("security", "--offline=true", "--threshold=25", str(folder / name), units=folder)


@pytest.mark.parametrize("name", OURS)
def test_a_unit_starts_a_command_that_there_is(name: str) -> None:
    text = (UNITS / name).read_text(encoding="utf-8")
    (command,) = re.findall(r"^ExecStart=/opt/keyfob/bin/keyfob (\S+) --dir \S+$", text, re.M)
    assert command in get_command(app).commands  # type: ignore[attr-defined]
