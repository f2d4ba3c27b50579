# SPDX-License-Identifier: Apache-2.0
"""Which of a guard's workers a client belongs to: all that is known of it is in one place.

Plugins send each client to the worker that the CRC-32 of its identifier names
(docs/wire-protocol.md), and every worker keeps to the same rule where they share a file.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Final

__all__ = ["WHOLE", "Share", "owner_of"]


def owner_of(client_id: str, workers: int) -> int:
    """Return the worker that every connection of a client belongs to.

    Args:
        client_id: The client identifier, as the broker knows it.
        workers: How many workers there are, at least 1.
    """
    return zlib.crc32(client_id.encode()) % workers


@dataclass(frozen=True, slots=True)
class Share:
    """The clients of one worker.

    Attributes:
        worker: Which one, from 0.
        workers: How many there are.
    """

    worker: int = 0
    workers: int = 1

    def holds(self, client_id: str) -> bool:
        """Tell whether a client belongs to this worker."""
        return owner_of(client_id, self.workers) == self.worker

    def note(self, broker: str) -> str:
        """Return what this worker keeps a broker under, in a file that it may share.

        No name of a broker holds a NUL.
        """
        return broker if self.workers == 1 else f"{broker}\0{self.worker}/{self.workers}"

    def noted(self, note: str) -> str | None:
        """Return the broker that a note is of; None: it is another worker's."""
        broker, _, _ = note.partition("\0")
        return broker if self.note(broker) == note else None


WHOLE: Final = Share()
