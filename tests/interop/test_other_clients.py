# SPDX-License-Identifier: Apache-2.0
"""Clients that know nothing of tokens, with `Presenting`: the examples, run for real."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.free_ports import free_port
from tests.running import Installation, installation, until
from tests.soak.test_sdk_soak import token_lifetime

ROOT = Path(__file__).parents[2]
SHORT_TOKENS = functools.partial(token_lifetime, 8)


def library(name: str, version: str) -> Path:
    """A folder with a client of the field's, which nothing else here needs."""
    folder = ROOT / ".cache" / name
    if not (folder / name).is_dir():
        command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target"]
        made = subprocess.run(
            [*command, str(folder), f"{name}=={version}"],
            capture_output=True, text=True, timeout=110, check=False,
        )  # fmt: skip
        if made.returncode != 0:
            pytest.skip(f"NOT TESTED with {name}, which cannot be had: {made.stderr[-300:]}")
    return folder


def _allowed(running: Installation) -> int:
    return running.told("dev1").count(("allowed", ""))


@pytest.mark.interop
def test_gmqtt_lives_through_tokens_and_a_broker_that_restarts(tmp_path: Path) -> None:
    folder = library("gmqtt", "0.8.0")
    with installation(tmp_path / "data", plain=True, configured=SHORT_TOKENS) as running:
        secret = running.add_device("dev1", "--publish", "devices/dev1/#")
        settings = running.settings
        issuer = f"https://localhost:{settings.server.port}"
        wish = ["127.0.0.1", str(settings.mosquitto.plain_port), issuer, "dev1", secret]
        device = subprocess.Popen(
            [sys.executable, str(ROOT / "examples/gmqtt_device.py"), *wish, running.ca],
            env=os.environ | {"PYTHONPATH": str(folder)},
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


@pytest.mark.interop
def test_awscrt_lives_through_tokens_and_a_broker_that_restarts_over_websocket(
    tmp_path: Path,
) -> None:
    folder, port = library("awscrt", "0.38.1"), free_port()
    lines = [f"websockets_port = {port}"]
    with installation(tmp_path / "data", mosquitto=lines, configured=SHORT_TOKENS) as running:
        secret = running.add_device("dev1", "--publish", "devices/dev1/#")
        issuer = f"https://localhost:{running.settings.server.port}"
        wish = ["localhost", str(port), issuer, "dev1", running.ca]
        device = subprocess.Popen(
            [sys.executable, str(ROOT / "examples/awscrt_device.py"), *wish],
            env=os.environ | {"PYTHONPATH": str(folder), "KEYFOB_CLIENT_SECRET": secret},
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
