# SPDX-License-Identifier: Apache-2.0
"""The script that fetches a newer RabbitMQ: nothing is fetched twice, or half."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.interop.fetched import CANNOT_HAVE
from tests.interop.foreign.rabbitmq import SCRIPT


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
    (tmp_path / "root/usr/lib/rabbitmq/lib/rabbitmq_server-9.8.7").mkdir(parents=True)
    program = tmp_path / "rabbitmq"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    result = fetch("trixie", str(tmp_path), APT_CONFIG="/nonexistent")
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"{program}\n"
    assert "9.8.7" in result.stderr


def test_a_machine_without_a_mirror_is_told_and_has_no_program(tmp_path: Path) -> None:
    sources = tmp_path / "sources.list"
    sources.write_text("")
    configuration = tmp_path / "apt.conf"
    configuration.write_text(
        f'Dir::Etc::sourcelist "{sources}";\nDir::Etc::sourceparts "/dev/null";\n'
    )
    target = tmp_path / "target"
    result = fetch("trixie", str(target), APT_CONFIG=str(configuration))
    assert result.returncode == CANNOT_HAVE, result.stderr
    assert not (target / "rabbitmq").exists()
