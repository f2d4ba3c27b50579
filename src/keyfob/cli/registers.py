# SPDX-License-Identifier: Apache-2.0
"""What commands need of a register, wherever it is: of this machine's, or of a server's over HTTP.

``Register``, ``KeyRegister`` and the like are these as they are; the modules ``remote_…`` have the
others. Which one a command gets is decided once, in front of it (``target``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from keyfob.server.certificates.identity import CertificateIdentity
from keyfob.server.client_grants import ClientGrants
from keyfob.server.client_metadata import ClientMetadata
from keyfob.server.clients import Application, IssuedApplication, Service
from keyfob.server.devices import Device, IssuedDevice
from keyfob.server.events.receiver import ReceiverStatus
from keyfob.server.fleet import EVERY_DEVICE, Chosen, ManyOutcome, Selection
from keyfob.server.fleet_import import ImportOutcome
from keyfob.server.fleet_rows import Format, RowReader
from keyfob.server.groups import Group
from keyfob.server.operators import Operator
from keyfob.server.private_file import PrivateFile
from keyfob.server.registration.initial_tokens import (
    IssuedRegistrationToken,
    RegistrationToken,
    Template,
)
from keyfob.server.signing.key_register import ShownKey
from keyfob.server.stores.admin_actions import AdminAction
from keyfob.server.wishes import ApplicationWish, ChangeWish, DeviceWish

__all__ = [
    "AnyFleet",
    "AnyGrants",
    "AnyKeyRegister",
    "AnyOperators",
    "AnyReceiver",
    "AnyReceivers",
    "AnyRegister",
    "AnyRegistrationTokens",
]


class AnyRegister(Protocol):
    """Devices, applications, services and the trail; ``Register`` says what each method does."""

    def add_device(self, device: DeviceWish) -> IssuedDevice:
        """Register a device."""

    def list_devices(
        self, selection: Selection = EVERY_DEVICE, *, after: str = "", limit: int = 1_000
    ) -> tuple[Device, ...]:
        """List a page of devices."""

    def show_device(self, device_id: str) -> Device:
        """Show a device."""

    def change_device(self, device_id: str, change: ChangeWish) -> Device:
        """Change what is registered about a device."""

    def disable_device(self, device_id: str) -> Device:
        """Disable a device."""

    def enable_device(self, device_id: str) -> Device:
        """Enable a device."""

    def remove_device(self, device_id: str) -> None:
        """Remove a device."""

    def revoke_device_tokens(self, device_id: str) -> None:
        """Revoke a device's tokens."""

    def rotate_secret(
        self, device_id: str, *, overlap: int = 0, until_used: bool = False
    ) -> IssuedDevice:
        """Give a device a new secret."""

    def set_device_jwks(
        self, device_id: str, jwks: bytes, *, remove_secret: bool = False
    ) -> Device:
        """Give a device other keys."""

    def set_device_certificate(
        self,
        device_id: str,
        certificate: CertificateIdentity | None = None,
        *,
        bound: bool | None = None,
        remove_secret: bool = False,
    ) -> Device:
        """Give a device another certificate."""

    def set_device_tokens(self, device_id: str, metadata: ClientMetadata) -> Device:
        """Change what a device's next tokens are."""

    @property
    def fleet(self) -> AnyFleet:
        """Groups, and many devices at once."""

    def add_application(self, application: ApplicationWish) -> IssuedApplication:
        """Register an application."""

    def list_applications(self) -> tuple[Application, ...]:
        """List applications."""

    def set_application_jwks(
        self, client_id: str, jwks: bytes, *, remove_secret: bool = False
    ) -> Application:
        """Give an application other keys."""

    def set_application_certificate(
        self,
        client_id: str,
        certificate: CertificateIdentity | None = None,
        *,
        bound: bool | None = None,
        remove_secret: bool = False,
    ) -> Application:
        """Give an application another certificate."""

    def remove_application(self, client_id: str) -> None:
        """Remove an application."""

    def add_service(self, client_id: str, *, scopes: Iterable[str]) -> tuple[Service, str]:
        """Register a service."""

    def list_services(self) -> tuple[Service, ...]:
        """List services."""

    def remove_service(self, client_id: str) -> None:
        """Remove a service."""

    def list_actions(self, *, last: int = 100, subject: str = "") -> tuple[AdminAction, ...]:
        """List who changed what."""


