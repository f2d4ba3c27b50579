# SPDX-License-Identifier: Apache-2.0
"""Several guard workers on one machine: where each listens, and whose a client is.

The plugin does the same in C (``route.c``): both sides must agree for every client identifier.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Final

from keyfob.errors import ConfigError

__all__ = ["MOST_WORKERS", "check_worker", "owner_of", "socket_of"]

MOST_WORKERS: Final = 64
"""The plugin keeps a link to each, and looks at every one when it is woken."""


def socket_of(path: Path, worker: int) -> Path:
    """The socket of one worker: the path for the first, and with ``.1``, ``.2`` for the others.

    Args:
        path: ``plugin_opt_guard_socket``.
        worker: Which worker, from 0.
    """
    return path if worker == 0 else path.with_name(f"{path.name}.{worker}")


def owner_of(client_id: str, workers: int) -> int:
    """The worker that every connection of this client identifier belongs to.

    Args:
        client_id: The client identifier, as the broker knows it.
        workers: How many workers there are, at least 1.
    """
    return zlib.crc32(client_id.encode()) % workers


def check_worker(worker: int, workers: int) -> None:
    """Refuse a worker that there cannot be.

    Raises:
        ConfigError: There are none, too many, or fewer than this one's number says.
    """
    if not 1 <= workers <= MOST_WORKERS:
        raise ConfigError(f"{workers} guard workers: there must be from 1 to {MOST_WORKERS}")
    if not 0 <= worker < workers:
        raise ConfigError(f"there is no guard worker {worker} of {workers}")
