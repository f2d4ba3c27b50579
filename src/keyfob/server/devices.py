# SPDX-License-Identifier: Apache-2.0
"""What a device of the register is, as the operator sees it.

``device_changes`` registers devices and changes what is registered; ``device_endings`` ends them
and the tokens that they have.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from keyfob.errors import NotFoundError
from keyfob.server.certificates.identity import CertificateIdentity
from keyfob.server.client_keys import ClientKey, client_keys
from keyfob.server.client_metadata import NO_METADATA, ClientMetadata, shown_metadata
from keyfob.server.clients import Client, ClientKind
from keyfob.server.names import shown_name
from keyfob.server.stores.fleet import DeviceRow, Selection, State, device_page
from keyfob.server.stores.placing import labels_of
from keyfob.server.stores.store import Store

__all__ = ["Device", "IssuedDevice", "device_client", "find_device", "list_devices"]


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
class IssuedDevice:
    """A device and its new secret, which is shown this once; empty: it has keys instead."""

    device: Device
    secret: str = field(default="", repr=False)


def device_client(store: Store, device_id: str) -> Client:
    """Return a device as the flows read it.

    Raises:
        NotFoundError: There is none of this name.
    """
    client = store.client(device_id)
    if client is None or client.kind is not ClientKind.DEVICE:
        raise NotFoundError(f"no device {shown_name(device_id)!r}; `keyfob device list` shows them")
    return client


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
    return Device.of(device_client(store, device_id), labels_of(store.connection, device_id))
