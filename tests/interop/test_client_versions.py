# SPDX-License-Identifier: Apache-2.0
"""The device's own tests with every paho and aiomqtt that it is for, each beside the installed.

`tests/system/test_paho.py` has every paho live through renewals in each `make test`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAHO = ("2.0.0", "2.1.0", "2.2.0")
# aiomqtt 2.5 asks for paho 2.1 or later.
AIOMQTT = (("2.5.0", "2.1.0"), ("2.5.0", "2.2.0"), ("2.5.1", "2.1.0"), ("2.5.1", "2.2.0"))

BY_PAHO = (
    "tests/device/test_paho.py",
    "tests/device/test_methods.py",
    "tests/system/test_proving_clients.py",
)
BY_AIOMQTT = ("tests/device/test_aiomqtt_ends.py", "tests/system/test_aiomqtt.py")

pytestmark = pytest.mark.interop


def package(name: str, version: str) -> Path:
    """A folder with that version of a package; the test is skipped where it cannot be had."""
    folder = ROOT / ".cache" / name.removesuffix("-mqtt") / version
    if not folder.is_dir():
        command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target"]
        made = subprocess.run(
            [*command, str(folder), f"{name}=={version}"],
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        if made.returncode != 0:
            pytest.skip(f"NOT TESTED with {name} {version}: {made.stderr[-300:]}")
    return folder


def run_with(versions: dict[str, str], files: tuple[str, ...]) -> None:
    """Run tests with these versions, and see that it is these that they run with."""
    folders = [str(package(name, version)) for name, version in versions.items()]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([*folders, str(ROOT)])}
    program = (
        "import sys; from importlib.metadata import version; print(*map(version, sys.argv[1:]))"
    )
    told = subprocess.run(
        [sys.executable, "-c", program, *versions],
        env=environment, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert told.stdout.split() == list(versions.values())
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files],
        env=environment, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-5000:]


@pytest.mark.parametrize("paho", PAHO)
def test_every_paho_keeps_all_promises(paho: str) -> None:
    run_with({"paho-mqtt": paho}, BY_PAHO)


@pytest.mark.parametrize(("aiomqtt", "paho"), AIOMQTT)
def test_every_aiomqtt_keeps_all_promises(aiomqtt: str, paho: str) -> None:
    run_with({"aiomqtt": aiomqtt, "paho-mqtt": paho}, BY_AIOMQTT)
