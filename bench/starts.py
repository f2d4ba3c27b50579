# SPDX-License-Identifier: Apache-2.0
"""What a command costs before it does anything: processor and memory up to its own ``--help``.

Beside it Python alone, and Python with what ``keyfob pub`` cannot do without: a client of MQTT and
one of HTTP.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from typing import Final

from bench.rounds import ROUNDS, interleave, print_table

COMMANDS: Final = ("--version", "pub", "sub", "token", "doctor", "guard", "device", "up")


def run() -> None:
    """Measure and print."""
    variants = {
        "python": _starting("-c", ""),
        "python, paho and httpx": _starting("-c", "import paho.mqtt.client, httpx"),
    }
    for name in COMMANDS:
        words = (name,) if name.startswith("-") else (name, "--help")
        variants[f"keyfob {name}"] = _starting("-m", "keyfob.cli.main", *words)
    results = interleave(variants, ROUNDS)
    rows = [
        (name, *(f"{series[figure].median:.3g} ({series[figure].spread})" for figure in series))
        for name, series in results.items()
    ]
    print_table("starts", ("", "CPU ms", "MiB at most"), rows)


def _starting(*words: str) -> Callable[[], Mapping[str, float]]:
    return lambda: _figures((sys.executable, *words))


def _figures(command: tuple[str, ...]) -> Mapping[str, float]:
    silent = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    process = os.posix_spawn(command[0], command, os.environ, file_actions=silent)
    _, status, used = os.wait4(process, 0)
    if status:
        raise RuntimeError(f"{command}: {status}")
    return {"cpu": (used.ru_utime + used.ru_stime) * 1e3, "memory": used.ru_maxrss / 1024}
