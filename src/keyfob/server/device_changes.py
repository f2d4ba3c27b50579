# SPDX-License-Identifier: Apache-2.0
"""Devices are registered, and what is registered about them is changed; ``Register`` says how."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import msgspec

from keyfob.authorization.binding import ClientIdTemplate
from keyfob.errors import ConflictError, NotFoundError
from keyfob.server.client_metadata import ClientMetadata, check_metadata
from keyfob.server.clients import KIND_GRANTS, Client, ClientKind
from keyfob.server.credentials import generate_secret, hash_secret
from keyfob.server.devices import Device, IssuedDevice, device_client, find_device
from keyfob.server.groups import check_groups
from keyfob.server.labels import check_labels
from keyfob.server.lifetimes import check_lifetime
from keyfob.server.names import ANY_NAME, check_name
from keyfob.server.rotation import check_overlap
from keyfob.server.stores.fleet import group_row
from keyfob.server.stores.old_secrets import replace_secret
from keyfob.server.stores.placing import labels_of, set_groups, set_labels
from keyfob.server.stores.refresh_families import end_families
from keyfob.server.stores.store import Store
from keyfob.server.wishes import ChangeWish, DeviceWish

__all__ = ["add_device", "change_device", "rotate_secret", "set_jwks", "set_tokens"]


def add_device(
    store: Store, wish: DeviceWish, *, template: ClientIdTemplate = ANY_NAME, now: float
) -> IssuedDevice:
    """Register a device; see ``Register.add_device``."""
    jwks, metadata = wish.checked_keys()
    scopes = wish.rights.scopes_of(wish.id)
    check_name(wish.id, template=template)
    if wish.lifetime is not None:
        check_lifetime(wish.lifetime)
    secret = "" if wish.has_keys else generate_secret()
    client = Client(
        client_id=wish.id,
        kind=ClientKind.DEVICE,
        secret_hash=hash_secret(secret) if secret else None,
        jwks=jwks,
        grants=KIND_GRANTS[ClientKind.DEVICE],
        scopes=scopes,
        lifetime=wish.lifetime,
        created_at=now,
        enabled=not wish.pending,
        pending=wish.pending,
        metadata=metadata,
    )
    with store.transaction():
        store.insert_client(client)
        _place(store, wish.id, wish.groups, wish.labels)
    return IssuedDevice(device=find_device(store, wish.id), secret=secret)


def change_device(store: Store, device_id: str, change: ChangeWish) -> Device:
    """Change what is registered about a device; see ``Register.change_device``."""
    if change.lifetime:
        check_lifetime(change.lifetime)
    with store.transaction():
        client = device_client(store, device_id)
        groups = {*client.groups, *change.into} - {*change.out_of}
        labels = {**labels_of(store.connection, device_id), **change.labels}
        for key in change.unlabel:
            labels.pop(key, None)
        _place(store, device_id, groups, labels)
        if change.lifetime is not None:
            store.set_lifetime(device_id, change.lifetime or None)
        if change.rights is not None:
            store.set_scopes(device_id, change.rights.scopes_of(device_id))
    return find_device(store, device_id)


def set_tokens(store: Store, device_id: str, wanted: ClientMetadata) -> Device:
    """Change what the device's next tokens are; those that it has stay what they are.

    Raises:
        NotFoundError: There is none of this name.
        ConfigError: It does not go together, or not with what the device has registered.
    """
    with store.transaction():
        client = device_client(store, device_id)
        metadata = msgspec.structs.replace(
            client.metadata,
            dpop_bound_access_tokens=wanted.dpop_bound_access_tokens,
            access_token_format=wanted.access_token_format,
            access_token_confirmation=wanted.access_token_confirmation,
        )
        check_metadata(metadata, has_keys=client.jwks is not None)
        store.set_metadata(device_id, metadata)
    return find_device(store, device_id)


def set_jwks(store: Store, device_id: str, jwks: str, *, remove_secret: bool = False) -> Device:
    """Give a device other keys; those before stop at once, its tokens end in their own time.

    With its secret, the refresh tokens stop that were got with it.

    Raises:
        NotFoundError: There is none of this name.
    """
    with store.transaction():
        device_client(store, device_id)
        store.set_jwks(device_id, jwks)
        if remove_secret:
            store.remove_secret(device_id)
            end_families(store, device_id, "secret_changed")
    return find_device(store, device_id)


def rotate_secret(
    store: Store,
    device_id: str,
    clock: Callable[[], float],
    *,
    overlap: int = 0,
    until_used: bool = False,
) -> IssuedDevice:
    """Give a device a new secret; see ``Register.rotate_secret``.

    Whoever knew the old secret may have got refresh tokens with it: they end when it does.

    Raises:
        NotFoundError: There is none of this name.
        ConfigError: The overlap is too long.
        ConflictError: It has keys or a certificate and no secret, and shall not get a weaker way
            in by the way.
    """
    check_overlap(overlap)
    secret = generate_secret()
    with store.transaction():
        client = device_client(store, device_id)
        if client.secret_hash is None:
            raise ConflictError(
                f"the device {device_id!r} has no secret; its keys are changed with set-jwks, its"
                " certificate with set-certificate"
            )
        until = clock() + overlap if overlap else None
        replace_secret(store, client, hash_secret(secret), old_until=until, until_used=until_used)
    return IssuedDevice(device=find_device(store, device_id), secret=secret)


def _place(store: Store, device_id: str, groups: Iterable[str], labels: Mapping[str, str]) -> None:
    """Say which groups and labels a device has, and that it has no other."""
    names = tuple(sorted(set(groups)))
    check_groups(names)
    check_labels(labels)
    for name in names:
        if group_row(store, name) is None:
            raise NotFoundError(f"there is no group {name!r}; `keyfob group list` shows them")
    set_groups(store.connection, device_id, names)
    set_labels(store.connection, device_id, labels)
