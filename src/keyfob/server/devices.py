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

import msgspec

from keyfob.authorization.binding import ClientIdTemplate
from keyfob.errors import ConflictError, NotFoundError
from keyfob.server.certificates.identity import CertificateIdentity
from keyfob.server.client_keys import ClientKey, client_keys
from keyfob.server.client_metadata import (
    NO_METADATA,
    ClientMetadata,
    check_metadata,
    shown_metadata,
)
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
)
from keyfob.server.stores.old_secrets import replace_secret
from keyfob.server.stores.placing import labels_of, set_groups, set_labels
from keyfob.server.stores.refresh_families import end_families
from keyfob.server.stores.store import Store

__all__ = [
    "Device",
    "IssuedSecret",
    "add_device",
    "add_device_with_keys",
    "change_device",
    "disable_device",
    "enable_device",
    "find_device",
    "list_devices",
    "remove_device",
    "revoke_tokens",
    "revoke_all",
    "rotate_secret",
    "set_jwks",
    "set_tokens",
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
        has_secret: Whether it may authenticate by a secret.
        keys: The keys that it may authenticate by.
        groups: Names of the groups that it is in.
        labels: What is noted about it.
        metadata: What else it is registered with.
    """

    id: str
    state: State
    scopes: tuple[str, ...]
    lifetime: int | None
    created_at: float
    last_token_at: float | None
    has_secret: bool
    keys: tuple[ClientKey, ...]
    groups: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    metadata: ClientMetadata = NO_METADATA

    @property
    def certificate(self) -> CertificateIdentity:
        """The certificate that it may authenticate by; empty for none."""
        return self.metadata.certificate

    @property
    def certificate_bound(self) -> bool:
        """Whether its tokens are bound to its certificate."""
        return self.metadata.tls_client_certificate_bound_access_tokens

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
            has_secret=client.secret_hash is not None,
            keys=client_keys(client.jwks),
            groups=client.groups,
            labels=labels,
            metadata=shown_metadata(client.metadata),
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
            has_secret=row.has_secret,
            keys=client_keys(row.jwks),
            groups=row.groups,
            labels=row.labels,
            metadata=shown_metadata(row.metadata),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedSecret:
    """A device and its new secret, which is shown this once."""

    device: Device
    secret: str = field(repr=False)


def add_device(
    store: Store,
    device_id: str,
    *,
    publish: Iterable[str] = (),
    subscribe: Iterable[str] = (),
    scopes: Iterable[str] = (),
    lifetime: int | None = None,
    groups: Iterable[str] = (),
    labels: Mapping[str, str] | None = None,
    pending: bool = False,
    metadata: ClientMetadata = NO_METADATA,
    template: ClientIdTemplate = ANY_NAME,
    now: float,
) -> IssuedSecret:
    """Register a device; see ``Register.add_device``."""
    secret = generate_secret()
    device = _insert(
        store,
        device_id,
        secret_hash=hash_secret(secret),
        scopes=device_scopes(device_id, publish=publish, subscribe=subscribe, extra=scopes),
        lifetime=lifetime,
        placed=_Placed(groups=groups, labels=labels, pending=pending),
        metadata=metadata,
        template=template,
        now=now,
    )
    return IssuedSecret(device=device, secret=secret)


def add_device_with_keys(
    store: Store,
    device_id: str,
    *,
    jwks: str | None = None,
    publish: Iterable[str] = (),
    subscribe: Iterable[str] = (),
    scopes: Iterable[str] = (),
    lifetime: int | None = None,
    groups: Iterable[str] = (),
    labels: Mapping[str, str] | None = None,
    pending: bool = False,
    metadata: ClientMetadata = NO_METADATA,
    template: ClientIdTemplate = ANY_NAME,
    now: float,
) -> Device:
    """Register a device without a secret; see ``Register.add_device_with_keys``."""
    return _insert(
        store,
        device_id,
        jwks=jwks,
        scopes=device_scopes(device_id, publish=publish, subscribe=subscribe, extra=scopes),
        lifetime=lifetime,
        placed=_Placed(groups=groups, labels=labels, pending=pending),
        metadata=metadata,
        template=template,
        now=now,
    )


def change_device(
    store: Store,
    device_id: str,
    *,
    into: Iterable[str] = (),
    out_of: Iterable[str] = (),
    labels: Mapping[str, str] | None = None,
    unlabel: Iterable[str] = (),
    lifetime: int | None = None,
    rights: Mapping[str, Iterable[str]] | None = None,
) -> Device:
    """Change what is registered about a device; see ``Register.change_device``."""
    if lifetime:
        check_lifetime(lifetime)
    with store.transaction():
        client = _row(store, device_id)
        groups = {*client.groups, *into} - {*out_of}
        kept = labels_of(store.connection, device_id) | dict(labels or {})
        for key in unlabel:
            kept.pop(key, None)
        _place(store, device_id, groups, kept)
        if lifetime is not None:
            store.set_lifetime(device_id, lifetime or None)
        if rights is not None:
            store.set_scopes(device_id, _scopes(device_id, rights))
    return find_device(store, device_id)


def list_devices(
    store: Store, selection: Selection, *, after: str, limit: int
) -> tuple[Device, ...]:
    """Return a page of devices, by name; see ``Register.list_devices``."""
    return tuple(map(Device.listed, device_page(store, selection, after=after, limit=limit)))


def find_device(store: Store, device_id: str) -> Device:
    """Return one device.

    Raises:
        NotFoundError: There is none of this name.
    """
    return Device.of(_row(store, device_id), labels_of(store.connection, device_id))


def disable_device(store: Store, device_id: str, clock: Clock) -> Device:
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


def enable_device(store: Store, device_id: str) -> Device:
    """Let a disabled or pending device have new tokens; those from before stay revoked.

    Raises:
        NotFoundError: There is none of this name.
    """
    with store.transaction():
        _row(store, device_id)
        store.set_disabled(device_id, None)
    return find_device(store, device_id)


def remove_device(store: Store, device_id: str, clock: Clock) -> None:
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
    store: Store, device_id: str, clock: Clock, *, overlap: int = 0, until_used: bool = False
) -> IssuedSecret:
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
        client = _row(store, device_id)
        if client.secret_hash is None:
            raise ConflictError(
                f"the device {device_id!r} has no secret; its keys are changed with set-jwks, its"
                " certificate with set-certificate"
            )
        until = clock() + overlap if overlap else None
        replace_secret(store, client, hash_secret(secret), old_until=until, until_used=until_used)
    return IssuedSecret(device=find_device(store, device_id), secret=secret)


def revoke_all(store: Store, device_id: str, clock: Clock) -> None:
    """Revoke the tokens that a device has; it may get new ones from the next second on.

    Raises:
        NotFoundError: There is none of this name.
    """
    with store.transaction():
        client = _row(store, device_id)
        end_families(store, device_id, "revoked")
        revoked = revoke_tokens(store, client, "revoked", clock())
    _end_tokens(store, client, "revoked", revoked, clock)


def set_jwks(store: Store, device_id: str, jwks: str, *, remove_secret: bool = False) -> Device:
    """Give a device other keys; those before stop at once, its tokens end in their own time.

    With its secret, the refresh tokens stop that were got with it.

    Raises:
        NotFoundError: There is none of this name.
    """
    with store.transaction():
        _row(store, device_id)
        store.set_jwks(device_id, jwks)
        if remove_secret:
            store.remove_secret(device_id)
            end_families(store, device_id, "secret_changed")
    return find_device(store, device_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Placed:
    """Where a new device is put: its groups and labels, and whether it waits to be activated."""

    groups: Iterable[str] = ()
    labels: Mapping[str, str] | None = None
    pending: bool = False


def set_tokens(store: Store, device_id: str, wanted: ClientMetadata) -> Device:
    """Change what the device's next tokens are; those that it has stay what they are.

    Raises:
        NotFoundError: There is none of this name.
        ConfigError: It does not go together, or not with what the device has registered.
    """
    with store.transaction():
        client = _row(store, device_id)
        metadata = msgspec.structs.replace(
            client.metadata,
            dpop_bound_access_tokens=wanted.dpop_bound_access_tokens,
            access_token_format=wanted.access_token_format,
            access_token_confirmation=wanted.access_token_confirmation,
        )
        check_metadata(metadata, has_keys=client.jwks is not None)
        store.set_metadata(device_id, metadata)
    return find_device(store, device_id)


def _insert(
    store: Store,
    device_id: str,
    *,
    secret_hash: str | None = None,
    jwks: str | None = None,
    scopes: tuple[str, ...],
    lifetime: int | None,
    placed: _Placed,
    metadata: ClientMetadata,
    template: ClientIdTemplate,
    now: float,
) -> Device:
    check_name(device_id, template=template)
    check_metadata(metadata, has_keys=jwks is not None)
    if lifetime is not None:
        check_lifetime(lifetime)
    client = Client(
        client_id=device_id,
        kind=ClientKind.DEVICE,
        secret_hash=secret_hash,
        jwks=jwks,
        grants=KIND_GRANTS[ClientKind.DEVICE],
        scopes=scopes,
        lifetime=lifetime,
        created_at=now,
        enabled=not placed.pending,
        pending=placed.pending,
        metadata=metadata,
    )
    with store.transaction():
        store.insert_client(client)
        _place(store, device_id, placed.groups, placed.labels or {})
    return find_device(store, device_id)


def _row(store: Store, device_id: str) -> Client:
    client = store.client(device_id)
    if client is None or client.kind is not ClientKind.DEVICE:
        raise NotFoundError(f"no device {shown_name(device_id)!r}; `keyfob device list` shows them")
    return client


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


def _scopes(device_id: str, rights: Mapping[str, Iterable[str]]) -> tuple[str, ...]:
    return device_scopes(
        device_id,
        publish=rights.get("publish", ()),
        subscribe=rights.get("subscribe", ()),
        extra=rights.get("scopes", ()),
    )


def _end_tokens(store: Store, client: Client, reason: str, revoked: int, clock: Clock) -> None:
    now = clock()
    if int(now) > revoked:
        with store.transaction():
            revoke_tokens(store, client, reason, now)
