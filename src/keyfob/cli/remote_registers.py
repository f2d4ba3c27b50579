# SPDX-License-Identifier: Apache-2.0
"""The registers of a server somewhere else, through its admin API.

Each method sends and reads the types that the API itself parses and writes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, TypeVar

import msgspec

from keyfob.cli.admin_client import NOTHING, PAGE, AdminClient, one, selected
from keyfob.cli.remote_fleet import RemoteFleet
from keyfob.errors import ConfigError
from keyfob.server.admin.applications import (
    ApplicationPage,
    CreatedApplication,
    NewApplication,
)
from keyfob.server.admin.certificates import CertificateForm, NewCertificate
from keyfob.server.admin.devices import (
    DeviceChange,
    DevicePage,
    IssuedDevice,
    JwkSet,
    NewDevice,
    NewKeys,
    NewSecret,
    Rights,
    TokenForm,
)
from keyfob.server.admin.keys import KeyList, Rotation
from keyfob.server.admin.registration_tokens import (
    NewRegistrationToken,
    NewTemplate,
    RegistrationTokenList,
)
from keyfob.server.admin.services import CreatedService, NewService, ServicePage
from keyfob.server.admin.trail import ActionList
from keyfob.server.certificates.identity import CertificateIdentity
from keyfob.server.client_metadata import NO_METADATA, ClientMetadata
from keyfob.server.clients import Application, IssuedApplication, Service
from keyfob.server.devices import Device, IssuedSecret
from keyfob.server.fleet import EVERY_DEVICE, Selection
from keyfob.server.registration.initial_tokens import (
    IssuedRegistrationToken,
    RegistrationToken,
    Template,
)
from keyfob.server.signing.key_register import ShownKey
from keyfob.server.stores.admin_actions import AdminAction
from keyfob.tokens import json_strict

__all__ = ["RemoteKeyRegister", "RemoteRegister", "RemoteRegistrationTokens"]

_T_co = TypeVar("_T_co", covariant=True)


class _Page(Protocol[_T_co]):
    """A part of a list."""

    @property
    def items(self) -> tuple[_T_co, ...]:
        """What is in it."""

    @property
    def next(self) -> str | None:
        """What the next one begins behind."""


class RemoteRegister:
    """An ``AnyRegister``.

    Args:
        client: What asks.
    """

    def __init__(self, client: AdminClient) -> None:
        self._client = client

    # Devices

    def add_device(
        self,
        device_id: str,
        *,
        publish: Iterable[str] = (),
        subscribe: Iterable[str] = (),
        scopes: Iterable[str] = (),
        lifetime: int | None = None,
        groups: Iterable[str] = (),
        labels: Mapping[str, str] | None = None,
        pending: bool = False,
        certificate_bound: bool = False,
        metadata: ClientMetadata = NO_METADATA,
    ) -> IssuedSecret:
        """Register a device."""
        wish = NewDevice(
            id=device_id,
            rights=_rights(publish, subscribe, scopes),
            lifetime=lifetime,
            groups=tuple(groups),
            labels=dict(labels or {}),
            pending=pending,
            tokens=_tokens(metadata),
            certificate_bound=certificate_bound,
        )
        issued = self._client.ask("POST", "devices", kind=IssuedDevice, body=wish)
        return IssuedSecret(device=issued.device, secret=issued.client_secret or "")

    def add_device_with_keys(
        self,
        device_id: str,
        *,
        jwks: bytes | None = None,
        certificate: CertificateIdentity | None = None,
        publish: Iterable[str] = (),
        subscribe: Iterable[str] = (),
        scopes: Iterable[str] = (),
        lifetime: int | None = None,
        groups: Iterable[str] = (),
        labels: Mapping[str, str] | None = None,
        pending: bool = False,
        certificate_bound: bool = False,
        metadata: ClientMetadata = NO_METADATA,
    ) -> Device:
        """Register a device with keys."""
        wish = NewDevice(
            id=device_id,
            rights=_rights(publish, subscribe, scopes),
            lifetime=lifetime,
            jwks=None if jwks is None else _key_set(jwks),
            groups=tuple(groups),
            labels=dict(labels or {}),
            pending=pending,
            tokens=_tokens(metadata),
            certificate=_certificate(certificate),
            certificate_bound=certificate_bound,
        )
        return self._client.ask("POST", "devices", kind=IssuedDevice, body=wish).device

    def list_devices(
        self, selection: Selection = EVERY_DEVICE, *, after: str = "", limit: int = 1_000
    ) -> tuple[Device, ...]:
        """List a page of devices."""
        items: list[Device] = []
        while len(items) < limit:
            query = selected(selection, after=after, limit=min(PAGE, limit - len(items)))
            page = self._client.ask("GET", "devices", kind=DevicePage, query=query)
            items += page.items
            if page.next is None:
                break
            after = page.next
        return tuple(items)

    def show_device(self, device_id: str) -> Device:
        """Show a device."""
        return self._client.ask("GET", *one("devices", device_id), kind=Device)

    def change_device(
        self,
        device_id: str,
        *,
        into: Iterable[str] = (),
        out_of: Iterable[str] = (),
        labels: Mapping[str, str] | None = None,
        unlabel: Iterable[str] = (),
        lifetime: int | None = None,
        rights: Mapping[str, Iterable[str]] | None = None,
    ) -> Device:
        """Change what is registered about a device."""
        members = {name: tuple(values) for name, values in (rights or {}).items()}
        wish = DeviceChange(
            rights=msgspec.UNSET if rights is None else Rights(**members),
            lifetime=msgspec.UNSET if lifetime is None else lifetime or None,
            into=tuple(into),
            out_of=tuple(out_of),
            labels=dict(labels or {}),
            unlabel=tuple(unlabel),
        )
        return self._client.ask("PATCH", *one("devices", device_id), kind=Device, body=wish)

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
    ) -> IssuedSecret:
        """Give a device a new secret."""
        wish = NewSecret(overlap=overlap, until_used=until_used)
        path = *one("devices", device_id), "rotate-secret"
        issued = self._client.ask("POST", *path, kind=IssuedDevice, body=wish)
        return IssuedSecret(device=issued.device, secret=issued.client_secret or "")

    def set_device_jwks(
        self, device_id: str, jwks: bytes, *, remove_secret: bool = False
    ) -> Device:
        """Give a device other keys."""
        wish = NewKeys(jwks=_key_set(jwks), remove_secret=remove_secret)
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
        wish = _new_certificate(certificate, bound=bound, remove_secret=remove_secret)
        path = *one("devices", device_id), "certificate"
        return self._client.ask("PUT", *path, kind=Device, body=wish)

    def set_device_tokens(self, device_id: str, metadata: ClientMetadata) -> Device:
        """Change what a device's next tokens are."""
        path = *one("devices", device_id), "tokens"
        return self._client.ask("PUT", *path, kind=Device, body=_tokens(metadata))

    @property
    def fleet(self) -> RemoteFleet:
        """Groups, and many devices at once."""
        return RemoteFleet(self._client)

    # Applications

    def add_application(
        self,
        client_id: str,
        *,
        public: bool = False,
        refresh: bool = False,
        device_code: bool = False,
        jwks: bytes | None = None,
        certificate: CertificateIdentity | None = None,
        certificate_bound: bool = False,
        metadata: ClientMetadata = NO_METADATA,
    ) -> IssuedApplication:
        """Register an application."""
        wish = NewApplication(
            id=client_id,
            public=public,
            refresh=refresh,
            device_code=device_code,
            jwks=None if jwks is None else _key_set(jwks),
            tokens=_tokens(metadata),
            certificate=_certificate(certificate),
            certificate_bound=certificate_bound,
        )
        made = self._client.ask("POST", "applications", kind=CreatedApplication, body=wish)
        return IssuedApplication(application=made.application, secret=made.client_secret)

    def list_applications(self) -> tuple[Application, ...]:
        """List applications."""
        return _all(
            lambda query: self._client.ask("GET", "applications", kind=ApplicationPage, query=query)
        )

    def set_application_jwks(
        self, client_id: str, jwks: bytes, *, remove_secret: bool = False
    ) -> Application:
        """Give an application other keys."""
        wish = NewKeys(jwks=_key_set(jwks), remove_secret=remove_secret)
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
        wish = _new_certificate(certificate, bound=bound, remove_secret=remove_secret)
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
        return _all(
            lambda query: self._client.ask("GET", "services", kind=ServicePage, query=query)
        )

    def remove_service(self, client_id: str) -> None:
        """Remove a service."""
        self._client.ask("DELETE", *one("services", client_id), kind=NOTHING)

    # The trail

    def list_actions(self, *, last: int = 100, subject: str = "") -> tuple[AdminAction, ...]:
        """List who changed what."""
        query: dict[str, str | int] = {"last": last, "subject": subject}
        return self._client.ask("GET", "actions", kind=ActionList, query=query).items


