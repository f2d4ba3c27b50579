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

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from keyfob.authorization.binding import ClientIdTemplate
from keyfob.errors import ConflictError, NotFoundError
from keyfob.server.certificates.identity import CertificateIdentity
from keyfob.server.client_keys import ClientKey, client_keys
from keyfob.server.client_metadata import NO_METADATA, ClientMetadata, check_metadata
from keyfob.server.clients import KIND_GRANTS, Client, ClientKind
from keyfob.server.credentials import generate_secret, hash_secret
from keyfob.server.lifetimes import check_lifetime, revocation_until
from keyfob.server.names import ANY_NAME, check_name, shown_name
from keyfob.server.scopes import device_scopes
from keyfob.server.stores.refresh_families import end_families
from keyfob.server.stores.sqlite import SqliteStore

__all__ = [
    "Device",
    "IssuedSecret",
    "add_device",
    "add_device_with_keys",
    "disable_device",
    "enable_device",
    "find_device",
    "list_devices",
    "remove_device",
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
        state: Whether it gets tokens.
        scopes: What its tokens may say.
        lifetime: Seconds its tokens live; None follows the server's default.
        created_at: When it was registered, in Unix seconds.
        last_token_at: When it last got a token (written down with a delay); None for never.
        has_secret: Whether it may authenticate by a secret.
        keys: The keys that it may authenticate by.
        certificate: The certificate that it may authenticate by; empty for none.
        certificate_bound: Whether its tokens are bound to its certificate.
        metadata: What else it is registered with.
    """

    id: str
    state: Literal["enabled", "disabled"]
    scopes: tuple[str, ...]
    lifetime: int | None
    created_at: float
    last_token_at: float | None
    has_secret: bool
    keys: tuple[ClientKey, ...]
    certificate: CertificateIdentity
    certificate_bound: bool
    metadata: ClientMetadata = NO_METADATA

    @classmethod
    def of(cls, client: Client) -> Device:
        """Return the operator's view of a row."""
        return cls(
            id=client.client_id,
            state="enabled" if client.enabled else "disabled",
            scopes=client.scopes,
            lifetime=client.lifetime,
            created_at=client.created_at,
            last_token_at=client.last_token_at,
            has_secret=client.secret_hash is not None,
            keys=client_keys(client.jwks),
            certificate=client.metadata.certificate,
            certificate_bound=client.metadata.tls_client_certificate_bound_access_tokens,
            metadata=client.metadata,
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
    metadata: ClientMetadata = NO_METADATA,
    template: ClientIdTemplate = ANY_NAME,
    now: float,
) -> IssuedSecret:
    """Register a device; see ``Register.add_device``."""
    secret = generate_secret()
    client = _insert(
        store,
        device_id,
        secret_hash=hash_secret(secret),
        scopes=device_scopes(device_id, publish=publish, subscribe=subscribe, extra=scopes),
        lifetime=lifetime,
        metadata=metadata,
        template=template,
        now=now,
    )
    return IssuedSecret(device=Device.of(client), secret=secret)


def add_device_with_keys(
    store: SqliteStore,
    device_id: str,
    *,
    jwks: str | None = None,
    publish: Iterable[str] = (),
    subscribe: Iterable[str] = (),
    scopes: Iterable[str] = (),
    lifetime: int | None = None,
    metadata: ClientMetadata = NO_METADATA,
    template: ClientIdTemplate = ANY_NAME,
    now: float,
) -> Device:
    """Register a device without a secret; see ``Register.add_device_with_keys``."""
    client = _insert(
        store,
        device_id,
        jwks=jwks,
        scopes=device_scopes(device_id, publish=publish, subscribe=subscribe, extra=scopes),
        lifetime=lifetime,
        metadata=metadata,
        template=template,
        now=now,
    )
    return Device.of(client)


def list_devices(store: SqliteStore) -> tuple[Device, ...]:
    """Return every device, by name."""
    return tuple(Device.of(client) for client in store.clients(ClientKind.DEVICE))


def find_device(store: SqliteStore, device_id: str) -> Device:
    """Return one device.

    Raises:
        NotFoundError: There is none of this name.
    """
    return Device.of(_row(store, device_id))


def disable_device(store: SqliteStore, device_id: str, clock: Clock) -> Device:
    """Give a device no new token and revoke those that it has.

    Disabling it again is not an error and revokes again.

    Raises:
        NotFoundError: There is none of this name.
    """
    with store.transaction():
        client, now = _row(store, device_id), clock()
        store.set_disabled(device_id, now)
        revoked = _revoke(store, client, "disabled", now)
    _end_tokens(store, client, "disabled", revoked, clock)
    return find_device(store, device_id)


def enable_device(store: SqliteStore, device_id: str) -> Device:
    """Let a disabled device have new tokens; those from before stay revoked.

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
        revoked = _revoke(store, client, "removed", clock())
    _end_tokens(store, client, "removed", revoked, clock)


def rotate_secret(store: SqliteStore, device_id: str) -> IssuedSecret:
    """Give a device a new secret; the old one stops at once, and so do its refresh tokens.

    Whoever knew the old secret may have got some with it. Access tokens end in their own time.

    Raises:
        NotFoundError: There is none of this name.
        ConflictError: It has keys or a certificate and no secret, and shall not get a weaker way
            in by the way.
    """
    secret = generate_secret()
    with store.transaction():
        client = _row(store, device_id)
        if client.secret_hash is None:
            raise ConflictError(
                f"the device {device_id!r} has no secret; its keys are changed with set-jwks, its"
                " certificate with set-certificate"
            )
        store.set_secret(device_id, hash_secret(secret))
        end_families(store, device_id, "secret_changed")
    return IssuedSecret(device=Device.of(client), secret=secret)


def set_jwks(
    store: SqliteStore, device_id: str, jwks: str, *, remove_secret: bool = False
) -> Device:
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


def set_tokens(store: SqliteStore, device_id: str, wanted: ClientMetadata) -> Device:
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
    store: SqliteStore,
    device_id: str,
    *,
    secret_hash: str | None = None,
    jwks: str | None = None,
    scopes: tuple[str, ...],
    lifetime: int | None,
    metadata: ClientMetadata,
    template: ClientIdTemplate,
    now: float,
) -> Client:
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
        metadata=metadata,
    )
    with store.transaction():
        store.insert_client(client)
    return client


def _row(store: SqliteStore, device_id: str) -> Client:
    client = store.client(device_id)
    if client is None or client.kind is not ClientKind.DEVICE:
        raise NotFoundError(f"no device {shown_name(device_id)!r}; `keyfob device list` shows them")
    return client


def _revoke(store: SqliteStore, client: Client, reason: str, now: float) -> int:
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
            _revoke(store, client, reason, now)
