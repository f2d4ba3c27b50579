# SPDX-License-Identifier: Apache-2.0
"""The CPU time of another process, to the nanosecond."""

from __future__ import annotations

import contextlib
from pathlib import Path

__all__ = ["cpu_seconds"]


def cpu_seconds(pid: int) -> float:
    """Return what all threads that a process has now have used (/proc/PID/task/*/schedstat)."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError):
            total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9
