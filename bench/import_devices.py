# SPDX-License-Identifier: Apache-2.0
"""How fast devices are imported into SQLite, each with a secret that is made for it.

Names alone, and the same with a group and two labels; a register of its own for each round, so
that all begin at the same size (``KEYFOB_BENCH_IMPORTED``). CPU is this process's own, of all its
threads; the rest of the time is waiting for the disk: every 5,000 devices are committed with
``synchronous=FULL``, after the file with their secrets.
"""

from __future__ import annotations

import io
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from bench.rounds import ROUNDS, interleave, print_table
from keyfob.server.fleet_rows import Format, RowReader
from keyfob.server.private_file import PrivateFile
from keyfob.server.register import Register

SIZE: Final = int(os.environ.get("KEYFOB_BENCH_IMPORTED", "100_000"))
_FIGURES: Final = ("rate", "cpu")


def run() -> None:
    """Measure and print."""
    inputs: dict[str, tuple[bytes, Format]] = {
        "names": (_csv("device", "meter-{0:07}"), "csv"),
        "with a group and two labels": (
            _csv("device,groups,labels", "meter-{0:07},meters,site=s{1};model=m{2}"),
            "csv",
        ),
        "the same as JSON lines": (
            _csv(
                "",
                '{{"device":"meter-{0:07}","groups":["meters"],'
                '"labels":{{"site":"s{1}","model":"m{2}"}}}}',
            ),
            "jsonl",
        ),
    }
    variants = {name: _importing(text, form) for name, (text, form) in inputs.items()}
    results = interleave(variants, ROUNDS)
    rows = [
        (name, *(f"{series[figure].median:,.4g} ({series[figure].spread})" for figure in _FIGURES))
        for name, series in results.items()
    ]
    print_table(f"import of {SIZE:,} devices", ("", "devices/s", "CPU us each"), rows)


def _csv(head: str, line: str) -> bytes:
    rows = "".join(f"{line.format(n, n % 997, n % 11)}\n" for n in range(SIZE))
    return f"{head}\n{rows}".encode() if head else rows.encode()


def _importing(text: bytes, form: Format) -> Callable[[], Mapping[str, float]]:
    def once() -> Mapping[str, float]:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            with (
                Register.open(folder / "server.db") as register,
                PrivateFile(folder / "rejects.csv") as rejects,
                PrivateFile(folder / "secrets.csv") as secrets,
            ):
                register.fleet.add_group("meters")
                reader = RowReader(io.BytesIO(text), form)
                wall, cpu = time.perf_counter(), time.process_time()
                done = register.fleet.import_devices(reader, rejects=rejects, secrets=secrets)
                wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            if done.registered != SIZE:
                raise AssertionError(f"{done.registered} of {SIZE} devices are registered")
        return {"rate": SIZE / wall, "cpu": cpu / SIZE * 1e6}

    return once


if __name__ == "__main__":
    run()
