# SPDX-License-Identifier: Apache-2.0
"""Revocations of single tokens, in the register."""

from __future__ import annotations

from typing import Final

from keyfob.errors import UpstreamError
from keyfob.server.clients import ClientKind
from keyfob.server.oauth_errors import unavailable
from keyfob.server.stores.reads import Reads
from keyfob.server.stores.store import Store
from keyfob.server.stores.writer import Writer

__all__ = ["StoredTokenRevocations"]

_REASON: Final = "revoked"
# Whom tokens are about; those of a service are for the admin API.
_HOLDERS: Final = (ClientKind.DEVICE, ClientKind.SERVICE)


class StoredTokenRevocations:
    """Those that the endpoints ask for and make.

    Args:
        reads: Where they are read.
        writer: Where writes take their turn.
    """

    def __init__(self, reads: Reads, writer: Writer) -> None:
        self._reads = reads
        self._writer = writer

    async def is_token_good(self, *, subject: str, token_id: str, issued_at: int) -> bool:
        """Say whether a token's device is enabled and no revocation concerns the token.

        Raises:
            OAuthError: ``temporarily_unavailable``: the register does not answer.
        """

        def work(store: Store) -> bool:
            # The device first: one that is enabled again meanwhile left a revocation behind.
            holder = store.client(subject)
            if holder is None or holder.kind not in _HOLDERS or not holder.enabled:
                return False
            return not store.is_token_revoked(
                subject=subject, token_id=token_id, issued_at=issued_at
            )

        try:
            return await self._reads.run(work)
        except UpstreamError as error:
            raise unavailable() from error

    async def revoke_token(
        self, *, subject: str, token_id: str, issued_at: int, until: int, now: float, limit: int
    ) -> bool:
        """Revoke one token and return once that is on the disk.

        Args:
            subject: The token's ``sub``.
            token_id: Its ``jti``.
            issued_at: Its ``iat``.
            until: When the revocation may be forgotten.
            now: Unix seconds.
            limit: How many tokens of a subject may be revoked one by one at a time.

        Returns:
            Whether it is revoked; False: the limit is reached, and nothing was written.

        Raises:
            UpstreamError: The database stayed locked, or the disk is full.
        """

        def work(store: Store) -> bool:
            if store.is_token_revoked(subject=subject, token_id=token_id, issued_at=issued_at):
                return True
            if store.count_revoked_tokens(subject, now=now) >= limit:
                return False
            store.revoke(
                subject,
                issued_before=issued_at,
                until=until,
                reason=_REASON,
                now=now,
                token_id=token_id,
            )
            return True

        return await self._writer.run(work)
