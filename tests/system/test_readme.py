# SPDX-License-Identifier: Apache-2.0
"""README.md's commands, run as they stand there, print what stands there."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.running import Installation

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"<!-- run: (\w+) -->\n```console\n(.*?)```", re.DOTALL)
BLOCKS = dict(BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8")))


class Terminal:
    """A person's terminal: programs that look for one print as they do for people."""

    def __init__(self, running: Installation, folder: Path) -> None:
        server, mosquitto = running.settings.server, running.settings.mosquitto
        self.replaced = {
            ".venv/bin/": f"{Path(sys.executable).parent}/",
            "localhost:8443": f"localhost:{server.port}",
            "-p 8883": f"-p {mosquitto.port}",
            '"localhost", 8883': f'"localhost", {mosquitto.port}',
            "keyfob-data": str(running.directory),
            "examples/": f"{folder}/",
        }
        self.environment = os.environ | {"KEYFOB_DIR": str(running.directory)}
        for example in (ROOT / "examples").glob("*.py"):
            text = self.here(example.read_text(encoding="utf-8"))
            (folder / example.name).write_text(text, encoding="utf-8")

    def here(self, text: str) -> str:
        """Put this installation's places into a text."""
        for old, new in self.replaced.items():
            text = text.replace(old, new)
        return text

    def type(self, command: str) -> str:
        """Run a command and return all that it prints."""
        terminal, theirs = pty.openpty()
        process = subprocess.Popen(
            ["sh", "-c", self.here(command)],
            stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, env=self.environment,
        )  # fmt: skip
        os.close(theirs)
        printed = b""
        with contextlib.suppress(OSError):  # EIO is how a terminal ends
            while part := os.read(terminal, 10_000):
                printed += part
        os.close(terminal)
        process.wait(30)
        return printed.decode().replace("\r\n", "\n")


@pytest.fixture(scope="module")
def terminal(running: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    if running.cli("device", "remove", "dev1").returncode == 0:  # another test's
        time.sleep(1)  # a token of the second in which its predecessor was removed would be revoked
    yield Terminal(running, tmp_path_factory.mktemp("readme"))
    running.cli("device", "remove", "dev1")


def steps(block: str) -> list[tuple[str, str]]:
    """Split a console block into commands and what they print."""
    parts = re.split(r"^\$ (.*)\n", block, flags=re.MULTILINE)
    assert parts[0] == ""
    return list(zip(parts[1::2], parts[2::2], strict=True))


def pattern(expected: str) -> str:
    return ".+?".join(map(re.escape, expected.rstrip("\n").split("…")))


def follow(terminal: Terminal, name: str) -> str:
    """Run a block; each command must print what the README says. Return the last output."""
    printed = ""
    for command, expected in steps(BLOCKS[name]):
        printed = terminal.type(command)
        assert re.fullmatch(pattern(expected), printed.rstrip("\n"), re.DOTALL), (
            f"$ {command}\n{printed}\nREADME.md says:\n{expected}"
        )
    return printed


def test_the_readmes_commands_print_what_it_says(terminal: Terminal) -> None:
    assert list(BLOCKS) == ["device", "token", "publish", "explain", "paho"]
    printed = follow(terminal, "device")
    terminal.environment["SECRET"] = re.findall(r"kfs_\S+", printed)[0]
    terminal.environment["TOKEN"] = json.loads(follow(terminal, "token"))["access_token"]
    for name in ("publish", "explain", "paho"):
        follow(terminal, name)
