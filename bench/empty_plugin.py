# SPDX-License-Identifier: Apache-2.0
"""A plugin that allows everything and does nothing else, compiled: the floor of any plugin."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Final

from bench.native_permission_check import PLUGIN

__all__ = ["build_empty_plugin"]

_SOURCE: Final = Path(__file__).with_suffix(".c")


def build_empty_plugin(target: Path) -> Path:
    """Compile it to ``target``, which is returned."""
    command = [os.environ.get("CC", "cc"), "-O2", "-fPIC", "-shared", "-std=c11", "-Wall"]
    command += ["-Wextra", "-Werror", f"-I{PLUGIN}", str(_SOURCE), "-o", str(target)]
    subprocess.run(command, check=True)
    return target
