# SPDX-License-Identifier: Apache-2.0
"""The devices of the register: added, shown, disabled, enabled, removed, given a new secret.

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

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from keyfob.authorization.binding import ClientIdTemplate
from keyfob.errors import NotFoundError
from keyfob.server.clients import KIND_GRANTS, Client, ClientKind
from keyfob.server.credentials import generate_secret, hash_secret
from keyfob.server.groups import check_groups
from keyfob.server.labels import check_labels
from keyfob.server.lifetimes import check_lifetime, revocation_until
from keyfob.server.names import ANY_NAME, check_name, shown_name
from keyfob.server.rotation import check_overlap
from keyfob.server.scopes import device_scopes
from keyfob.server.stores.fleet import (
    DeviceRow,
    Selection,
    State,
    device_page,
    group_row,
    labels_of,
    set_groups,
    set_labels,
)
from keyfob.server.stores.sqlite import SqliteStore

__all__ = [
    "Device",
    "IssuedSecret",
    "add_device",
    "change_device",
    "disable_device",
    "enable_device",
    "find_device",
    "list_devices",
    "remove_device",
    "revoke_tokens",
    "rotate_secret",
]

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A registered device, as the operator sees it.

    Args:
        id: Its name: ``client_id`` at the token endpoint, ``sub`` in tokens.
        state: Whether it gets tokens; a pending one was never activated.
        scopes: What its tokens may say, beside what its groups give.
        lifetime: Seconds its tokens live; None follows its groups or the server's default.
        created_at: When it was registered, in Unix seconds.
        last_token_at: When it last got a token (written down with a delay); None for never.
        groups: Names of the groups that it is in.
        labels: What is noted about it.
    """

    id: str
    state: State
    scopes: tuple[str, ...]
    lifetime: int | None
    created_at: float
    last_token_at: float | None
    groups: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, client: Client, labels: Mapping[str, str]) -> Device:
        """Return the operator's view of a row."""
        return cls(
            id=client.client_id,
            state="active" if client.enabled else "pending" if client.pending else "disabled",
            scopes=client.scopes,
            lifetime=client.lifetime,
            created_at=client.created_at,
            last_token_at=client.last_token_at,
            groups=client.groups,
            labels=labels,
        )

    @classmethod
    def listed(cls, row: DeviceRow) -> Device:
        """Return the operator's view of a row of a list."""
        return cls(
            id=row.device_id,
            state=row.state,
            scopes=row.scopes,
            lifetime=row.lifetime,
            created_at=row.created_at,
            last_token_at=row.last_token_at,
            groups=row.groups,
            labels=row.labels,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedSecret:
    """A device and its new secret, which is shown this once."""

    device: Device
    secret: str = field(repr=False)


def add_device(
    store: SqliteStore,
    device_id: str,
    *,
    publish: Iterable[str] = (),
    subscribe: Iterable[str] = (),
    scopes: Iterable[str] = (),
    lifetime: int | None = None,
    groups: Iterable[str] = (),
    labels: Mapping[str, str] | None = None,
    pending: bool = False,
    template: ClientIdTemplate = ANY_NAME,
    now: float,
) -> IssuedSecret:
    """Register a device; see ``Register.add_device``."""
    check_name(device_id, template=template)
    if lifetime is not None:
        check_lifetime(lifetime)
    secret = generate_secret()
    client = Client(
        client_id=device_id,
        kind=ClientKind.DEVICE,
        secret_hash=hash_secret(secret),
        grants=KIND_GRANTS[ClientKind.DEVICE],
        scopes=device_scopes(device_id, publish=publish, subscribe=subscribe, extra=scopes),
        lifetime=lifetime,
        created_at=now,
        enabled=not pending,
        pending=pending,
        groups=tuple(sorted(set(groups))),
    )
    check_groups(client.groups)
    check_labels(labels or {})
    with store.transaction():
        store.insert_client(client)
        _put_into(store, device_id, client.groups)
        set_labels(store, device_id, labels or {})
    return IssuedSecret(device=Device.of(client, labels or {}), secret=secret)


def change_device(
    store: SqliteStore,
    device_id: str,
    *,
    into: Iterable[str] = (),
    out_of: Iterable[str] = (),
    labels: Mapping[str, str] | None = None,
    unlabel: Iterable[str] = (),
) -> Device:
    """Put a device into groups, take it out of others, and change its labels.

    Raises:
        NotFoundError: There is no device, or no group, of this name.
        ConfigError: The groups or labels are not allowed.
    """
    with store.transaction():
        client = _row(store, device_id)
        groups = tuple(sorted({*client.groups, *into} - {*out_of}))
        check_groups(groups)
        _put_into(store, device_id, groups)
        kept = labels_of(store, device_id) | dict(labels or {})
        kept = {key: value for key, value in kept.items() if key not in {*unlabel}}
        check_labels(kept)
        set_labels(store, device_id, kept)
    return find_device(store, device_id)


def list_devices(
    store: SqliteStore, selection: Selection, *, after: str, limit: int
) -> tuple[Device, ...]:
    """Return a page of devices, by name; see ``Register.list_devices``."""
    return tuple(map(Device.listed, device_page(store, selection, after=after, limit=limit)))


def find_device(store: SqliteStore, device_id: str) -> Device:
    """Return one device.

    Raises:
        NotFoundError: There is none of this name.
    """
    return Device.of(_row(store, device_id), labels_of(store, device_id))


def disable_device(store: SqliteStore, device_id: str, clock: Clock) -> Device:
    """Give a device no new token and revoke those that it has.

    Disabling it again is not an error and revokes again.

    Raises:
        NotFoundError: There is none of this name.
    """
    with store.transaction():
        client, now = _row(store, device_id), clock()
        store.set_disabled(device_id, now)
        revoked = revoke_tokens(store, client, "disabled", now)
    _end_tokens(store, client, "disabled", revoked, clock)
    return find_device(store, device_id)


def enable_device(store: SqliteStore, device_id: str) -> Device:
    """Let a disabled or pending device have new tokens; those from before stay revoked.

    Raises:
        NotFoundError: There is none of this name.
    """
    with store.transaction():
        _row(store, device_id)
        store.set_disabled(device_id, None)
    return find_device(store, device_id)


def remove_device(store: SqliteStore, device_id: str, clock: Clock) -> None:
    """Forget a device and revoke the tokens that it has.

    Raises:
        NotFoundError: There is none of this name.
    """
    with store.transaction():
        client = _row(store, device_id)
        store.delete_client(device_id)
        revoked = revoke_tokens(store, client, "removed", clock())
    _end_tokens(store, client, "removed", revoked, clock)


def rotate_secret(
    store: SqliteStore, device_id: str, clock: Clock, *, overlap: int = 0, until_used: bool = False
) -> IssuedSecret:
    """Give a device a new secret; see ``Register.rotate_secret``."""
    check_overlap(overlap)
    secret = generate_secret()
    with store.transaction():
        _row(store, device_id)
        store.set_secret(
            device_id,
            hash_secret(secret),
            old_until=clock() + overlap if overlap else None,
            old_ends_on_use=until_used,
        )
    return IssuedSecret(device=find_device(store, device_id), secret=secret)


def _row(store: SqliteStore, device_id: str) -> Client:
    client = store.client(device_id)
    if client is None or client.kind is not ClientKind.DEVICE:
        raise NotFoundError(f"no device {shown_name(device_id)!r}; `keyfob device list` shows them")
    return client


def _put_into(store: SqliteStore, device_id: str, groups: tuple[str, ...]) -> None:
    for name in groups:
        if group_row(store, name) is None:
            raise NotFoundError(f"there is no group {name!r}; `keyfob group list` shows them")
    set_groups(store, device_id, groups)


def revoke_tokens(store: SqliteStore, client: Client, reason: str, now: float) -> int:
    """Revoke, in a transaction, what a device has got until now; return the second that it was."""
    issued_before = int(now)
    store.revoke(
        client.client_id,
        issued_before=issued_before,
        until=revocation_until(issued_before, client.lifetime),
        reason=reason,
        now=now,
    )
    return issued_before


def _end_tokens(
    store: SqliteStore, client: Client, reason: str, revoked: int, clock: Clock
) -> None:
    now = clock()
    if int(now) > revoked:
        with store.transaction():
            revoke_tokens(store, client, reason, now)
