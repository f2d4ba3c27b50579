# SPDX-License-Identifier: Apache-2.0
"""The plugin's pure parts under AddressSanitizer and UBSan, asked line by line.

The program is the one that tests/brokers/mosquitto/plugin asks; here it is started again after
each death, so that one crash does not hide the next.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final, TypeAlias

from fuzz.target import BrokenInvariantError
from tests.brokers.mosquitto.plugin.runner import compile_runner, utf8

__all__ = ["Asked", "PluginParts", "opened", "utf8"]

Asked: TypeAlias = tuple[str | bytes | int, ...]
"""A verb and its words; bytes travel in hex."""

_TOGETHER: Final = 16_384  # bytes that may be on their way before anybody reads an answer


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    folder = tempfile.TemporaryDirectory(prefix="keyfob-fuzz-")
    atexit.register(folder.cleanup)
    compile_runner(Path(folder.name) / "runner", "sanitized")
    return folder


@contextmanager
def opened() -> Iterator[PluginParts]:
    """Compile once for each process; a leak that is found at the end is an error too."""
    with tempfile.TemporaryFile() as complaints:
        parts = PluginParts(Path(_folder().name) / "runner", complaints)
        yield parts
        parts.close()


class PluginParts:
    """The running program.

    Args:
        program: What to run.
        complaints: Where the sanitizers write.
    """

    def __init__(self, program: Path, complaints: IO[bytes]) -> None:
        self._program = program
        self._complaints = complaints
        self._start()

    def ask(self, *words: str | bytes | int) -> str:
        """Ask one thing.

        Raises:
            BrokenInvariantError: It died over it.
        """
        return self.ask_all([words])[0]

    def ask_all(self, questions: Sequence[Asked]) -> list[str]:
        """Ask several things, whose answers are short.

        Raises:
            BrokenInvariantError: It died over one of them.
        """
        lines = [_line(words) for words in questions]
        if len(lines) > 1 and sum(map(len, lines)) > _TOGETHER:
            return [answer for line in lines for answer in self._exchange([line])]
        return self._exchange(lines)

    def close(self) -> None:
        """End it.

        Raises:
            BrokenInvariantError: It had something to complain about, such as a leak.
        """
        self._process.communicate()
        if self._process.returncode or self._said():
            raise BrokenInvariantError(f"at its end: {self._said()[:2_000]}")

    def _exchange(self, lines: list[str]) -> list[str]:
        answers: list[str] = []
        with contextlib.suppress(BrokenPipeError):
            self._in.write("".join(lines))
            self._in.flush()
            answers = [self._out.readline() for _ in lines]
        if len(answers) < len(lines) or not answers[-1].endswith("\n"):
            self._process.kill()
            self._process.communicate()
            said = self._said()
            self._start()
            raise BrokenInvariantError(f"the plugin's part died: {said[:2_000]}")
        return [answer.rstrip("\n") for answer in answers]

    def _said(self) -> str:
        self._complaints.seek(0)
        return self._complaints.read().decode("utf-8", "replace")

    def _start(self) -> None:
        self._complaints.truncate(0)
        self._complaints.seek(0)
        self._process = subprocess.Popen(
            [self._program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            text=True,
            env={**os.environ, "UBSAN_OPTIONS": "print_stacktrace=1"},
        )
        if self._process.stdin is None or self._process.stdout is None:
            raise OSError("no pipes")
        self._in, self._out = self._process.stdin, self._process.stdout


def _line(words: Asked) -> str:
    return " ".join(w.hex() or "-" if isinstance(w, bytes) else str(w) for w in words) + "\n"
