# SPDX-License-Identifier: Apache-2.0
"""Thousands of CONNECTs a second, half of them bad: memory stays flat, every decision is told."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import statistics
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.cpu import cpu_seconds
from keyfob.tokens.sign import SigningKey
from tests.running import KEYFOB, until
from tests.soak.connects import BROKER, HOT, ISSUER, REPEATED, Load, make_pool, put_load

SECONDS = float(os.environ.get("KEYFOB_SOAK_SECONDS", "600"))
RATE = float(os.environ.get("KEYFOB_SOAK_RATE", "2000"))
GROWTH = 16.0
"""MiB that the guard may grow by from the second quarter of the run to its end."""


@contextlib.contextmanager
def guard_alone(folder: Path, key: SigningKey) -> Iterator[subprocess.Popen[bytes]]:
    """`keyfob guard`, with the issuer's keys in a file: nothing else runs."""
    for name in ("run", "log"):
        (folder / name).mkdir(parents=True)
    (folder / "jwks.json").write_text(json.dumps({"keys": [key.public_jwk()]}))
    (folder / "keyfob.toml").write_text(
        f'[[issuer]]\nname = "soak"\nissuer = "{ISSUER}"\n'
        'audience = ["mqtt"]\njwks_file = "jwks.json"\n'
    )
    with (folder / "guard.log").open("wb") as log:
        process = subprocess.Popen(
            [*KEYFOB, "guard", "--dir", str(folder)], stdout=log, stderr=subprocess.STDOUT
        )
        try:
            until("the guard is ready", lambda: b"ready at" in (folder / "guard.log").read_bytes())
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def resident(pid: int) -> float:
    """MiB of memory of a process."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS:")).split()[1]) / 1024


def told(audit: Path) -> Counter[str]:
    """What the audit log says of the load, by reason."""
    counts: Counter[str] = Counter()
    with audit.open("rb") as lines:
        for line in lines:
            event = json.loads(line)
            if event["broker"] == BROKER:
                counts[event["reason"] or event["outcome"]] += 1
    return counts


def endured(folder: Path, *, size: int, rate: float, seconds: float) -> tuple[Load, list[float]]:
    key = SigningKey.generate("ES256")
    pool = make_pool(key, size, lifetime=int(seconds) + 3600)
    weights: list[float] = []
    with guard_alone(folder, key) as process:
        cpu = cpu_seconds(process.pid)
        load = put_load(
            folder / "run" / "guard.sock",
            pool,
            rate=rate,
            seconds=seconds,
            tick=lambda: weights.append(resident(process.pid)),
        )
        cpu = cpu_seconds(process.pid) - cpu
        time.sleep(0.5)  # the audit is written in batches
        assert process.poll() is None
    asked = load.asked.total()
    print(
        f"\n{asked} CONNECTs in {load.seconds:.0f} s ({asked / load.seconds:.0f}/s), from {size}"
        f" tokens, half of them bad; {REPEATED:.0%} of the good ones are of {HOT} shown again and"
        f" again\nlatency p50 {load.percentile(0.5) * 1e3:.2f} ms, p99"
        f" {load.percentile(0.99) * 1e3:.2f} ms, longest {max(load.latencies) * 1e3:.1f} ms\n"
        f"guard: {cpu / asked * 1e6:.0f} us CPU each, {weights[len(weights) // 4]:.0f} MiB after a"
        f" quarter, {weights[-1]:.0f} MiB at the end"
    )
    assert load.wrong == []
    assert told(folder / "log" / "audit.jsonl") == load.asked
    return load, weights


def test_short_every_decision_is_right_and_told(tmp_path: Path) -> None:
    endured(tmp_path / "data", size=2_000, rate=min(RATE, 400), seconds=5)


@pytest.mark.soak
@pytest.mark.timeout(SECONDS + 600)
def test_memory_is_flat_and_every_decision_is_told(tmp_path: Path) -> None:
    _, weights = endured(tmp_path / "data", size=50_000, rate=RATE, seconds=SECONDS)
    early = statistics.median(weights[len(weights) // 4 : len(weights) // 2])
    late = statistics.median(weights[-len(weights) // 10 :])
    assert late - early < GROWTH
    (tmp_path / "data" / "log" / "audit.jsonl").unlink()  # some hundred megabytes
