# SPDX-License-Identifier: Apache-2.0
"""Secrets that follow each other: the old one works beside the new one, until some time or its use.

A login ends with the secret that it was proven by. While two secrets work, the refresh tokens
from before, and those that are got with the old one, work and end when it does at the latest; what
was got with a secret before that one ends at once.
"""

from __future__ import annotations

from typing import Final

from keyfob.server.clients import Client
from keyfob.server.stores.refresh_families import end_families, end_families_by, limit_families
from keyfob.server.stores.store import Store

__all__ = ["end_old_secret", "replace_secret"]

_REPLACE: Final = """
UPDATE client
SET old_secret_hash = secret_hash, old_secret_until = ?, old_secret_ends_on_use = ?,
    secret_hash = ?
WHERE client_id = ?
"""


def replace_secret(
    store: Store,
    client: Client,
    secret_hash: str,
    *,
    old_until: float | None,
    until_used: bool,
) -> None:
    """Give a client another secret, in a transaction in which it was read.

    Args:
        store: The register.
        client: Who has one already.
        secret_hash: Of the new one.
        old_until: Until when the one of now works too, in Unix seconds; None: it stops.
        until_used: Whether it stops earlier, once the new one was used.
    """
    name = client.client_id
    if old_until is None:
        store.set_secret(name, secret_hash)
        end_families(store, name, "secret_changed")
        return
    store.connection.execute(_REPLACE, (old_until, int(until_used), secret_hash, name))
    if client.old_hash is not None:  # the one before the old one, which stops now
        end_families_by(store.connection, name, client.old_hash)
    limit_families(store.connection, name, old_until)


def end_old_secret(store: Store, client_id: str, secret_hash: str) -> None:
    """Let the old secret of a client stop, and what was got with it, if the new one is still this.

    In a transaction; doing it again changes nothing.
    """
    client = store.client(client_id)
    if client is None or client.secret_hash != secret_hash or client.old_hash is None:
        return
    end_families_by(store.connection, client_id, client.old_hash)
    store.set_secret(client_id, secret_hash)  # the same one, and no other beside it
