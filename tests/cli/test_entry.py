# SPDX-License-Identifier: Apache-2.0
"""`keyfob` is its command line, and Ctrl-C before that is loaded is no traceback."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import keyfob
from keyfob.cli import entry
from keyfob.cli.failures import INTERRUPTED

ROOT = Path(__file__).parents[2]
BEGIN = f"from {entry.__name__} import main; main()"
INTERRUPTED_WHILE_IT_LOADS = f"""
import sys

class Impatient:
    def find_spec(self, name, path, target=None):
        if name == "keyfob.cli.main":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Impatient())
{BEGIN}
"""


def python(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_keyfob_begins_here() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["scripts"] == {"keyfob": f"{entry.__name__}:{entry.main.__name__}"}
    done = python(BEGIN, "--version")
    assert (done.returncode, done.stdout) == (0, f"keyfob {keyfob.__version__}\n")
    assert python(BEGIN, "nonsense").returncode == 2


def test_ctrl_c_while_it_loads_ends_it_without_a_word() -> None:
    done = python(INTERRUPTED_WHILE_IT_LOADS)
    assert (done.returncode, done.stdout, done.stderr) == (INTERRUPTED, "", "")
