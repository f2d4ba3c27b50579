# SPDX-License-Identifier: Apache-2.0
"""Guard, broker and server killed again and again under load: what is acknowledged arrives."""

from __future__ import annotations

import asyncio
import os
import secrets
from pathlib import Path

import pytest

from tests.running import installation
from tests.soak.plan import Plan
from tests.soak.restarts import Report, endure
from tests.soak.watch import PATIENCE

SECONDS = float(os.environ.get("KEYFOB_SOAK_SECONDS", "600"))
SEED = os.environ.get("KEYFOB_SOAK_SEED", secrets.token_hex(4))
GUARD_GROWTH = 24.0
BROKER_GROWTH = 16.0
"""MiB that a part may grow by in one of its lives, under this load."""


def endured(directory: Path, plan: Plan) -> Report:
    """Run the plan on an installation of its own, print what came of it, and judge it."""
    with installation(
        directory / "data", plain=True, mosquitto=["save_every_change = true"]
    ) as running:
        report = asyncio.run(endure(running, plan))
        log = running.log()
    print(f"\n{report}")
    ledger = report.ledger
    assert ledger.messages
    assert not report.unexplained, "\n".join(map(ledger.story, report.unexplained))
    assert ledger.unexplained_sessions() == []
    assert ledger.trespasses == []
    assert ledger.faults == []
    assert report.watch.late == [], f"connected for more than {PATIENCE} s past expiry"
    assert "Traceback" not in log
    return report


@pytest.mark.soak  # tests/system/test_restarts.py is the short form: this one is left to chance
def test_short_what_is_acknowledged_arrives(tmp_path: Path) -> None:
    plan = Plan(seconds=8, seed=SEED, devices=10, lifetimes=(2, 5), pause=(0.2, 0.8), interval=0.25)
    endured(tmp_path, plan)


@pytest.mark.soak
@pytest.mark.timeout(SECONDS + 300)
def test_what_is_acknowledged_arrives_and_no_part_grows(tmp_path: Path) -> None:
    report = endured(tmp_path, Plan(seconds=SECONDS, seed=SEED))
    assert report.watch.ends, "nothing has expired"
    assert report.watch.weights["guard"].growth < GUARD_GROWTH
    assert report.watch.weights["mosquitto"].growth < BROKER_GROWTH
