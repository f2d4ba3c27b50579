# SPDX-License-Identifier: Apache-2.0
"""How the tests run commands: in this process where they can, as a real one where they must."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from keyfob.cli.main import run

KEYFOB = [sys.executable, "-m", "keyfob.cli.main"]
PATIENCE = 30.0


@dataclass(frozen=True)
class Outcome:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class Shell:
    """Commands for one installation, run in this process."""

    capture: pytest.CaptureFixture[str]
    directory: Path

    def __call__(self, *arguments: str) -> Outcome:
        self.capture.readouterr()
        code = run([*arguments, "--dir", str(self.directory)])
        return self.plain_outcome(code)

    def plain(self, *arguments: str) -> Outcome:
        """Run a command that has no --dir."""
        self.capture.readouterr()
        return self.plain_outcome(run(list(arguments)))

    def plain_outcome(self, code: int) -> Outcome:
        out, err = self.capture.readouterr()
        return Outcome(code, out, err)

    def ok(self, *arguments: str) -> Outcome:
        outcome = self(*arguments)
        assert outcome.code == 0, outcome
        return outcome

    def json(self, *arguments: str) -> Any:
        return self.ok(*arguments, "--json").json

    def secret(self, device: str, *arguments: str) -> str:
        secret: str = self.json("device", "add", device, *arguments)["client_secret"]
        return secret


@dataclass
class Program:
    """A command that goes on, as a real process; its output goes to a file."""

    process: subprocess.Popen[bytes]
    log: Path

    def output(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def until(self, text: str) -> None:
        """Wait until the output holds a text; the program must not end before."""
        wait_for(
            f"{text!r} in {self.log}",
            lambda: text in self.output() or self.process.poll() is not None,
        )
        assert text in self.output(), self.output()

    def wait(self) -> int:
        return self.process.wait(PATIENCE)


@contextlib.contextmanager
def started(
    log: Path, *arguments: str, before: Sequence[str] = (), **environment: str
) -> Iterator[Program]:
    """Run `keyfob ARGUMENTS`; at the end it is stopped, whatever it does.

    ``before``: a command that runs it, such as one that becomes another user.
    """
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [*before, *KEYFOB, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env=os.environ | environment,
            start_new_session=True,
        )
    try:
        yield Program(process, log)
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)


def wait_for(what: str, condition: Any) -> Any:
    """Wait until the condition holds and return its value; the deadline is only patience."""
    deadline = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.02)
    return value


def alive(process: int) -> bool:
    """Tell whether a process runs; one that ended and was not waited for does not."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in ("Z", "X")
