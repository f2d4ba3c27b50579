# SPDX-License-Identifier: Apache-2.0
"""What the plugin's check of one message costs.

10,000 clients, cold caches, and 16 of them again and again; of each client's filters the last one
matches.

Compiles ``native_permission_check.c`` with the plugin's own sources as they are built for users and
runs interleaved rounds. A check finds the record, looks whether it is still good, and evaluates.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.rounds import ROUNDS, Series, print_table

__all__ = ["Result", "main", "measure", "run"]

PLUGIN: Final = Path(__file__).parents[1] / "src/keyfob/brokers/mosquitto/plugin"
PARTS: Final = (
    *("text", "topic", "buffer", "wire", "wire_write"),
    *("permissions", "rule_index", "hash", "connections", "record", "records"),
    "expiries",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One number of filters per client: nanoseconds per check, a value a round."""

    filters: int
    cold: Series
    warm: Series
    record_bytes: int


def measure(rounds: int = ROUNDS) -> list[Result]:
    """Compile, run and sum up."""
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "check"
        command = [os.environ.get("CC", "cc"), "-O2", "-fPIC", "-std=c11", "-Wall", "-Wextra"]
        command += ["-Werror", "-fvisibility=hidden", "-D_GNU_SOURCE", f"-I{PLUGIN}"]
        command += [f"-I{Path(__file__).parent}", str(Path(__file__).with_suffix(".c"))]
        command += [str(Path(__file__).with_name("native_broker.c"))]
        command += [str(part) for part in sorted(PLUGIN.glob("*.c")) if part.stem != "plugin"]
        subprocess.run([*command, "-o", str(program)], check=True)
        lines = subprocess.run(
            [program, str(rounds)], check=True, capture_output=True, text=True
        ).stdout.splitlines()
    samples: dict[int, list[tuple[float, float, int]]] = defaultdict(list)
    for line in lines:
        filters, cold, warm, size = line.split()
        samples[int(filters)].append((float(cold), float(warm), int(size)))
    return [
        Result(
            filters=filters,
            cold=Series(tuple(sample[0] for sample in taken)),
            warm=Series(tuple(sample[1] for sample in taken)),
            record_bytes=taken[0][2],
        )
        for filters, taken in samples.items()
    ]


def run(rounds: int = ROUNDS) -> None:
    """Measure and print."""
    rows = [
        [
            str(result.filters),
            f"{result.cold.median:.0f} ({result.cold.spread})",
            f"{result.warm.median:.0f} ({result.warm.spread})",
            str(result.record_bytes),
        ]
        for result in measure(rounds)
    ]
    print_table(
        "One message checked by the plugin, the last filter matches: ns per check (middle half)",
        ["filters", "10,000 clients, cold", "16 clients, warm", "bytes per record"],
        rows,
    )


def _as_json(results: list[Result]) -> str:
    return json.dumps(
        [
            {
                "filters": result.filters,
                "cold_ns": result.cold.values,
                "median_cold_ns": result.cold.median,
                "median_warm_ns": result.warm.median,
                "record_bytes": result.record_bytes,
            }
            for result in results
        ],
        indent=2,
    )


def main() -> None:
    """Print a table, or JSON."""
    parser = argparse.ArgumentParser(description="What the plugin's check of one message costs.")
    parser.add_argument("--json", action="store_true", help="print JSON, with every round")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"from 2 up (default {ROUNDS})")
    arguments = parser.parse_args()
    if arguments.json:
        print(_as_json(measure(arguments.rounds)))
    else:
        run(arguments.rounds)


if __name__ == "__main__":
    main()
