# SPDX-License-Identifier: Apache-2.0
"""Devices are disabled, enabled and removed, and the tokens end that they have.

Disabling and removing a device also ends the tokens that it has. That is one transaction: the
device's state and the revocation that guards read are never seen apart, and both are on disk before
the operator is told so.

Why ``_end_tokens`` looks at the clock again after its commit.
A revocation concerns tokens by ``iat`` in whole seconds, and the server takes a token's ``iat``
*before* it reads the device's state (``endpoints.token``).
So a token that was issued on the old state has an ``iat`` no later than the commit.
The transaction notes the second in which it began; where the commit ended in a later one, a token
may have slipped in between, and a second revocation covers it. After the commit nobody reads the
old state, so two are always enough. A crash between the two was acknowledged to nobody; disabling
again covers it.
"""

from __future__ import annotations

from collections.abc import Callable

from keyfob.server.clients import Client
from keyfob.server.devices import Device, device_client, find_device
from keyfob.server.lifetimes import revocation_until
from keyfob.server.stores.refresh_families import end_families
from keyfob.server.stores.store import Store

__all__ = ["disable_device", "enable_device", "remove_device", "revoke_all", "revoke_tokens"]

Clock = Callable[[], float]


def disable_device(store: Store, device_id: str, clock: Clock) -> Device:
    """Give a device no new token and revoke those that it has.

    Disabling it again is not an error and revokes again.

    Raises:
        NotFoundError: There is none of this name.
    """
    with store.transaction():
        client, now = device_client(store, device_id), clock()
        store.set_disabled(device_id, now)
        revoked = revoke_tokens(store, client, "disabled", now)
    _end_tokens(store, client, "disabled", revoked, clock)
    return find_device(store, device_id)


def enable_device(store: Store, device_id: str) -> Device:
    """Let a disabled or pending device have new tokens; those from before stay revoked.

    Raises:
        NotFoundError: There is none of this name.
    """
    with store.transaction():
        device_client(store, device_id)
        store.set_disabled(device_id, None)
    return find_device(store, device_id)


def remove_device(
    store: Store, device_id: str, clock: Clock, *, proven: Callable[[], object] = lambda: None
) -> None:
    """Forget a device and revoke the tokens that it has; see ``Register.remove_device``.

    Raises:
        NotFoundError: There is none of this name.
    """
    with store.transaction():
        proven()
        client = device_client(store, device_id)
        store.delete_client(device_id)
        revoked = revoke_tokens(store, client, "removed", clock())
    _end_tokens(store, client, "removed", revoked, clock)


def revoke_all(store: Store, device_id: str, clock: Clock) -> None:
    """Revoke the tokens that a device has; it may get new ones from the next second on.

    Raises:
        NotFoundError: There is none of this name.
    """
    with store.transaction():
        client = device_client(store, device_id)
        end_families(store, device_id, "revoked")
        revoked = revoke_tokens(store, client, "revoked", clock())
    _end_tokens(store, client, "revoked", revoked, clock)


def revoke_tokens(store: Store, client: Client, reason: str, now: float) -> int:
    """Revoke, in a transaction, what a device has got until now; return the second that it was."""
    issued_before = int(now)
    store.revoke(
        client.client_id,
        issued_before=issued_before,
        # Not by its own lifetime: an operator may have shortened it since a token was issued.
        until=revocation_until(issued_before),
        reason=reason,
        now=now,
    )
    return issued_before


def _end_tokens(store: Store, client: Client, reason: str, revoked: int, clock: Clock) -> None:
    now = clock()
    if int(now) > revoked:
        with store.transaction():
            revoke_tokens(store, client, reason, now)
