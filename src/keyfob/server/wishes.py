# SPDX-License-Identifier: Apache-2.0
"""What somebody wants the register to have: a new device, a new application, a device changed.

The same value goes the whole way, from the options of a command to the store, or over the admin
API. Nothing of it has been checked: the register does that, and its trail says what was refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Final

import msgspec

from keyfob.server.certificates.identity import CertificateIdentity
from keyfob.server.certificates.registering import checked_identity
from keyfob.server.client_keys import client_jwks
from keyfob.server.client_metadata import NO_METADATA, ClientMetadata, check_metadata
from keyfob.server.scopes import device_scopes

__all__ = ["ApplicationWish", "ChangeWish", "DeviceWish", "Rights"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rights:
    """What a device's tokens allow beside to connect.

    Args:
        publish: Topic filters it may publish to; ``{device}`` stands for its name.
        subscribe: Topic filters it may subscribe to; the same.
        scopes: Further scopes, each one or several separated by spaces.
    """

    publish: Sequence[str] = ()
    subscribe: Sequence[str] = ()
    scopes: Sequence[str] = ()

    def __bool__(self) -> bool:
        return bool(self.publish or self.subscribe or self.scopes)

    def scopes_of(self, device_id: str) -> tuple[str, ...]:
        """Return the scopes that a device of this name is registered for.

        Raises:
            ConfigError: A scope is not allowed, or they are too many.
            TopicError: A filter is not one.
        """
        return device_scopes(
            device_id, publish=self.publish, subscribe=self.subscribe, extra=self.scopes
        )


NO_RIGHTS: Final = Rights()


@dataclass(frozen=True, slots=True)
class _ClientWish:
    """A client that is to be registered; without keys and certificate it gets a secret.

    Args:
        id: Its name; see ``names``.
        jwks: A JWK Set of its public keys; see ``client_keys``.
        certificate: What its certificate has to be.
        certificate_bound: Whether its tokens are bound to the certificate that it shows.
        metadata: What else it is registered with.
    """

    id: str
    _: KW_ONLY
    jwks: bytes | None = field(default=None, repr=False)
    certificate: CertificateIdentity | None = None
    certificate_bound: bool = False
    metadata: ClientMetadata = NO_METADATA

    @property
    def has_keys(self) -> bool:
        """Whether it brings something to authenticate with, so that it needs no secret."""
        named = self.metadata.certificate if self.certificate is None else self.certificate
        return self.jwks is not None or bool(named)

    def checked_keys(self) -> tuple[str | None, ClientMetadata]:
        """Return its public keys and its metadata, its certificate among it, as they are kept.

        Raises:
            ConfigError: Keys, certificate or metadata are not allowed.
        """
        metadata = self.metadata
        if self.certificate is not None:
            metadata = metadata.with_certificate(checked_identity(self.certificate))
        elif metadata.certificate:
            checked_identity(metadata.certificate)
        if self.certificate_bound:
            metadata = msgspec.structs.replace(
                metadata, tls_client_certificate_bound_access_tokens=True
            )
        check_metadata(metadata, has_keys=self.jwks is not None)
        return None if self.jwks is None else client_jwks(self.jwks), metadata


@dataclass(frozen=True, slots=True)
class DeviceWish(_ClientWish):
    """A device that is to be registered, with what any client says.

    Args:
        rights: What its tokens allow, beside what its groups give.
        lifetime: Seconds its tokens live; None follows its groups or the server's default.
        groups: Groups that it is in; each gives its rights.
        labels: What is noted about it.
        pending: Whether it gets no token before it is enabled.
    """

    _: KW_ONLY
    rights: Rights = NO_RIGHTS
    lifetime: int | None = None
    groups: Sequence[str] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    pending: bool = False


@dataclass(frozen=True, slots=True)
class ApplicationWish(_ClientWish):
    """An application that is to be registered, with what any client says.

    Args:
        public: Whether it has no secret of its own because it could not keep one.
        refresh: Whether it gets refresh tokens and may use them.
        device_code: Whether it gets tokens for devices that somebody approves (RFC 8628), and not
            for their passwords.
    """

    _: KW_ONLY
    public: bool = False
    refresh: bool = False
    device_code: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeWish:
    """What is to be other about a device, from its next token on.

    Args:
        into: Groups that it is put into.
        out_of: Groups that it is taken out of.
        labels: Labels that it gets, in the place of those of the same keys.
        unlabel: Keys of labels that it loses.
        lifetime: Seconds its tokens live; 0: as its groups or the server say. None: as before.
        rights: All that are its own from then on; None: as before.
    """

    into: Sequence[str] = ()
    out_of: Sequence[str] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    unlabel: Sequence[str] = ()
    lifetime: int | None = None
    rights: Rights | None = None
