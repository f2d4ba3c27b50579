# SPDX-License-Identifier: Apache-2.0
"""Connections that come and go, through a real guard: both processes stay as large as they are."""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from pathlib import Path

import pytest

from keyfob.tokens.sign import SigningKey
from tests.brokers.mosquitto.plugin.broker import Broker, build_plugin
from tests.brokers.mosquitto.plugin.load import PASSING, Load, resident
from tests.soak.connects import GOOD, make_pool
from tests.soak.test_connects_soak import guard_alone

CYCLES = int(os.environ.get("KEYFOB_SOAK_CYCLES", "100000"))
DEVICES = 1_000
STEPS = 20


def gone_through(folder: Path, cycles: int) -> dict[str, list[float]]:
    """Connect and disconnect so often; return each process's MiB after every step."""
    key = SigningKey.generate("ES256")
    pool = make_pool(key, 2 * DEVICES, lifetime=7200)
    tokens = {item.client_id: item.token for item in pool if item.kind == GOOD}
    plugin = build_plugin(folder, "plain")
    weights: dict[str, list[float]] = {"broker": [], "guard": []}
    with (
        guard_alone(folder, key) as guard,
        Broker(folder, plugin, folder / "run" / "guard.sock", verbose=False) as broker,
    ):
        assert broker.process is not None
        began, done = time.monotonic(), 0
        for step in range(STEPS):
            load = Load(
                broker.port,
                tokens.__getitem__,
                list(tokens),
                deeds=PASSING,
                seed=step,
                root="d/",
            )
            asyncio.run(load.run(cycles // STEPS))
            wrong = [said for said in load.done if "NEVER" in said]
            assert not wrong, load.done
            done += sum(n for said, n in load.done.items() if said.endswith("done"))
            weights["broker"].append(resident(broker.process.pid))
            weights["guard"].append(resident(guard.pid))
        seconds = time.monotonic() - began
    print(f"\n{cycles} cycles in {seconds:.0f} s ({cycles / seconds:.0f}/s)")
    for name, series in weights.items():
        print(f"{name}: MiB {' '.join(f'{weight:.1f}' for weight in series)}")
    assert done > 0.9 * cycles  # the others were taken the place of
    return weights


def test_short_broker_and_guard_keep_their_size() -> None:
    with tempfile.TemporaryDirectory(prefix="keyfob-") as folder:
        weights = gone_through(Path(folder), 4_000)
    assert weights["broker"][-1] - weights["broker"][4] < 1.0


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_broker_and_guard_keep_their_size() -> None:
    with tempfile.TemporaryDirectory(prefix="keyfob-") as folder:
        weights = gone_through(Path(folder), CYCLES)
    for name, most in (("broker", 0.5), ("guard", 4.0)):
        early = statistics.median(weights[name][STEPS // 4 : STEPS // 2])
        late = statistics.median(weights[name][-STEPS // 10 :])
        assert late - early < most, name
