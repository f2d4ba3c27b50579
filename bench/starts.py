# SPDX-License-Identifier: Apache-2.0
"""What a command costs before it does anything: processor and memory up to its own ``--help``.

Beside it Python alone, and Python with what ``keyfob pub`` cannot do without: a client of MQTT and
one of HTTP.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from typing import Final

from bench.rounds import ROUNDS, interleave, print_table

COMMANDS: Final = ("--version", "pub", "sub", "token", "doctor", "guard", "device", "up")

# The kernel's own figure for a child begins with its parent's memory: each tells its own.
_THEN_TELL: Final = """
import re, sys
words = sys.argv[1:]
if words:
    from keyfob.cli.main import run
    run(words)
sys.stderr.write(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
"""


def run() -> None:
    """Measure and print."""
    variants = {
        "python": _starting(""),
        "python, paho and httpx": _starting("import paho.mqtt.client, httpx"),
    }
    for name in COMMANDS:
        words = (name,) if name.startswith("-") else (name, "--help")
        variants[f"keyfob {name}"] = _starting("", *words)
    results = interleave(variants, ROUNDS)
    rows = [
        (name, *(f"{series[figure].median:.3g} ({series[figure].spread})" for figure in series))
        for name, series in results.items()
    ]
    print_table("starts", ("", "CPU ms", "MiB at most"), rows)


def _starting(before: str, *words: str) -> Callable[[], Mapping[str, float]]:
    return lambda: _figures((sys.executable, "-c", before + _THEN_TELL, *words))


def _figures(command: tuple[str, ...]) -> Mapping[str, float]:
    with tempfile.TemporaryFile() as told:
        actions = [
            (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
            (os.POSIX_SPAWN_DUP2, told.fileno(), 2),
        ]
        process = os.posix_spawn(command[0], command, os.environ, file_actions=actions)
        _, status, used = os.wait4(process, 0)
        told.seek(0)
        said = told.read().decode()
    if status:
        raise RuntimeError(f"{command}: {said}")
    return {"cpu": (used.ru_utime + used.ru_stime) * 1e3, "memory": int(said) / 1024}
