# SPDX-License-Identifier: Apache-2.0
"""Who may ask the server for something: OAuth clients (RFC 6749 section 2), of three kinds.

Devices, applications and services share one namespace, so a ``client_id`` or ``sub`` in a token
never means two parties (RFC 9068 section 5).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import ClassVar, Final

from keyfob.server.admin_scopes import ADMIN_SCOPES
from keyfob.server.certificates.identity import CertificateIdentity
from keyfob.server.client_metadata import (
    NO_METADATA,
    NO_METADATA_TEXT,
    ClientMetadata,
    read_metadata,
)
from keyfob.server.records import Record

__all__ = [
    "ADMIN_GRANTS",
    "DEVICE_CODE",
    "GUARD_SCOPE",
    "GUARD_SCOPES",
    "INTROSPECTION_SCOPE",
    "KIND_GRANTS",
    "PROOF_KEY_SCOPE",
    "REFRESH_TOKEN",
    "SERVICE_SCOPES",
    "Application",
    "Client",
    "ClientKind",
    "GuardClient",
    "IssuedApplication",
    "Service",
]


class ClientKind(enum.StrEnum):
    """What a client is."""

    DEVICE = "device"
    """Carries MQTT; gets tokens for itself, or through an application."""
    APPLICATION = "application"
    """A program through which devices get tokens with their own id and secret."""
    SERVICE = "service"
    """A guard or another resource server; does what its scopes name. Only where one of them is of
    the admin API it gets a token, which is for that API alone."""


KIND_GRANTS: Final = {
    ClientKind.DEVICE: ("client_credentials",),
    ClientKind.APPLICATION: ("password",),
    ClientKind.SERVICE: (),
}
"""The grants that a newly registered client of each kind may use."""

REFRESH_TOKEN: Final = "refresh_token"  # noqa: S105 - the name of a grant
"""The grant that an application may be registered for beside those of its kind."""

ADMIN_GRANTS: Final = ("client_credentials",)
"""The grants of a service that is registered for the admin API."""

DEVICE_CODE: Final = "urn:ietf:params:oauth:grant-type:device_code"
"""The grant that an application may be registered for instead of those of its kind (RFC 8628)."""

GUARD_SCOPE: Final = "keyfob.revocations"
GUARD_SCOPES: Final = (GUARD_SCOPE,)
INTROSPECTION_SCOPE: Final = "keyfob.introspection"
PROOF_KEY_SCOPE: Final = "keyfob.proof-keys"
SERVICE_SCOPES: Final = (GUARD_SCOPE, INTROSPECTION_SCOPE, PROOF_KEY_SCOPE, *ADMIN_SCOPES)
"""What services may be registered for."""


class Client(Record, frozen=True, kw_only=True):
    """One row of the register, as every flow reads it.

    Args:
        client_id: Its name; for a device also ``sub`` and the MQTT client identifier.
        kind: What it is.
        secret_hash: From ``credentials.hash_secret``; None without.
        grants: The grant types it is registered for.
        scopes: The scopes it is registered for.
        lifetime: Seconds its tokens live; None follows the server's default.
        enabled: Whether it may have anything now.
        pending: Whether it was registered and never activated; it is not enabled then.
        created_at: When it was registered, in Unix seconds.
        last_token_at: When it last got a token, as far as written down; None for never.
        revoked_through: Its tokens with an ``iat`` up to here are revoked; 0 for none.
        jwks: Its public keys, from ``client_keys.client_jwks``; None without.
        metadata: What else it is registered with.
        groups: Names of the groups that it is in.
        old_hash: Of the secret before, which may work besides; until when is the store's matter.
    """

    hidden: ClassVar[frozenset[str]] = frozenset({"secret_hash", "jwks", "old_hash"})

    client_id: str
    kind: ClientKind
    secret_hash: str | None
    grants: tuple[str, ...]
    scopes: tuple[str, ...]
    lifetime: int | None = None
    enabled: bool = True
    created_at: float
    last_token_at: float | None = None
    revoked_through: int = 0
    jwks: str | None = None
    metadata: ClientMetadata = NO_METADATA
    pending: bool = False
    groups: tuple[str, ...] = ()
    old_hash: str | None = None

    @property
    def public(self) -> bool:
        """Whether it has nothing to authenticate with (RFC 6749 section 2.1)."""
        return self.secret_hash is None and self.jwks is None and not self.metadata.certificate


class StoredSecret(Record, frozen=True, kw_only=True):
    """What a client has to prove: no more of it is read before it did.

    Args:
        kind: What kind of client it is.
        secret_hash: Of its secret; None without.
        jwks: Its public keys; None without.
        metadata: What else it is registered with, as ``metadata_text`` wrote it: its certificate
            among it. A public client has none of the three.
        old_hash: Of the secret before, while both work; None otherwise.
        old_ends_on_use: Whether the first use of the new secret ends the old one.
    """

    hidden: ClassVar[frozenset[str]] = frozenset({"secret_hash", "jwks", "metadata", "old_hash"})

    kind: ClientKind
    secret_hash: str | None
    jwks: str | None = None
    metadata: str = NO_METADATA_TEXT
    old_hash: str | None = None
    old_ends_on_use: bool = False

    @property
    def certificate(self) -> CertificateIdentity:
        """What its certificate has to be; empty where it does not authenticate by one."""
        return read_metadata(self.metadata).certificate

    @property
    def public(self) -> bool:
        """Whether it has nothing to authenticate with (RFC 6749 section 2.1)."""
        return self.secret_hash is None and self.jwks is None and not self.certificate


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """An application that may use the password grant, as the operator sees it."""

    id: str
    public: bool
    grants: tuple[str, ...]
    created_at: float

    @classmethod
    def of(cls, client: Client) -> Application:
        """Return the operator's view of a row."""
        return cls(
            id=client.client_id,
            public=client.public,
            grants=client.grants,
            created_at=client.created_at,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedApplication:
    """A newly registered application with its secret, which is shown this once (None: without)."""

    application: Application
    secret: str | None = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardClient:
    """A guard that may read the revocations, as the operator sees it."""

    id: str
    created_at: float

    @classmethod
    def of(cls, client: Client) -> GuardClient:
        """Return the operator's view of a row."""
        return cls(id=client.client_id, created_at=client.created_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A client that reads what its scopes name, as the operator sees it."""

    id: str
    scopes: tuple[str, ...]
    created_at: float

    @classmethod
    def of(cls, client: Client) -> Service:
        """Return the operator's view of a row."""
        return cls(id=client.client_id, scopes=client.scopes, created_at=client.created_at)
