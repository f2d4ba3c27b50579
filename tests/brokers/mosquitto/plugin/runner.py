# SPDX-License-Identifier: Apache-2.0
"""Talking to runner.c: one line asked, one line answered."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import pytest

__all__ = ["BUILDS", "PARTS_BUILDS", "PLUGIN", "Runner", "compile_runner", "utf8"]

PLUGIN: Final = Path(__file__).parents[4] / "src" / "keyfob" / "brokers" / "mosquitto" / "plugin"

BUILDS: Final = {
    "plain": ("-O2",),
    "sanitized": (
        "-O1",
        "-g",
        "-fsanitize=address,undefined",
        "-fno-sanitize-recover=all",
        "-fno-omit-frame-pointer",
    ),
}
"""How the plugin is compiled: as it is, and so that a wrong access ends it at once."""

PARTS_BUILDS: Final = BUILDS | {"indexed": (*BUILDS["sanitized"], "-DRULE_INDEX_FROM=1")}
"""How its pure parts alone are compiled: also with an index over any number of rules."""

_PURE: Final = (
    *("text", "topic", "buffer", "wire", "permissions", "hash", "connections", "record"),
    *("records", "expiries"),
    *("pendings", "route", "wire_write", "credentials", "rule_index"),
)


def compile_runner(program: Path, build: str) -> None:
    """Compile runner*.c with the pure parts of the plugin into ``program``."""
    command = [os.environ.get("CC", "cc"), "-std=c11", "-Wall", "-Wextra", "-Werror"]
    command += ["-D_GNU_SOURCE", *PARTS_BUILDS[build], f"-I{PLUGIN}"]
    command += [str(source) for source in sorted(Path(__file__).parent.glob("runner*.c"))]
    command += [str(PLUGIN / f"{name}.c") for name in _PURE]
    subprocess.run([*command, "-o", str(program)], check=True)


def utf8(text: str) -> bytes:
    """Return the bytes of ``text``; a lone surrogate becomes the three bytes that it would have."""
    return text.encode("utf-8", "surrogatepass")


class Runner:
    """A running runner.c."""

    def __init__(self, program: Path) -> None:
        self._process = subprocess.Popen(
            [program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "UBSAN_OPTIONS": "print_stacktrace=1"},
        )

    def ask(self, *words: str | bytes | int) -> str:
        """Ask one thing; bytes travel in hex."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        line = " ".join(
            word.hex() or "-" if isinstance(word, bytes) else str(word) for word in words
        )
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            _, complaints = self._process.communicate()
            pytest.fail(f"the runner ended at {line[:2000]!r}:\n{complaints}")
        return answer.rstrip("\n")

    def says(self, *words: str | bytes | int) -> bool:
        """Ask what is answered with yes or no."""
        answer = self.ask(*words)
        assert answer in {"0", "1"}, answer
        return answer == "1"

    def ask_all(self, questions: Iterable[tuple[str | bytes | int, ...]]) -> list[str]:
        """Ask one thing after the other."""
        return [self.ask(*words) for words in questions]

    def close(self) -> None:
        """End it; whatever a sanitizer has to say, such as a leak, fails the test."""
        _, complaints = self._process.communicate()
        assert self._process.returncode == 0, complaints
        assert not complaints
