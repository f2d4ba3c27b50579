# SPDX-License-Identifier: Apache-2.0
"""What the plugin's check of one message costs: 10,000 clients, cold caches, the last filter matches.

Compiles ``native_permission_check.c`` with the plugin's own sources as they are built for users, runs
interleaved rounds and prints medians with their spread.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Final

__all__ = ["Result", "main", "measure"]

PLUGIN: Final = Path(__file__).parents[1] / "src/keyfob/brokers/mosquitto/plugin"
PARTS: Final = ("text", "topic", "buffer", "wire", "permissions", "hash", "record", "records")
ROUNDS: Final = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One number of filters: nanoseconds per check, over all rounds."""

    filters: int
    median_ns: float
    least_ns: float
    most_ns: float
    without_clocks_ns: float
    record_bytes: int
    rounds: int


def measure(rounds: int = ROUNDS) -> list[Result]:
    """Compile, run and sum up."""
    with tempfile.TemporaryDirectory() as directory:
        program = Path(directory) / "check"
        command = [os.environ.get("CC", "cc"), "-O2", "-fPIC", "-std=c11", "-Wall", "-Wextra"]
        command += ["-Werror", "-fvisibility=hidden", "-D_GNU_SOURCE", f"-I{PLUGIN}"]
        command += [str(Path(__file__).with_suffix(".c"))]
        command += [str(PLUGIN / f"{part}.c") for part in PARTS]
        subprocess.run([*command, "-o", str(program)], check=True)
        lines = subprocess.run(
            [program, str(rounds)], check=True, capture_output=True, text=True
        ).stdout.splitlines()
    taken: dict[int, list[tuple[float, float, int]]] = defaultdict(list)
    for line in lines:
        filters, clocks, without, size = line.split()
        taken[int(filters)].append((float(clocks), float(without), int(size)))
    return [_summed_up(filters, samples) for filters, samples in taken.items()]


def _summed_up(filters: int, samples: list[tuple[float, float, int]]) -> Result:
    full = [sample[0] for sample in samples]
    return Result(
        filters=filters,
        median_ns=median(full),
        least_ns=min(full),
        most_ns=max(full),
        without_clocks_ns=median(sample[1] for sample in samples),
        record_bytes=samples[0][2],
        rounds=len(samples),
    )


def main() -> None:
    """Print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"at least 1 (default {ROUNDS})")
    arguments = parser.parse_args()
    results = measure(arguments.rounds)
    if arguments.json:
        print(json.dumps([asdict(result) for result in results], indent=2))
        return
    print(f"{'filters':>7}  {'ns, median':>10}  {'[least..most]':>16}  {'no clocks':>9}  {'bytes':>6}")
    for r in results:
        spread = f"[{r.least_ns:.0f}..{r.most_ns:.0f}]"
        print(
            f"{r.filters:>7}  {r.median_ns:>10.0f}  {spread:>16}  "
            f"{r.without_clocks_ns:>9.0f}  {r.record_bytes:>6}"
        )


if __name__ == "__main__":
    main()