class AnyFleet(Protocol):
    """Groups and many devices; ``Fleet`` says what each method does."""

    def add_group(
        self,
        name: str,
        *,
        publish: Iterable[str] = (),
        subscribe: Iterable[str] = (),
        scopes: Iterable[str] = (),
        lifetime: int | None = None,
    ) -> Group:
        """Make a group."""

    def set_group(self, name: str, changes: Mapping[str, object]) -> Group:
        """Change what a group gives."""

    def show_group(self, name: str) -> Group:
        """Show a group."""

    def list_groups(self, *, after: str = "", limit: int = 1_000) -> tuple[Group, ...]:
        """List a page of groups."""

    def remove_group(self, name: str) -> None:
        """Remove a group."""

    def rights(self, client_id: str) -> tuple[str, ...]:
        """Show what a device's tokens may say."""

    def disable(self, chosen: Chosen, *, on_progress: Callable[[int], None] = ...) -> ManyOutcome:
        """Disable devices."""

    def rotate(
        self,
        chosen: Chosen,
        secrets: PrivateFile,
        *,
        overlap: int = 0,
        until_used: bool = False,
        on_progress: Callable[[int], None] = ...,
    ) -> ManyOutcome:
        """Give devices new secrets."""

    def import_devices(
        self,
        reader: RowReader,
        *,
        rejects: PrivateFile,
        secrets: PrivateFile | None,
        restart: bool = False,
        on_progress: Callable[[int], None] = ...,
    ) -> ImportOutcome:
        """Register the devices of a file."""

    def written(self, selection: Selection, form: Format) -> Iterator[str]:
        """Yield devices as rows, many at a time."""


class AnyKeyRegister(Protocol):
    """Signing keys; ``KeyRegister`` says what each method does."""

    def list_keys(self) -> tuple[ShownKey, ...]:
        """List the keys."""

    def rotate(self, *, at_once: bool = False) -> ShownKey:
        """Make a new key."""

    def remove(self, kid: str) -> None:
        """Publish a key no longer."""


class AnyRegistrationTokens(Protocol):
    """Initial access tokens; ``RegistrationTokens`` says what each method does."""

    def add(
        self, name: str, *, uses: int, seconds: int, template: Template
    ) -> IssuedRegistrationToken:
        """Make a token."""

    def list(self, *, after: str = "", limit: int = 1_000) -> tuple[RegistrationToken, ...]:
        """List a page of tokens."""

    def remove(self, name: str) -> None:
        """Forget a token."""


class AnyGrants(Protocol):
    """Grants of clients; ``Register`` says what each method does."""

    def show_grants(self, client_id: str) -> ClientGrants:
        """Show a client's grants."""

    def allow_grant(
        self, client_id: str, grant: str, *, act_for: Iterable[str] | None = None
    ) -> ClientGrants:
        """Let a client use one more grant."""

    def withdraw_grant(self, client_id: str, grant: str) -> ClientGrants:
        """Take a grant from a client."""


class AnyOperators(Protocol):
    """People who approve; ``OperatorRegister`` says what each method does."""

    def add(
        self, name: str, password: str | None, *, openid_subject: str | None = None
    ) -> Operator:
        """Make an account."""

    def list(self) -> tuple[Operator, ...]:
        """List the accounts."""

    def set_password(self, name: str, password: str) -> None:
        """Change a password."""

    def remove(self, name: str) -> None:
        """Remove an account."""


class AnyReceiver(Protocol):
    """What is shown of a receiver; ``ShownReceiver`` says what each is."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def url(self) -> str:
        """Where events are pushed to."""

    @property
    def audience(self) -> str:
        """What they carry as ``aud``."""

    @property
    def has_secret(self) -> bool:
        """Whether it is shown a secret."""

    @property
    def has_ca(self) -> bool:
        """Whether it has CA certificates of its own."""

    @property
    def created_at(self) -> float:
        """When it was added."""


class AnyReceivers(Protocol):
    """Who is told of revocations; ``ReceiverRegister`` says what each method does."""

    def add(
        self, name: str, *, url: str, audience: str = "", secret: str = "", ca: str | None = None
    ) -> AnyReceiver:
        """Add a receiver."""

    def list_receivers(self) -> Sequence[AnyReceiver]:
        """List the receivers."""

    def status(self, name: str) -> tuple[AnyReceiver, ReceiverStatus]:
        """Show how the deliveries to a receiver go."""

    def remove(self, name: str) -> None:
        """Remove a receiver."""
