# SPDX-License-Identifier: Apache-2.0
"""What connected grants cost the plugin, by how many there are: memory, ticks, expiries.

Compiles ``native_records.c`` with the plugin's own sources. There is no broker: what a connection
costs the broker itself, and what a real one with many of them does, is told by
tests/soak/test_scale_soak.py.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections import defaultdict
from pathlib import Path

from bench.native_permission_check import PARTS, PLUGIN
from bench.rounds import ROUNDS, Series, print_table


def run(rounds: int = ROUNDS) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "records"
        command = [os.environ.get("CC", "cc"), "-O2", "-std=c11", "-Wall", "-Wextra", "-Werror"]
        command += ["-D_GNU_SOURCE", f"-I{PLUGIN}", str(Path(__file__).with_suffix(".c"))]
        command += [str(PLUGIN / f"{part}.c") for part in PARTS]
        subprocess.run([*command, "-o", str(program)], check=True)
        lines = subprocess.run(
            [program, str(rounds)], check=True, capture_output=True, text=True
        ).stdout.splitlines()
    samples: dict[int, list[tuple[float, ...]]] = defaultdict(list)
    for line in lines:
        count, *figures = line.split()
        samples[int(count)].append(tuple(map(float, figures)))
    rows = []
    for grants, taken in samples.items():
        size, tick, expiry = (Series(values) for values in zip(*taken, strict=True))
        rows.append(
            [
                f"{grants:,}",
                f"{size.median:.0f}",
                f"{tick.median:.1f} ({tick.spread})",
                f"{expiry.median:.0f} ({expiry.spread})",
            ]
        )
    print_table(
        "Connected grants in the plugin, two filters each",
        ["grants", "bytes each", "ns a tick, nothing due", "ns each that expires"],
        rows,
    )


if __name__ == "__main__":
    run()
