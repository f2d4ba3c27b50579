# SPDX-License-Identifier: Apache-2.0
"""The register from outside the server: what the command line changes while the server runs.

Everything is committed to disk when a method returns, and the running server goes by it from then
on: it reads the same database.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self

from keyfob.authorization.binding import ClientIdTemplate
from keyfob.errors import ConfigError, NotFoundError
from keyfob.server import client_grants, devices
from keyfob.server.admin_scopes import ADMIN_SCOPES
from keyfob.server.admin_trail import os_user, recorded
from keyfob.server.certificate_register import CertificateRegister, certificate_metadata
from keyfob.server.certificates.identity import CertificateIdentity
from keyfob.server.client_grants import ClientGrants
from keyfob.server.client_keys import client_jwks
from keyfob.server.client_metadata import NO_METADATA, ClientMetadata, check_metadata
from keyfob.server.clients import (
    ADMIN_GRANTS,
    DEVICE_CODE,
    GUARD_SCOPE,
    GUARD_SCOPES,
    KIND_GRANTS,
    REFRESH_TOKEN,
    SERVICE_SCOPES,
    Application,
    Client,
    ClientKind,
    GuardClient,
    IssuedApplication,
    Service,
)
from keyfob.server.credentials import generate_secret, hash_secret
from keyfob.server.devices import Device, IssuedSecret
from keyfob.server.fleet import EVERY_DEVICE, Fleet
from keyfob.server.names import check_name, shown_name
from keyfob.server.stores.admin_actions import AdminAction, last_actions
from keyfob.server.stores.device_codes import forget_codes_of
from keyfob.server.stores.fleet import Selection
from keyfob.server.stores.place import Place
from keyfob.server.stores.store import Store, open_store

__all__ = ["Register"]


class Register(CertificateRegister):
    """Devices, applications and guards; a context manager that closes its database.

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
        self._store = store
        self._template = ClientIdTemplate.parse(client_id_template)
        self._clock = clock
        self._actor = os_user() if actor is None else actor

    @classmethod
    def open(
        cls, database: Place, *, client_id_template: str = "{device}", migrate: bool = True
    ) -> Register:
        """Open the register in a database: a file, made when missing, or one in PostgreSQL.

        Args:
            database: Where it is.
            client_id_template: As above.
            migrate: Whether the database is brought to this code's schema.

        Raises:
            ConfigError: It cannot be used; see ``open_store``.
            UpstreamError: The PostgreSQL server does not answer.
        """
        store = open_store(database, migrate=migrate)
        return cls(store, client_id_template=client_id_template)

    def close(self) -> None:
        """Close the database."""
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

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
        """Register a device and return it with its secret, which is not kept.

        Args:
            device_id: Its name; see ``names``.
            publish: Topic filters it may publish to; ``{device}`` stands for its name.
            subscribe: Topic filters it may subscribe to; the same.
            scopes: Further scopes, each one or several separated by spaces.
            lifetime: Seconds its tokens live; None follows its groups or the server's default.
            groups: Groups that it is in; each gives its rights.
            labels: What is noted about it.
            pending: Whether it gets no token before it is enabled.
            certificate_bound: Whether its tokens are bound to the certificate that it shows.
            metadata: What else it is registered with.

        Raises:
            ConfigError: Name, scope, label, lifetime or metadata is not allowed.
            TopicError: A filter is not one.
            NotFoundError: There is no such group.
            ConflictError: There is a client of this name.
        """
        with self._recorded("device.add", device_id):
            return devices.add_device(
                self._store,
                device_id,
                publish=publish,
                subscribe=subscribe,
                scopes=scopes,
                lifetime=lifetime,
                groups=groups,
                labels=labels,
                pending=pending,
                metadata=certificate_metadata(metadata, bound=certificate_bound),
                template=self._template,
                now=self._clock(),
            )

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
        """Register a device that authenticates by keys, a certificate, or both; without a secret.

        Args:
            device_id: Its name; see ``names``.
            jwks: A JWK Set of its public keys; see ``client_keys``.
            certificate: What its certificate has to be.
            publish: As in ``add_device``.
            subscribe: The same.
            scopes: The same.
            lifetime: The same.
            groups: The same.
            labels: The same.
            pending: The same.
            certificate_bound: The same.
            metadata: The same.

        Raises:
            ConfigError: Name, keys, certificate, scope, lifetime, a group, a label or metadata is
                not allowed.
            TopicError: A filter is not one.
            ConflictError: There is a client of this name.
            NotFoundError: There is no such group.
        """
        with self._recorded("device.add", device_id):
            metadata = certificate_metadata(metadata, certificate, bound=certificate_bound)
            if jwks is None and not metadata.certificate:
                raise ConfigError("a device without a secret has keys or a certificate")
            return devices.add_device_with_keys(
                self._store,
                device_id,
                jwks=None if jwks is None else client_jwks(jwks),
                publish=publish,
                subscribe=subscribe,
                scopes=scopes,
                lifetime=lifetime,
                groups=groups,
                labels=labels,
                pending=pending,
                metadata=metadata,
                template=self._template,
                now=self._clock(),
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
        return devices.list_devices(self._store, selection, after=after, limit=limit)

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
        """Change what is registered about a device, from its next token on.

        Args:
            device_id: Which one.
            into: Groups that it is put into.
            out_of: Groups that it is taken out of.
            labels: Labels that it gets, in the place of those of the same keys.
            unlabel: Keys of labels that it loses.
            lifetime: Seconds its tokens live; 0: as its groups or the server say. None: as before.
            rights: ``publish``, ``subscribe`` and ``scopes`` as in ``add_device``, in the place of
                all that are its own; None: as before.

        Raises:
            NotFoundError: There is no device, or no group, of this name.
            ConfigError: The groups, the labels, a scope or the lifetime are not allowed.
            TopicError: A filter is not one.
        """
        with self._recorded("device.set", device_id):
            return devices.change_device(
                self._store,
                device_id,
                into=into,
                out_of=out_of,
                labels=labels,
                unlabel=unlabel,
                lifetime=lifetime,
                rights=rights,
            )

    def revoke_device_tokens(self, device_id: str) -> None:
        """Revoke the tokens that a device has, and its refresh tokens; it may get new ones.

        Raises:
            NotFoundError: There is none of this name.
        """
        with self._recorded("device.revoke-tokens", device_id):
            devices.revoke_all(self._store, device_id, self._clock)

    def show_device(self, device_id: str) -> Device:
        """Return one device.

        Raises:
            NotFoundError: There is none of this name.
        """
        return devices.find_device(self._store, device_id)

    def disable_device(self, device_id: str) -> Device:
        """Give a device no new token, and revoke those that it has, in one transaction.

        Raises:
            NotFoundError: There is none of this name.
        """
        with self._recorded("device.disable", device_id):
            return devices.disable_device(self._store, device_id, self._clock)

    def enable_device(self, device_id: str) -> Device:
        """Let a disabled or pending device have new tokens; those from before stay revoked.

        Raises:
            NotFoundError: There is none of this name.
        """
        with self._recorded("device.enable", device_id):
            return devices.enable_device(self._store, device_id)

    def remove_device(self, device_id: str) -> None:
        """Forget a device, and revoke the tokens that it has, in one transaction.

        Raises:
            NotFoundError: There is none of this name.
        """
        with self._recorded("device.remove", device_id):
            devices.remove_device(self._store, device_id, self._clock)

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
            return devices.set_jwks(
                self._store, device_id, client_jwks(jwks), remove_secret=remove_secret
            )

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
            return devices.set_tokens(self._store, device_id, metadata)

    def rotate_secret(
        self, device_id: str, *, overlap: int = 0, until_used: bool = False
    ) -> IssuedSecret:
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
            return devices.rotate_secret(
                self._store, device_id, self._clock, overlap=overlap, until_used=until_used
            )

    @property
    def fleet(self) -> Fleet:
        """Groups, and what is done to many devices at once."""
        return Fleet(self._store, template=self._template, clock=self._clock, actor=self._actor)

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
        """Register an application for the password grant, or for the device code grant.

        Args:
            client_id: Its name.
            public: Whether it has no secret of its own because it could not keep one.
            refresh: Whether it gets refresh tokens and may use them.
            device_code: Whether it gets tokens for devices that somebody approves (RFC 8628),
                and not for their passwords.
            jwks: Its public keys, which it has instead of a secret; see ``client_keys``.
            certificate: What its certificate has to be, which it has instead of a secret.
            certificate_bound: Whether its tokens are bound to the certificate that it shows.
            metadata: What else it is registered with.

        Raises:
            ConfigError: Name, metadata, keys or certificate are not allowed, or it is public and
                has some.
            ConflictError: There is a client of this name.
        """
        with self._recorded("application.add", client_id):
            metadata = certificate_metadata(metadata, certificate, bound=certificate_bound)
            keyed = jwks is not None or bool(metadata.certificate)
            if public and keyed:
                raise ConfigError(
                    "a public application has neither secret nor keys nor certificate"
                )
            secret = None if public or keyed else generate_secret()
            keys = None if jwks is None else client_jwks(jwks)
            check_metadata(metadata, has_keys=keys is not None)
            grants = (DEVICE_CODE,) if device_code else KIND_GRANTS[ClientKind.APPLICATION]
            grants += (REFRESH_TOKEN,) if refresh else ()
            client = self._add(
                client_id,
                ClientKind.APPLICATION,
                secret,
                grants=grants,
                jwks=keys,
                metadata=metadata,
            )
        return IssuedApplication(application=Application.of(client), secret=secret)

    def list_applications(self) -> tuple[Application, ...]:
        """Return every application, by name."""
        return tuple(map(Application.of, self._store.clients(ClientKind.APPLICATION)))

    def application_page(self, *, after: str, limit: int) -> tuple[Application, ...]:
        """Return the applications that follow a name, by name."""
        page = self._store.client_page(ClientKind.APPLICATION, after=after, limit=limit)
        return tuple(map(Application.of, page))

    def show_application(self, client_id: str) -> Application:
        """Return one application.

        Raises:
            NotFoundError: There is none of this name.
        """
        return Application.of(self._found(client_id, ClientKind.APPLICATION))

    def set_application_jwks(
        self, client_id: str, jwks: bytes, *, remove_secret: bool = False
    ) -> Application:
        """Give an application other public keys; those before stop at once.

        Args:
            client_id: Its name.
            jwks: All that it has from now on; see ``client_keys``.
            remove_secret: Whether its secret stops, too.

        Raises:
            NotFoundError: There is none of this name.
            ConfigError: The keys are not allowed, or it is public.
        """
        with self._recorded("application.set-jwks", client_id):
            keys = client_jwks(jwks)
            with self._store.transaction():
                known = self._store.client(client_id)
                if known is None or known.kind is not ClientKind.APPLICATION:
                    raise NotFoundError(f"no application {shown_name(client_id)!r}")
                if known.public:
                    raise ConfigError("a public application has neither a secret nor keys")
                self._store.set_jwks(client_id, keys)
                if remove_secret:
                    self._store.remove_secret(client_id)
        return Application.of(known)

    def remove_application(self, client_id: str) -> None:
        """Forget an application and its refresh tokens; access tokens end in their own time.

        Raises:
            NotFoundError: There is none of this name.
        """
        with self._recorded("application.remove", client_id):
            self._remove(client_id, ClientKind.APPLICATION)

    # Grants

    def show_grants(self, client_id: str) -> ClientGrants:
        """Return which grants a device or an application may use.

        Raises:
            NotFoundError: There is none of this name.
        """
        return client_grants.show_grants(self._store, client_id)

    def allow_grant(
        self, client_id: str, grant: str, *, act_for: Iterable[str] | None = None
    ) -> ClientGrants:
        """Let a device or an application use one more grant.

        Args:
            client_id: Its name.
            grant: The grant type, or the short form of its URN, such as ``token-exchange``.
            act_for: The devices that this gateway gets tokens for from now on (``name_patterns``);
                None leaves them.

        Raises:
            NotFoundError: There is none of this name.
            ConfigError: It is no grant for it, or a pattern is none.
        """
        with self._recorded("grant.allow", client_id):
            return client_grants.allow_grant(self._store, client_id, grant, act_for)

    def withdraw_grant(self, client_id: str, grant: str) -> ClientGrants:
        """Take a grant from a client; tokens that it got by it end in their own time.

        Raises:
            NotFoundError: There is none of this name.
            ConfigError: It is no grant for it.
        """
        with self._recorded("grant.withdraw", client_id):
            return client_grants.withdraw_grant(self._store, client_id, grant)

    # Guards

    def ensure_guard_client(self, client_id: str) -> str:
        """Register a guard that may read revocations, or give it a new secret.

        Returns:
            The secret, which is not kept; an earlier one stops at once.

        Raises:
            ConfigError: The name is not allowed.
            ConflictError: The name belongs to a client that is no guard.
        """
        secret = generate_secret()
        known = self._store.client(client_id)
        if known is None or GUARD_SCOPE not in known.scopes:
            with self._recorded("guard.add", client_id):
                self._add(client_id, ClientKind.SERVICE, secret, scopes=GUARD_SCOPES)
        else:
            with self._recorded("guard.rotate-secret", client_id), self._store.transaction():
                self._store.set_secret(client_id, hash_secret(secret))
        return secret

    def list_guard_clients(self) -> tuple[GuardClient, ...]:
        """Return every guard, by name."""
        return tuple(map(GuardClient.of, self._store.clients(ClientKind.SERVICE)))

    def remove_guard_client(self, client_id: str) -> None:
        """Forget a guard; it can read no further revocation.

        Raises:
            NotFoundError: There is none of this name.
        """
        with self._recorded("guard.remove", client_id):
            self._remove(client_id, ClientKind.SERVICE)

    # The trail

    def list_actions(self, *, last: int = 100, subject: str = "") -> tuple[AdminAction, ...]:
        """Return who changed what, oldest first; reading is no action.

        Args:
            last: So many, the last ones.
            subject: Only what concerned this client; empty: everything.
        """
        return last_actions(self._store.connection, limit=last, subject=subject)

    def _recorded(self, action: str, subject: str) -> AbstractContextManager[None]:
        return recorded(self._store, action, subject, actor=self._actor, clock=self._clock)

    # Services: guards, and whoever else asks the server about tokens

    def add_service(self, client_id: str, *, scopes: Iterable[str]) -> tuple[Service, str]:
        """Register a client that reads what its scopes name.

        Args:
            client_id: Its name.
            scopes: At least one of ``SERVICE_SCOPES``.

        Returns:
            The service, and its secret, which is not kept.

        Raises:
            ConfigError: The name or a scope is not allowed.
            ConflictError: There is a client of this name.
        """
        with self._recorded("service.add", client_id):
            wanted = tuple(dict.fromkeys(scopes))
            if not wanted or not set(wanted) <= set(SERVICE_SCOPES):
                raise ConfigError(f"the scopes of a service are: {', '.join(SERVICE_SCOPES)}")
            secret = generate_secret()
            grants = () if set(ADMIN_SCOPES).isdisjoint(wanted) else ADMIN_GRANTS
            client = self._add(client_id, ClientKind.SERVICE, secret, scopes=wanted, grants=grants)
        return Service.of(client), secret

    def list_services(self) -> tuple[Service, ...]:
        """Return every service, guards among them, by name."""
        return tuple(map(Service.of, self._store.clients(ClientKind.SERVICE)))

    def service_page(self, *, after: str, limit: int) -> tuple[Service, ...]:
        """Return the services that follow a name, by name."""
        page = self._store.client_page(ClientKind.SERVICE, after=after, limit=limit)
        return tuple(map(Service.of, page))

    def show_service(self, client_id: str) -> Service:
        """Return one service.

        Raises:
            NotFoundError: There is none of this name.
        """
        return Service.of(self._found(client_id, ClientKind.SERVICE))

    def remove_service(self, client_id: str) -> None:
        """Forget a service; it can read nothing from then on.

        Raises:
            NotFoundError: There is none of this name.
        """
        with self._recorded("service.remove", client_id):
            self._remove(client_id, ClientKind.SERVICE)

    def _add(
        self,
        client_id: str,
        kind: ClientKind,
        secret: str | None,
        *,
        grants: tuple[str, ...] = (),
        scopes: tuple[str, ...] = (),
        jwks: str | None = None,
        metadata: ClientMetadata = NO_METADATA,
    ) -> Client:
        check_name(client_id)
        client = Client(
            client_id=client_id,
            kind=kind,
            secret_hash=None if secret is None else hash_secret(secret),
            grants=grants,
            scopes=scopes,
            created_at=self._clock(),
            jwks=jwks,
            metadata=metadata,
        )
        with self._store.transaction():
            self._store.insert_client(client)
        return client

    def _remove(self, client_id: str, kind: ClientKind) -> None:
        with self._store.transaction():
            self._found(client_id, kind)
            self._store.delete_client(client_id)
            forget_codes_of(self._store.connection, client_id)

    def _found(self, client_id: str, kind: ClientKind) -> Client:
        client = self._store.client(client_id)
        if client is None or client.kind is not kind:
            raise NotFoundError(f"no {kind} {shown_name(client_id)!r}")
        return client
