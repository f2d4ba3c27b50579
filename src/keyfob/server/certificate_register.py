# SPDX-License-Identifier: Apache-2.0
"""The part of the register that is about certificates of clients (RFC 8705)."""

from __future__ import annotations

from contextlib import AbstractContextManager

import msgspec

from keyfob.errors import ConfigError, NotFoundError
from keyfob.server.certificates.identity import CertificateIdentity
from keyfob.server.certificates.registering import checked_identity
from keyfob.server.client_metadata import ClientMetadata, check_metadata
from keyfob.server.clients import Application, Client, ClientKind
from keyfob.server.devices import Device, find_device
from keyfob.server.names import shown_name
from keyfob.server.stores.refresh_families import end_families
from keyfob.server.stores.store import Store

__all__ = ["CertificateRegister", "certificate_metadata"]


def certificate_metadata(
    metadata: ClientMetadata, certificate: CertificateIdentity | None = None, *, bound: bool
) -> ClientMetadata:
    """Return the metadata of a new client, with what is said of its certificate.

    Raises:
        ConfigError: The certificate is not allowed.
    """
    if certificate is not None:
        metadata = metadata.with_certificate(checked_identity(certificate))
    elif metadata.certificate:
        checked_identity(metadata.certificate)
    if bound:
        metadata = msgspec.structs.replace(
            metadata, tls_client_certificate_bound_access_tokens=True
        )
    return metadata


class CertificateRegister:
    """What ``Register`` does with certificates."""

    _store: Store

    def _recorded(self, action: str, subject: str) -> AbstractContextManager[None]:
        raise NotImplementedError

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
            self._changed(
                *(device_id, ClientKind.DEVICE, certificate),
                bound=bound,
                remove_secret=remove_secret,
            )
        return find_device(self._store, device_id)

    def set_application_certificate(
        self,
        client_id: str,
        certificate: CertificateIdentity | None = None,
        *,
        bound: bool | None = None,
        remove_secret: bool = False,
    ) -> Application:
        """Give an application another certificate; the one before stops at once.

        Args:
            client_id: Its name.
            certificate: As in ``set_device_certificate``.
            bound: The same.
            remove_secret: Whether its secret stops, too.

        Raises:
            NotFoundError: There is none of this name.
            ConfigError: The certificate is not allowed, the application is public, or it would
                have nothing to prove itself.
        """
        with self._recorded("application.set-certificate", client_id):
            known = self._changed(
                *(client_id, ClientKind.APPLICATION, certificate),
                bound=bound,
                remove_secret=remove_secret,
            )
        return Application.of(known)

    def _changed(
        self,
        client_id: str,
        kind: ClientKind,
        certificate: CertificateIdentity | None,
        *,
        bound: bool | None,
        remove_secret: bool,
    ) -> Client:
        if certificate:
            certificate = checked_identity(certificate)
        store = self._store
        with store.transaction():
            known = store.client(client_id)
            if known is None or known.kind is not kind:
                raise NotFoundError(f"no {kind} {shown_name(client_id)!r}")
            if known.public and certificate:
                raise ConfigError(
                    "a public application has neither secret nor keys nor certificate"
                )
            metadata = known.metadata
            if certificate is not None:
                metadata = metadata.with_certificate(certificate)
            if bound is not None:
                metadata = msgspec.structs.replace(
                    metadata, tls_client_certificate_bound_access_tokens=bound
                )
            check_metadata(metadata, has_keys=known.jwks is not None)
            store.set_metadata(client_id, metadata)
            if remove_secret:
                store.remove_secret(client_id)
                end_families(store, client_id, "secret_changed")
            changed = store.client(client_id)
            if changed is None or changed.public != known.public:
                raise ConfigError("it would have nothing to authenticate with")
        return changed
