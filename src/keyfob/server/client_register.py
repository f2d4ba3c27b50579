# SPDX-License-Identifier: Apache-2.0
"""What the register does with a client of any kind: finds, adds and forgets it, and its keys."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from keyfob.errors import ConfigError, NotFoundError
from keyfob.server.certificates.identity import CertificateIdentity
from keyfob.server.certificates.registering import checked_identity
from keyfob.server.client_metadata import NO_METADATA, ClientMetadata, check_metadata
from keyfob.server.clients import Client, ClientKind
from keyfob.server.credentials import hash_secret
from keyfob.server.names import check_name, shown_name
from keyfob.server.recorded_register import RecordedRegister
from keyfob.server.stores.device_codes import forget_codes_of
from keyfob.server.stores.refresh_families import end_families

__all__ = ["ClientRegister"]


class ClientRegister(RecordedRegister):
    """What the registers of applications, devices and services have in common."""

    def _found(self, client_id: str, kind: ClientKind) -> Client:
        client = self._store.client(client_id)
        if client is None or client.kind is not kind:
            raise NotFoundError(f"no {kind} {shown_name(client_id)!r}")
        return client

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

    def _remove(
        self,
        client_id: str,
        kind: ClientKind,
        *,
        proven: Callable[[], object] = lambda: None,
    ) -> None:
        with self._store.transaction():
            proven()
            self._found(client_id, kind)
            self._store.delete_client(client_id)
            forget_codes_of(self._store.connection, client_id)

    def _set_certificate(
        self,
        client_id: str,
        kind: ClientKind,
        certificate: CertificateIdentity | None,
        *,
        bound: bool | None,
        remove_secret: bool,
    ) -> Client:
        """Give a client another certificate (RFC 8705), and return it."""
        if certificate:
            certificate = checked_identity(certificate)
        store = self._store
        with store.transaction():
            known = self._found(client_id, kind)
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
