# SPDX-License-Identifier: Apache-2.0
"""Clients that know nothing of tokens, with `Presenting`: the examples, run for real."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from tests.running import Installation, installation, until
from tests.soak.test_sdk_soak import LIFETIME, token_lifetime

ROOT = Path(__file__).parents[2]


def gmqtt() -> Path:
    folder = ROOT / ".cache/gmqtt"
    if not (folder / "gmqtt").is_dir():
        command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target"]
        made = subprocess.run(
            [*command, str(folder), "gmqtt==0.8.0"],
            capture_output=True, text=True, timeout=110, check=False,
        )  # fmt: skip
        if made.returncode != 0:
            pytest.skip(f"NOT TESTED with gmqtt, which cannot be had: {made.stderr[-300:]}")
    return folder


def _allowed(running: Installation) -> int:
    return running.told("dev1").count(("allowed", ""))


@pytest.mark.interop
def test_gmqtt_lives_through_tokens_and_a_broker_that_restarts(tmp_path: Path) -> None:
    library = gmqtt()
    with installation(
        tmp_path / "data", plain=True, configured=partial(token_lifetime, LIFETIME)
    ) as running:
        secret = running.add_device("dev1", "--publish", "devices/dev1/#")
        settings = running.settings
        issuer = f"https://localhost:{settings.server.port}"
        wish = ["127.0.0.1", str(settings.mosquitto.plain_port), issuer, "dev1", secret]
        device = subprocess.Popen(
            [sys.executable, str(ROOT / "examples/gmqtt_device.py"), *wish, running.ca],
            env=os.environ | {"PYTHONPATH": str(library)},
        )
        try:
            until("it has renewed twice", lambda: _allowed(running) > 2, 40)
            running.wait_restarted("mosquitto", running.kill("mosquitto"))
            before = _allowed(running)
            until("it is back, and has renewed", lambda: _allowed(running) > before + 1, 40)
            told = running.told("dev1")
        finally:
            device.terminate()
            device.wait(10)
    assert set(told) == {("allowed", "")}