class RemoteKeyRegister:
    """An ``AnyKeyRegister``.

    Args:
        client: What asks.
    """

    def __init__(self, client: AdminClient) -> None:
        self._client = client

    def list_keys(self) -> tuple[ShownKey, ...]:
        """List the keys."""
        return self._client.ask("GET", "keys", kind=KeyList).items

    def rotate(self, *, at_once: bool = False) -> ShownKey:
        """Make a new key."""
        wish = Rotation(now=at_once)
        return self._client.ask("POST", "keys", "rotate", kind=ShownKey, body=wish)

    def remove(self, kid: str) -> None:
        """Publish a key no longer."""
        self._client.ask("DELETE", "keys", kid, kind=NOTHING)


class RemoteRegistrationTokens:
    """An ``AnyRegistrationTokens``.

    Args:
        client: What asks.
    """

    def __init__(self, client: AdminClient) -> None:
        self._client = client

    def add(
        self, name: str, *, uses: int, seconds: int, template: Template
    ) -> IssuedRegistrationToken:
        """Make a token."""
        members: dict[str, Any] = msgspec.structs.asdict(template)
        wish = NewRegistrationToken(
            name=name, uses=uses, expires_in=seconds, template=NewTemplate(**members)
        )
        return self._client.ask(
            "POST", "registration-tokens", kind=IssuedRegistrationToken, body=wish
        )

    def list(self) -> tuple[RegistrationToken, ...]:
        """List the tokens."""
        path = "registration-tokens"
        return self._client.ask("GET", path, kind=RegistrationTokenList).items

    def remove(self, name: str) -> None:
        """Forget a token."""
        self._client.ask("DELETE", *one("registration-tokens", name), kind=NOTHING)


