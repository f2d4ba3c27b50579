# SPDX-License-Identifier: Apache-2.0
"""The script that fetches newer Mosquittos: it takes nothing unverified, and nothing twice."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.interop.fetched import CANNOT_HAVE
from tests.interop.mosquittos import SCRIPT


def fetch(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(SCRIPT), *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("arguments", [(), ("",), ("../trixie",), ("a b",)])
def test_a_suite_that_is_none_is_misuse(arguments: tuple[str, ...]) -> None:
    assert fetch(*arguments).returncode == 2


def test_what_is_there_is_not_fetched_again(tmp_path: Path) -> None:
    program = tmp_path / "mosquitto"
    program.write_text("#!/bin/sh\necho mosquitto version 9.8.7\n")
    program.chmod(0o755)
    result = fetch("trixie", str(tmp_path), APT_CONFIG="/nonexistent")
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"{program}\n"
    assert "9.8.7" in result.stderr
    assert {path.name for path in tmp_path.iterdir()} <= {"mosquitto", "lock"}


@pytest.mark.skipif(shutil.which("apt-get") is None, reason="apt-get is a Debian program")
def test_what_is_not_signed_is_not_taken_whatever_the_machine_allows(tmp_path: Path) -> None:
    release = tmp_path / "mirror" / "dists" / "trixie" / "Release"
    release.parent.mkdir(parents=True)
    release.write_text("Origin: Debian\nSuite: trixie\nCodename: trixie\nComponents: main\n")
    sources = tmp_path / "sources.list"
    sources.write_text(f"deb [trusted=yes] file:{tmp_path}/mirror stable main\n")
    configuration = tmp_path / "apt.conf"
    configuration.write_text(
        f'Dir::Etc::sourcelist "{sources}";\nDir::Etc::sourceparts "/dev/null";\n'
        'Acquire::AllowInsecureRepositories "true";\nAPT::Get::AllowUnauthenticated "true";\n'
    )
    target = tmp_path / "target"
    result = fetch("trixie", str(target), APT_CONFIG=str(configuration))
    assert result.returncode == CANNOT_HAVE, result.stderr
    assert not (target / "mosquitto").exists()
    if "no Debian keys here" not in result.stderr:
        error = f"E: The repository 'file:{tmp_path}/mirror trixie Release' is not signed."
        assert error in result.stderr
