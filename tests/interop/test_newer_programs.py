# SPDX-License-Identifier: Apache-2.0
"""The scripts that fetch programs of a newer Debian: nothing unverified, twice, or half."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.interop.fetched import CANNOT_HAVE, ROOT

PROGRAMS = ("mosquitto", "rabbitmq", "micropython")
each_program = pytest.mark.parametrize("name", PROGRAMS)
on_debian = pytest.mark.skipif(
    shutil.which("apt-get") is None, reason="apt-get is a Debian program"
)


def fetch(name: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(ROOT / "scripts" / f"newer-{name}"), *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def apt_with(folder: Path, sources: str, *more: str) -> str:
    """Configure apt with these sources alone; return the configuration's path."""
    (folder / "sources.list").write_text(sources)
    lines = (f'Dir::Etc::sourcelist "{folder}/sources.list";', 'Dir::Etc::sourceparts "/dev/null";')
    (folder / "apt.conf").write_text("\n".join([*lines, *more, ""]))
    return str(folder / "apt.conf")


@each_program
@pytest.mark.parametrize("arguments", [(), ("",), ("../trixie",), ("a b",)])
def test_a_suite_that_is_none_is_misuse(name: str, arguments: tuple[str, ...]) -> None:
    assert fetch(name, *arguments).returncode == 2


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("mosquitto", "mosquitto version 9.8.7"),
        ("micropython", "MicroPython v9.8.7"),
        ("rabbitmq", ""),
    ],
)
def test_what_is_there_is_not_fetched_again(name: str, says: str, tmp_path: Path) -> None:
    # RabbitMQ's version is the name of its folder.
    (tmp_path / "root/usr/lib/rabbitmq/lib/rabbitmq_server-9.8.7").mkdir(parents=True)
    program = tmp_path / name
    program.write_text(f"#!/bin/sh\necho {says}\n")
    program.chmod(0o755)
    result = fetch(name, "trixie", str(tmp_path), APT_CONFIG="/nonexistent")
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"{program}\n"
    assert "9.8.7" in result.stderr
    assert {path.name for path in tmp_path.iterdir()} <= {name, "lock", "root"}


@each_program
@on_debian
def test_a_machine_without_a_mirror_is_told_and_has_no_program(name: str, tmp_path: Path) -> None:
    target = tmp_path / "target"
    result = fetch(name, "trixie", str(target), APT_CONFIG=apt_with(tmp_path, ""))
    assert result.returncode == CANNOT_HAVE, result.stderr
    assert not (target / name).exists()


@each_program
@on_debian
def test_what_is_not_signed_is_not_taken_whatever_the_machine_allows(
    name: str, tmp_path: Path
) -> None:
    release = tmp_path / "mirror" / "dists" / "trixie" / "Release"
    release.parent.mkdir(parents=True)
    release.write_text("Origin: Debian\nSuite: trixie\nCodename: trixie\nComponents: main\n")
    configuration = apt_with(
        tmp_path,
        f"deb [trusted=yes] file:{tmp_path}/mirror stable main\n",
        'Acquire::AllowInsecureRepositories "true";',
        'APT::Get::AllowUnauthenticated "true";',
    )
    target = tmp_path / "target"
    result = fetch(name, "trixie", str(target), APT_CONFIG=configuration)
    assert result.returncode == CANNOT_HAVE, result.stderr
    assert not (target / name).exists()
    if "no Debian keys here" not in result.stderr:
        error = f"E: The repository 'file:{tmp_path}/mirror trixie Release' is not signed."
        assert error in result.stderr