def _certificate(identity: CertificateIdentity | None) -> CertificateForm | None:
    return None if identity is None else CertificateForm.of(identity)


def _new_certificate(
    identity: CertificateIdentity | None, *, bound: bool | None, remove_secret: bool
) -> NewCertificate:
    """Return the wish; an empty identity takes the certificate away, None leaves it."""
    form: CertificateForm | msgspec.UnsetType | None = msgspec.UNSET
    if identity is not None:
        form = _certificate(identity) if identity else None
    return NewCertificate(
        certificate=form,
        bound=msgspec.UNSET if bound is None else bound,
        remove_secret=remove_secret,
    )


def _tokens(metadata: ClientMetadata) -> TokenForm:
    """Return what the admin API knows of metadata.

    Raises:
        ConfigError: There is more; nothing of it is left out in silence.
    """
    members = {name: getattr(metadata, name) for name in TokenForm.__struct_fields__}
    form = TokenForm(**members)
    if form.metadata != metadata:
        raise ConfigError("not all of this can be registered over --server; do it at the server")
    return form


def _rights(publish: Iterable[str], subscribe: Iterable[str], scopes: Iterable[str]) -> Rights:
    single = [one for text in scopes for one in text.split()]
    return Rights(publish=tuple(publish), subscribe=tuple(subscribe), scopes=tuple(single))


def _key_set(document: bytes) -> JwkSet:
    """Return the keys of a JWK Set, or one key as a set; the server says what is wrong with them.

    Raises:
        ConfigError: It is neither.
    """
    try:
        parsed = json_strict.loads(document)
    except json_strict.JsonError as error:
        raise ConfigError(f"the keys are no JWK Set: {error}") from None
    if isinstance(parsed, dict) and "kty" in parsed:
        parsed = {"keys": [parsed]}
    keys = parsed.get("keys") if isinstance(parsed, dict) else None
    try:
        return msgspec.convert({"keys": keys}, JwkSet)
    except msgspec.ValidationError:
        raise ConfigError('the keys are no JWK Set: {"keys": [...]} (RFC 7517)') from None


def _all(page: Callable[[dict[str, str | int]], _Page[_T_co]]) -> tuple[_T_co, ...]:
    items: list[_T_co] = []
    after: str | None = ""
    while after is not None:
        found = page({"limit": PAGE, "after": after})
        items += found.items
        after = found.next
    return tuple(items)
