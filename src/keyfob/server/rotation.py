# SPDX-License-Identifier: Apache-2.0
"""Two secrets at a time: a device proves itself by the new one, or by the old one until its end.

Whatever is shown costs the same: two hashes and two comparisons, whether the client exists
or not and whether it has an old secret or not.
"""

from __future__ import annotations

from typing import Final, Protocol

from keyfob.errors import ConfigError, UpstreamError
from keyfob.server.clients import StoredSecret
from keyfob.server.credentials import SecretVerifier
from keyfob.server.oauth_errors import OAuthError

__all__ = ["MAX_OVERLAP", "SecretStore", "check_overlap", "note_use", "proven_hash"]

# A secret is replaced because somebody may know it: it does not go on for ever.
MAX_OVERLAP: Final = 90 * 86_400


class SecretStore(Protocol):
    """What the use of a secret changes in the register."""

    async def end_old_secret(self, client_id: str, secret_hash: str) -> None:
        """Let the old secret of a client stop, if the new one is still this one.

        Raises:
            UpstreamError: It could not be written down.
        """


def proven_hash(verify: SecretVerifier, presented: str, stored: StoredSecret | None) -> str | None:
    """Return the stored hash that a presented secret proves, of the new one or the old; else None.

    Args:
        verify: Compares a secret with a stored hash.
        presented: What was sent; may be empty.
        stored: What has to be proven; None for an unknown client.
    """
    new, old = (None, None) if stored is None else (stored.secret_hash, stored.old_hash)
    by_new, by_old = verify(presented, new), verify(presented, old)
    if by_new:
        return new
    return old if by_old else None


async def note_use(
    store: SecretStore, client_id: str, stored: StoredSecret, proven: str | None
) -> None:
    """End the old secret where the first use of the new one does; returns once it is on disk.

    Only for a client that gets something: one that is refused uses up no secret.

    Args:
        store: The register.
        client_id: Whose secret it is.
        stored: What was compared with.
        proven: What ``proven_hash`` returned.

    Raises:
        OAuthError: ``temporarily_unavailable``: it cannot be written down.
    """
    if proven is None or proven != stored.secret_hash:
        return
    if stored.old_hash is None or not stored.old_ends_on_use:
        return
    try:
        await store.end_old_secret(client_id, proven)
    except UpstreamError:
        raise OAuthError(
            "temporarily_unavailable", "try again later", reason="secret_use_not_written"
        ) from None


def check_overlap(seconds: int) -> None:
    """Refuse an overlap of two secrets outside the bounds.

    Raises:
        ConfigError: It is negative or longer than ``MAX_OVERLAP``.
    """
    if not 0 <= seconds <= MAX_OVERLAP:
        raise ConfigError(f"two secrets work for at most {MAX_OVERLAP // 86_400} days, not longer")
