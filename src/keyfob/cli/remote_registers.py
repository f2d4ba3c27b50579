# SPDX-License-Identifier: Apache-2.0
"""The register of a server somewhere else, through its admin API.

Each method sends and reads the types that the API itself parses and writes.
"""

from __future__ import annotations

from collections.abc import Iterable

from keyfob.cli.admin_bodies import (
    device_change,
    key_set,
    new_application,
    new_certificate,
    new_device,
    token_form,
)
from keyfob.cli.admin_client import NOTHING, AdminClient, gathered, one, selected
from keyfob.cli.remote_fleet import RemoteFleet
from keyfob.server.admin import devices as admin
from keyfob.server.admin.applications import ApplicationPage, CreatedApplication
from keyfob.server.admin.services import CreatedService, NewService, ServicePage
from keyfob.server.admin.trail import ActionList
from keyfob.server.certificates.identity import CertificateIdentity
from keyfob.server.client_metadata import ClientMetadata
from keyfob.server.clients import Application, IssuedApplication, Service
from keyfob.server.devices import Device, IssuedDevice
from keyfob.server.fleet import EVERY_DEVICE, Selection
from keyfob.server.stores.admin_actions import AdminAction
from keyfob.server.wishes import ApplicationWish, ChangeWish, DeviceWish

__all__ = ["RemoteRegister"]


class RemoteRegister:
    """An ``AnyRegister``.

    Args:
        client: What asks.
    """

    def __init__(self, client: AdminClient) -> None:
        self._client = client

    # Devices

    def add_device(self, device: DeviceWish) -> IssuedDevice:
        """Register a device."""
        body = new_device(device)
        return _issued(self._client.ask("POST", "devices", kind=admin.IssuedDevice, body=body))

    def list_devices(
        self, selection: Selection = EVERY_DEVICE, *, after: str = "", limit: int = 1_000
    ) -> tuple[Device, ...]:
        """List a page of devices."""
        return gathered(
            lambda place: self._client.ask(
                "GET", "devices", kind=admin.DevicePage, query=selected(selection) | place
            ),
            after=after,
            limit=limit,
        )

    def show_device(self, device_id: str) -> Device:
        """Show a device."""
        return self._client.ask("GET", *one("devices", device_id), kind=Device)

    def change_device(self, device_id: str, change: ChangeWish) -> Device:
        """Change what is registered about a device."""
        body = device_change(change)
        return self._client.ask("PATCH", *one("devices", device_id), kind=Device, body=body)

    def disable_device(self, device_id: str) -> Device:
        """Disable a device."""
        return self._client.ask("POST", *one("devices", device_id), "disable", kind=Device)

    def enable_device(self, device_id: str) -> Device:
        """Enable a device."""
        return self._client.ask("POST", *one("devices", device_id), "enable", kind=Device)

    def remove_device(self, device_id: str) -> None:
        """Remove a device."""
        self._client.ask("DELETE", *one("devices", device_id), kind=NOTHING)

    def revoke_device_tokens(self, device_id: str) -> None:
        """Revoke a device's tokens."""
        self._client.ask("POST", *one("devices", device_id), "revoke-tokens", kind=NOTHING)

    def rotate_secret(
        self, device_id: str, *, overlap: int = 0, until_used: bool = False
    ) -> IssuedDevice:
        """Give a device a new secret."""
        wish = admin.NewSecret(overlap=overlap, until_used=until_used)
        path = *one("devices", device_id), "rotate-secret"
        return _issued(self._client.ask("POST", *path, kind=admin.IssuedDevice, body=wish))

    def set_device_jwks(
        self, device_id: str, jwks: bytes, *, remove_secret: bool = False
    ) -> Device:
        """Give a device other keys."""
        wish = admin.NewKeys(jwks=key_set(jwks), remove_secret=remove_secret)
        return self._client.ask("PUT", *one("devices", device_id), "keys", kind=Device, body=wish)

    def set_device_certificate(
        self,
        device_id: str,
        certificate: CertificateIdentity | None = None,
        *,
        bound: bool | None = None,
        remove_secret: bool = False,
    ) -> Device:
        """Give a device another certificate."""
        wish = new_certificate(certificate, bound=bound, remove_secret=remove_secret)
        path = *one("devices", device_id), "certificate"
        return self._client.ask("PUT", *path, kind=Device, body=wish)

    def set_device_tokens(self, device_id: str, metadata: ClientMetadata) -> Device:
        """Change what a device's next tokens are."""
        path = *one("devices", device_id), "tokens"
        return self._client.ask("PUT", *path, kind=Device, body=token_form(metadata))

    @property
    def fleet(self) -> RemoteFleet:
        """Groups, and many devices at once."""
        return RemoteFleet(self._client)

    # Applications

    def add_application(self, application: ApplicationWish) -> IssuedApplication:
        """Register an application."""
        body = new_application(application)
        made = self._client.ask("POST", "applications", kind=CreatedApplication, body=body)
        return IssuedApplication(application=made.application, secret=made.client_secret)

    def list_applications(self) -> tuple[Application, ...]:
        """List applications."""
        return gathered(
            lambda place: self._client.ask("GET", "applications", kind=ApplicationPage, query=place)
        )

    def set_application_jwks(
        self, client_id: str, jwks: bytes, *, remove_secret: bool = False
    ) -> Application:
        """Give an application other keys."""
        wish = admin.NewKeys(jwks=key_set(jwks), remove_secret=remove_secret)
        path = *one("applications", client_id), "keys"
        return self._client.ask("PUT", *path, kind=Application, body=wish)

    def set_application_certificate(
        self,
        client_id: str,
        certificate: CertificateIdentity | None = None,
        *,
        bound: bool | None = None,
        remove_secret: bool = False,
    ) -> Application:
        """Give an application another certificate."""
        wish = new_certificate(certificate, bound=bound, remove_secret=remove_secret)
        path = *one("applications", client_id), "certificate"
        return self._client.ask("PUT", *path, kind=Application, body=wish)

    def remove_application(self, client_id: str) -> None:
        """Remove an application."""
        self._client.ask("DELETE", *one("applications", client_id), kind=NOTHING)

    # Services

    def add_service(self, client_id: str, *, scopes: Iterable[str]) -> tuple[Service, str]:
        """Register a service."""
        wish = NewService(id=client_id, scopes=tuple(scopes))
        made = self._client.ask("POST", "services", kind=CreatedService, body=wish)
        return made.service, made.client_secret

    def list_services(self) -> tuple[Service, ...]:
        """List services."""
        return gathered(
            lambda place: self._client.ask("GET", "services", kind=ServicePage, query=place)
        )

    def remove_service(self, client_id: str) -> None:
        """Remove a service."""
        self._client.ask("DELETE", *one("services", client_id), kind=NOTHING)

    # The trail

    def list_actions(self, *, last: int = 100, subject: str = "") -> tuple[AdminAction, ...]:
        """List who changed what."""
        query: dict[str, str | int] = {"last": last, "subject": subject}
        return self._client.ask("GET", "actions", kind=ActionList, query=query).items


def _issued(answer: admin.IssuedDevice) -> IssuedDevice:
    return IssuedDevice(device=answer.device, secret=answer.client_secret or "")
