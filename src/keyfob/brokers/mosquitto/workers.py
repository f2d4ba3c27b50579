# SPDX-License-Identifier: Apache-2.0
"""Several guard workers on one machine: where each listens for plugins.

Whose a client is, ``guard.shares`` says; the plugin says the same in C (``route.c``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from keyfob.errors import ConfigError

__all__ = ["MOST_WORKERS", "check_worker", "socket_of"]

MOST_WORKERS: Final = 64
"""The plugin keeps a link to each, and looks at every one when it is woken."""


def socket_of(path: Path, worker: int) -> Path:
    """The socket of one worker: the path for the first, and with ``.1``, ``.2`` for the others.

    Args:
        path: ``plugin_opt_guard_socket``.
        worker: Which worker, from 0.
    """
    return path if worker == 0 else path.with_name(f"{path.name}.{worker}")


def check_worker(worker: int, workers: int) -> None:
    """Refuse a worker that there cannot be.

    Raises:
        ConfigError: There are none, too many, or fewer than this one's number says.
    """
    if not 1 <= workers <= MOST_WORKERS:
        raise ConfigError(f"{workers} guard workers: there must be from 1 to {MOST_WORKERS}")
    if not 0 <= worker < workers:
        raise ConfigError(f"there is no guard worker {worker} of {workers}")
