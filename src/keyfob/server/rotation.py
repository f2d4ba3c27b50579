# SPDX-License-Identifier: Apache-2.0
"""Two secrets at a time: a device proves itself by the new one, or by the old one until its end.

Whatever is shown costs the same: two hashes and two comparisons, whether the client exists
or not and whether it has an old secret or not.
"""

from __future__ import annotations

import enum
from typing import Final, Protocol

from keyfob.errors import ConfigError
from keyfob.server.clients import Client, StoredSecret
from keyfob.server.credentials import SecretVerifier

__all__ = ["MAX_OVERLAP", "Proof", "SecretStore", "check_overlap", "note_use", "prove"]

# A secret is replaced because somebody may know it: it does not go on for ever.
MAX_OVERLAP: Final = 90 * 86_400


class Proof(enum.Enum):
    """What a presented secret proved."""

    NONE = enum.auto()
    BY_NEW = enum.auto()
    BY_OLD = enum.auto()


class SecretStore(Protocol):
    """What the use of a secret changes in the register."""

    async def end_old_secret(self, client_id: str, secret_hash: str) -> None:
        """Let the old secret of a client stop, if the new one is still this one."""


def prove(verify: SecretVerifier, presented: str, stored: StoredSecret | None) -> Proof:
    """Say what a presented secret proves.

    Args:
        verify: Compares a secret with a stored hash.
        presented: What was sent; may be empty.
        stored: What has to be proven; None for an unknown client.
    """
    by_new = verify(presented, None if stored is None else stored.secret_hash)
    by_old = verify(presented, None if stored is None else stored.old_hash)
    if by_new:
        return Proof.BY_NEW
    return Proof.BY_OLD if by_old else Proof.NONE


async def note_use(store: SecretStore, client: Client, stored: StoredSecret, proof: Proof) -> None:
    """End the old secret where the first use of the new one does; returns once it is on disk."""
    uses_new = proof is Proof.BY_NEW and stored.secret_hash is not None
    if uses_new and stored.old_ends_on_use and stored.old_hash is not None:
        await store.end_old_secret(client.client_id, stored.secret_hash or "")


def check_overlap(seconds: int) -> None:
    """Refuse an overlap of two secrets outside the bounds.

    Raises:
        ConfigError: It is negative or longer than ``MAX_OVERLAP``.
    """
    if not 0 <= seconds <= MAX_OVERLAP:
        raise ConfigError(f"two secrets work for at most {MAX_OVERLAP // 86_400} days, not longer")
