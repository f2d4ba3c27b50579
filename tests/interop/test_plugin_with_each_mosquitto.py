# SPDX-License-Identifier: Apache-2.0
"""The plugin's own tests in a broker, which `make test` runs with the installed one: with each."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.interop.fetched import ROOT

pytestmark = pytest.mark.interop

FOLDER = ROOT / "tests" / "brokers" / "mosquitto" / "plugin"


def test_the_plugins_tests_in_a_broker_pass(broker: str) -> None:
    """In a process of their own: they ask once which Mosquitto theirs is."""
    files = sorted(str(path) for path in FOLDER.glob("test_*_in_broker.py"))
    assert files
    command = [sys.executable, "-m", "pytest", "-q", "-k", "not sanitized", *files]
    result = subprocess.run(
        command,
        env=os.environ | {"MOSQUITTO": broker},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout
