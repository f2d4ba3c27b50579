# SPDX-License-Identifier: Apache-2.0
"""A fleet of a million: imported, listed by page, exported, in part disabled; memory stays flat."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from keyfob.server.register import Register
from keyfob.server.stores.store import open_store
from tests.running import KEYFOB

SIZE = int(os.environ.get("KEYFOB_SOAK_DEVICES", "1_000_000"))
GROWTH = 32.0
"""MiB that a command may need beyond what it needs for a thousand devices."""

# Walks every page, as an API would: each begins behind the last name of the one before.
_PAGES = """
import sys
from pathlib import Path
from keyfob.server.register import Register

with Register.open(Path(sys.argv[1])) as register:
    count, after = 0, ""
    while page := register.list_devices(after=after, limit=1_000):
        names = [device.id for device in page]
        assert names == sorted(set(names)) and names[0] > after
        count, after = count + len(page), names[-1]
print(count)
"""


@dataclass(frozen=True)
class Done:
    """What a command printed and took."""

    out: str
    seconds: float
    peak: float
    """MiB of memory, at most."""


def do(folder: Path, *command: str) -> Done:
    """Run a command; one that fails shows why."""
    started = time.monotonic()
    with (folder / "out").open("w+b") as out:
        process = subprocess.Popen(command, stdout=out, cwd=folder)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, command
    seconds = time.monotonic() - started
    return Done((folder / "out").read_text(), seconds, usage.ru_maxrss / 1024)


def lived(folder: Path, size: int, disabled: int) -> dict[str, Done]:
    """Lead a fleet of some size through its life, and check each step of it."""
    folder.mkdir()
    data = ("--dir", str(folder / "data"))

    def keyfob(*words: str) -> Done:
        return do(folder, *KEYFOB, *words, *data)

    keyfob("init")
    keyfob("group", "add", "meters", "--publish", "meters/{device}/#")
    with (folder / "fleet.csv").open("w") as file:
        file.write("device,groups,labels\n")
        for number in range(size):
            batch = "bad" if number % (size // disabled) == 0 else "good"
            file.write(f"meter-{number:07},meters,site=s{number % 997};batch={batch}\n")
    steps = {
        "import": keyfob(
            *("device", "import", "fleet.csv", "--secrets-out", "secrets.csv", "--json")
        ),
        "list by page": do(
            folder, sys.executable, "-c", _PAGES, str(folder / "data" / "server.db")
        ),
        "export": keyfob("device", "export", "--out", "exported.csv"),
        "disable": keyfob("device", "disable", "--label", "batch=bad", "--json"),
    }
    assert json.loads(steps["import"].out)["registered"] == size
    assert int(steps["list by page"].out) == size
    assert json.loads(steps["disable"].out)["devices"] == disabled
    check(folder, size, disabled)
    return steps


def check(folder: Path, size: int, disabled: int) -> None:
    """Look for every device in every file, and for the revocation of every disabled one."""
    for name in ("exported.csv", "secrets.csv"):
        with (folder / name).open() as file:
            assert all(
                row["device"] == f"meter-{number:07}"
                for number, row in enumerate(csv.DictReader(file))
            )
            file.seek(0)
            assert sum(1 for _ in file) == size + 1
    database = folder / "data" / "server.db"
    with Register.open(database) as register:
        found = register.list_devices(limit=1)[0]
        assert (found.state, found.groups) == ("disabled", ("meters",))
        assert found.labels == {"batch": "bad", "site": "s0"}
        assert len(register.list_actions(last=10 * size)) >= disabled
    store = open_store(database)
    revoked = store.revocations_after(0, now=0, limit=size)
    store.close()
    every = size // disabled
    assert {row.subject for row in revoked} == {f"meter-{n:07}" for n in range(0, size, every)}


def grown(folder: Path, size: int, disabled: int) -> dict[str, Done]:
    """Compare a fleet with a small one: no command holds it in memory."""
    small = lived(folder / "small", 1_000, 10)
    steps = lived(folder / "large", size, disabled)
    for name, done in steps.items():
        assert done.peak < small[name].peak + GROWTH, (name, small[name].peak, done.peak)
    return steps


def test_a_fleet_is_imported_listed_exported_and_disabled_in_bounded_memory(
    tmp_path: Path,
) -> None:
    """The short form: a list of so many devices would not fit in what is allowed."""
    grown(tmp_path, 60_000, 1_000)


@pytest.mark.soak
def test_a_million_devices_are_imported_listed_exported_and_disabled(tmp_path: Path) -> None:
    steps = grown(tmp_path, SIZE, SIZE // 100)
    for name, done in steps.items():
        print(f"{name:14} {done.seconds:7.1f} s {done.peak:7.1f} MiB at most")
