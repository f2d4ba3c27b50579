# SPDX-License-Identifier: Apache-2.0
"""Ports of the loopback address for servers that are started a moment later.

A port that the system chooses (0) is one of those that it gives to outgoing connections, too: on a
busy machine one of them may have it before the server does. So these are below that range.
"""

from __future__ import annotations

import random
import socket
from typing import Final

__all__ = ["free_port", "free_ports"]

FIRST: Final = 10_000
OUTGOING: Final = 32_768
"""Where Linux's range for outgoing connections begins (ip_local_port_range)."""

_chance = random.SystemRandom()


def free_ports(count: int) -> list[int]:
    """Different ports that nobody has now."""
    found = set[int]()
    while len(found) < count:
        port = _chance.randrange(FIRST, OUTGOING)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.add(port)
    return list(found)


def free_port() -> int:
    """A port that nobody has now."""
    return free_ports(1)[0]
