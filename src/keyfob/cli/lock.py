# SPDX-License-Identifier: Apache-2.0
"""One `keyfob up` at a time in an installation, also while what a killed one left still runs.

The lock (flock(2)) belongs to an open file that the children inherit: it is free when the last of
them is gone, however they went. The file holds the process id of the `keyfob up` that has it.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from keyfob.cli.output import here
from keyfob.errors import ConflictError

__all__ = ["FILE_NAME", "only_one", "turns"]

FILE_NAME: Final = "up.lock"
PATIENCE: Final = 15.0
"""Seconds that the children of a killed `keyfob up` have to end: it was told them by the kernel."""


@contextmanager
def only_one(directory: Path, *, patience: float = PATIENCE) -> Iterator[int]:
    """Hold an installation for one `keyfob up`.

    Args:
        directory: The installation.
        patience: Seconds to wait for the children of one that was killed.

    Yields:
        The lock's file descriptor, for children to inherit.

    Raises:
        ConflictError: Another one runs, or its children do not end.
    """
    lock = os.open(directory / FILE_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + patience
        while not _take(lock):
            holder = _holder(lock)
            if _runs(holder):
                raise ConflictError(
                    f"`keyfob up` runs in {here(directory)} already (process {holder}): stop that "
                    "one, or choose another --dir"
                )
            if time.monotonic() > deadline:
                raise ConflictError(
                    f"`keyfob up` was killed in {here(directory)} and what it had started still "
                    f"runs; end it, see {here(directory / 'run')} for the process ids"
                )
            time.sleep(0.05)
        os.ftruncate(lock, 0)
        os.pwrite(lock, b"%d\n" % os.getpid(), 0)
        yield lock
    finally:
        os.close(lock)


@contextmanager
def turns(directory: Path) -> Iterator[None]:
    """Let one process at a time make or complete an installation; the others wait."""
    folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _take(lock: int) -> bool:
    with suppress(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def _holder(lock: int) -> int:
    with suppress(ValueError):
        return int(os.pread(lock, 32, 0))
    return 0


def _runs(process: int) -> bool:
    """Tell whether a process lives; what was killed and not yet waited for does not."""
    try:
        status = Path(f"/proc/{process}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] not in ("Z", "X")
