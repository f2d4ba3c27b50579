# SPDX-License-Identifier: Apache-2.0
"""Random keys that every process of the server has to share, made by whoever needs one first."""

from __future__ import annotations

import secrets

from keyfob.server.stores.store import Store

__all__ = ["shared_key"]


def shared_key(store: Store, name: str, *, length: int) -> bytes:
    """Return a key, the same in every process and after every restart.

    Args:
        store: The register.
        name: What it is for.
        length: In bytes, where it has to be made.

    Raises:
        UpstreamError: The database stayed locked, or the disk is full.
    """
    query, about = "SELECT secret FROM shared_key WHERE name = ?", (name,)
    row = store.connection.execute(query, about).fetchone()
    if row is None:
        with store.transaction():
            store.connection.execute(
                "INSERT INTO shared_key (name, secret) VALUES (?, ?) ON CONFLICT (name) DO NOTHING",
                (name, secrets.token_bytes(length)),
            )
            row = store.connection.execute(query, about).fetchone()
    return bytes(row[0])
