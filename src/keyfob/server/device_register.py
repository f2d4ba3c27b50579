# SPDX-License-Identifier: Apache-2.0
"""The devices of the register, one by one; ``fleet`` has what is done to many at once."""

from __future__ import annotations

import time
from collections.abc import Callable

from keyfob.authorization.binding import ClientIdTemplate
from keyfob.server import device_changes, device_endings
from keyfob.server.certificates.identity import CertificateIdentity
from keyfob.server.client_keys import client_jwks
from keyfob.server.client_metadata import ClientMetadata
from keyfob.server.client_register import ClientRegister
from keyfob.server.clients import ClientKind
from keyfob.server.devices import Device, IssuedDevice, find_device, list_devices
from keyfob.server.fleet import EVERY_DEVICE, Fleet
from keyfob.server.stores.fleet import Selection
from keyfob.server.stores.store import Store
from keyfob.server.wishes import ChangeWish, DeviceWish

__all__ = ["DeviceRegister"]


class DeviceRegister(ClientRegister):
    """What ``Register`` does with devices.

    Args:
        store: An open store, which this register closes.
        client_id_template: What MQTT client identifiers are made of; no new device may hold the
            separator, such as ``-`` in ``{device}-*``.
        clock: Unix seconds; tests give their own.
        actor: Who changes it, for the trail; None: the operating system's user.
    """

    def __init__(
        self,
        store: Store,
        *,
        client_id_template: str = "{device}",
        clock: Callable[[], float] = time.time,
        actor: str | None = None,
    ) -> None:
        super().__init__(store, clock=clock, actor=actor)
        self._template = ClientIdTemplate.parse(client_id_template)

    @property
    def fleet(self) -> Fleet:
        """Groups, and what is done to many devices at once."""
        return Fleet(self._store, template=self._template, clock=self._clock, actor=self._actor)

    def add_device(self, device: DeviceWish | str) -> IssuedDevice:
        """Register a device and return it with its secret, which is not kept.

        Args:
            device: What it is to be; a name alone: a device that may connect, and no more.

        Raises:
            ConfigError: Name, keys, certificate, scope, lifetime, a group, a label or metadata is
                not allowed.
            TopicError: A filter is not one.
            NotFoundError: There is no such group.
            ConflictError: There is a client of this name.
        """
        wish = DeviceWish(device) if isinstance(device, str) else device
        with self._recorded("device.add", wish.id):
            return device_changes.add_device(
                self._store, wish, template=self._template, now=self._clock()
            )

    def list_devices(
        self, selection: Selection = EVERY_DEVICE, *, after: str = "", limit: int = 1_000
    ) -> tuple[Device, ...]:
        """Return a page of devices, by name.

        Args:
            selection: Which ones.
            after: The name before the first of them; empty for the first page.
            limit: How many at most.
        """
        return list_devices(self._store, selection, after=after, limit=limit)

    def show_device(self, device_id: str) -> Device:
        """Return one device.

        Raises:
            NotFoundError: There is none of this name.
        """
        return find_device(self._store, device_id)

    # What is registered about it

    def change_device(self, device_id: str, change: ChangeWish) -> Device:
        """Change what is registered about a device, from its next token on.

        Raises:
            NotFoundError: There is no device, or no group, of this name.
            ConfigError: The groups, the labels, a scope or the lifetime are not allowed.
            TopicError: A filter is not one.
        """
        with self._recorded("device.set", device_id):
            return device_changes.change_device(self._store, device_id, change)

    def set_device_tokens(self, device_id: str, metadata: ClientMetadata) -> Device:
        """Change what a device's next tokens are: their form, and what they are bound to.

        Args:
            device_id: Its name.
            metadata: Has that; what is about something else is not looked at.

        Raises:
            NotFoundError: There is none of this name.
            ConfigError: It does not go together, or not with what the device has registered.
        """
        with self._recorded("device.set-tokens", device_id):
            return device_changes.set_tokens(self._store, device_id, metadata)

    # What it authenticates by

    def set_device_jwks(
        self, device_id: str, jwks: bytes, *, remove_secret: bool = False
    ) -> Device:
        """Give a device other public keys; those before stop at once.

        Args:
            device_id: Its name.
            jwks: All that it has from now on; see ``client_keys``.
            remove_secret: Whether its secret stops, too.

        Raises:
            NotFoundError: There is none of this name.
            ConfigError: The keys are not allowed.
        """
        with self._recorded("device.set-jwks", device_id):
            return device_changes.set_jwks(
                self._store, device_id, client_jwks(jwks), remove_secret=remove_secret
            )

    def set_device_certificate(
        self,
        device_id: str,
        certificate: CertificateIdentity | None = None,
        *,
        bound: bool | None = None,
        remove_secret: bool = False,
    ) -> Device:
        """Give a device another certificate; the one before stops at once.

        Its tokens end in their own time; those that are bound to a certificate stay so.

        Args:
            device_id: Its name.
            certificate: What it has to be; an empty one takes it away, None leaves it.
            bound: Whether its tokens are bound to its certificate; None leaves it.
            remove_secret: Whether its secret stops, too, and the refresh tokens got with it.

        Raises:
            NotFoundError: There is none of this name.
            ConfigError: The certificate is not allowed, or it would have nothing to prove itself.
        """
        with self._recorded("device.set-certificate", device_id):
            self._set_certificate(
                *(device_id, ClientKind.DEVICE, certificate),
                bound=bound,
                remove_secret=remove_secret,
            )
        return find_device(self._store, device_id)

    def rotate_secret(
        self, device_id: str, *, overlap: int = 0, until_used: bool = False
    ) -> IssuedDevice:
        """Give a device a new secret; access tokens that it has end in their own time.

        Refresh tokens that were got with the old secret stop when it stops.

        Args:
            device_id: Whose.
            overlap: Seconds that the old secret works too; 0: it stops at once.
            until_used: Whether it stops earlier, once the new one was used.

        Raises:
            NotFoundError: There is none of this name.
            ConfigError: The overlap is too long.
            ConflictError: It has keys or a certificate and no secret.
        """
        with self._recorded("device.rotate-secret", device_id):
            return device_changes.rotate_secret(
                self._store, device_id, self._clock, overlap=overlap, until_used=until_used
            )

    # Whether it gets tokens

    def enable_device(self, device_id: str) -> Device:
        """Let a disabled or pending device have new tokens; those from before stay revoked.

        Raises:
            NotFoundError: There is none of this name.
        """
        with self._recorded("device.enable", device_id):
            return device_endings.enable_device(self._store, device_id)

    def disable_device(self, device_id: str) -> Device:
        """Give a device no new token, and revoke those that it has, in one transaction.

        Raises:
            NotFoundError: There is none of this name.
        """
        with self._recorded("device.disable", device_id):
            return device_endings.disable_device(self._store, device_id, self._clock)

    def revoke_device_tokens(self, device_id: str) -> None:
        """Revoke the tokens that a device has, and its refresh tokens; it may get new ones.

        Raises:
            NotFoundError: There is none of this name.
        """
        with self._recorded("device.revoke-tokens", device_id):
            device_endings.revoke_all(self._store, device_id, self._clock)

    def remove_device(self, device_id: str, *, proven: Callable[[], object] = lambda: None) -> None:
        """Forget a device, and revoke the tokens that it has, in one transaction.

        Args:
            device_id: Its name.
            proven: Asked within the transaction; what it raises leaves everything as it is.

        Raises:
            NotFoundError: There is none of this name.
        """
        with self._recorded("device.remove", device_id):
            device_endings.remove_device(self._store, device_id, self._clock, proven=proven)
