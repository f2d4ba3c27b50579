# SPDX-License-Identifier: Apache-2.0
"""Registers clients that ask for it, and lets them manage their registration, in the register.

All of it runs in the thread that writes. A use of an initial access token is spent in the
transaction that adds the client: neither is ever there without the other.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from keyfob.errors import ConfigError, ConflictError, NotFoundError, TopicError
from keyfob.server.admin_trail import recorded
from keyfob.server.asked_rights import TOKEN_EXCHANGE
from keyfob.server.client_metadata import ClientMetadata, check_metadata
from keyfob.server.clients import Client, ClientKind
from keyfob.server.credentials import (
    generate_registration_token,
    hash_secret,
    verify_secret,
)
from keyfob.server.names import is_name
from keyfob.server.oauth_errors import OAuthError
from keyfob.server.register import Register
from keyfob.server.registration.client_wish import ClientWish, read_update, read_wish
from keyfob.server.registration.initial_tokens import (
    KIND_AUTH_METHODS,
    Template,
    read_template,
)
from keyfob.server.scopes import device_scopes
from keyfob.server.stores.registration_tokens import (
    find_registration_token,
    use_registration_token,
)
from keyfob.server.stores.store import Store
from keyfob.server.wishes import ApplicationWish, DeviceWish, Rights

__all__ = ["Registered", "Registrar"]

# 96 bits: no two devices get the same.
_RANDOM_BYTES: Final = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """What a client is registered with.

    Args:
        client: As the register has it.
        access_token: What manages the registration from now on.
        secret: Its new secret, which is not kept; None: none was made.
    """

    client: Client
    access_token: str = field(repr=False)
    secret: str | None = field(default=None, repr=False)


class Registrar:
    """Dynamic registration over one store.

    Args:
        store: The register, for this thread.
        client_id_template: What MQTT client identifiers are made of.
        clock: Unix seconds.
    """

    def __init__(
        self, store: Store, *, client_id_template: str, clock: Callable[[], float]
    ) -> None:
        self._store = store
        self._template = client_id_template
        self._clock = clock

    def register(self, initial_token: str, document: Mapping[str, Any]) -> Registered:
        """Register a client (RFC 7591 section 3).

        Raises:
            OAuthError: ``invalid_token``: none that is good now. ``invalid_client_metadata``: what
                the client says cannot be, or its name is taken.
        """
        token_hash = hash_secret(initial_token)
        row = find_registration_token(self._store, token_hash, now=self._clock())
        if row is None:
            raise _not_good("initial_token_not_good")
        template = read_template(row.template)
        wish = read_wish(document, template)
        name = wish.name or template.prefix + secrets.token_hex(_RANDOM_BYTES)
        access_token = generate_registration_token()
        metadata = _metadata(
            wish, ClientMetadata(registration_access_hash=hash_secret(access_token))
        )

        def within() -> None:
            if not use_registration_token(self._store, token_hash, now=self._clock()):
                raise _not_good("initial_token_used_up")
            self._store.set_metadata(name, metadata)
            self._store.set_grants(name, wish.grant_types)

        register = Register(
            self._store,
            client_id_template=self._template,
            clock=self._clock,
            actor=f"registration:{row.name}",
        )
        with self._store.before_commit(within):
            secret = _add(register, name, wish, template)
        return self._registered(name, access_token, secret)

    def read(self, client_id: str, access_token: str) -> Registered:
        """Return a registration (RFC 7592 section 2.1).

        Raises:
            OAuthError: ``invalid_token``.
        """
        client = self._proven(client_id, access_token)
        if client.metadata.registration_access_previous:
            with self._store.transaction():
                self._settle(self._proven(client_id, access_token), access_token)
        return Registered(client=client, access_token=access_token)

    def update(self, client_id: str, access_token: str, document: Mapping[str, Any]) -> Registered:
        """Replace what a client says of itself (RFC 7592 section 2.2).

        Raises:
            OAuthError: ``invalid_token``, ``invalid_client_metadata``.
        """
        new_token = generate_registration_token()
        kind = self._proven(client_id, access_token).kind  # before the trail names anybody
        with self._recorded(f"{kind}.update-registration", client_id), self._store.transaction():
            client = self._proven(client_id, access_token)
            method = _method_of(client)
            wish = read_update(document, client_id, _as_template(client, method), method)
            _check_secret(document, client)
            scopes = client.scopes
            if client.kind is ClientKind.DEVICE:
                # As at registration: to connect is what every device may.
                scopes = _scopes(client_id, wish.scopes(client.scopes))
            self._store.set_scopes(client_id, scopes)
            self._store.set_grants(client_id, wish.grant_types)
            if wish.jwks is not None:
                self._store.set_jwks(client_id, wish.jwks)
            shown = hash_secret(access_token)
            metadata = _metadata(wish, client.metadata)
            _check_metadata(metadata, client)
            self._store.set_metadata(
                client_id,
                msgspec.structs.replace(
                    metadata,
                    registration_access_hash=hash_secret(new_token),
                    registration_access_previous=shown,
                ),
            )
        return self._registered(client_id, new_token, None)

    def remove(self, client_id: str, access_token: str) -> None:
        """Forget a client and revoke its tokens (RFC 7592 section 2.3).

        Raises:
            OAuthError: ``invalid_token``.
        """
        kind = self._proven(client_id, access_token).kind  # before the trail names anybody
        register = Register(self._store, clock=self._clock, actor=f"client:{client_id}")

        def proven() -> None:
            self._proven(client_id, access_token)  # nor has anybody changed it since

        if kind is ClientKind.DEVICE:
            register.remove_device(client_id, proven=proven)
        else:
            register.remove_application(client_id, proven=proven)

    def _registered(self, client_id: str, access_token: str, secret: str | None) -> Registered:
        client = self._store.client(client_id)
        if client is None:  # removed in this moment by somebody else
            raise _not_good("client_unknown")
        return Registered(client=client, access_token=access_token, secret=secret)

    def _proven(self, client_id: str, access_token: str) -> Client:
        """Return the client whose registration a token manages; the same work whatever is wrong."""
        client = self._store.client(client_id) if is_name(client_id) else None
        metadata = ClientMetadata() if client is None else client.metadata
        current = verify_secret(access_token, metadata.registration_access_hash or None)
        previous = verify_secret(access_token, metadata.registration_access_previous or None)
        if client is None:
            raise _not_good("client_unknown")
        if not (current or previous):
            raise _not_good("registration_token_wrong")
        if not client.enabled:  # or a stolen device could remove itself, and register anew
            raise _not_good("client_disabled")
        return client

    def _settle(self, client: Client, access_token: str) -> None:
        """Forget the token before, once the new one has arrived."""
        current = client.metadata.registration_access_hash
        if hmac.compare_digest(hash_secret(access_token), current):
            metadata = msgspec.structs.replace(client.metadata, registration_access_previous="")
            self._store.set_metadata(client.client_id, metadata)

    def _recorded(self, action: str, client_id: str) -> Any:  # noqa: ANN401 - a context manager
        return recorded(
            self._store, action, client_id, actor=f"client:{client_id}", clock=self._clock
        )


def _add(register: Register, name: str, wish: ClientWish, template: Template) -> str | None:
    """Add the client and return its secret, if it has one."""
    try:
        jwks = None if wish.jwks is None else wish.jwks.encode()
        if template.kind == "application":
            public = wish.auth_method == "none"
            return register.add_application(ApplicationWish(name, public=public, jwks=jwks)).secret
        most = device_scopes(
            name,
            publish=template.publish,
            subscribe=template.subscribe,
            extra=template.scopes,
        )
        device = DeviceWish(
            name,
            jwks=jwks,
            rights=Rights(scopes=wish.scopes(most)),
            lifetime=template.lifetime,
            groups=template.groups,
            pending=template.pending,
        )
        return register.add_device(device).secret or None
    except ConflictError:
        raise _refused("the name is taken", "name_taken") from None
    except (ConfigError, NotFoundError, TopicError):
        raise _refused("no such client can be", "client_not_allowed") from None


def _metadata(wish: ClientWish, before: ClientMetadata) -> ClientMetadata:
    return msgspec.structs.replace(
        before,
        client_name=wish.client_name,
        software_id=wish.software_id,
        software_version=wish.software_version,
        token_endpoint_auth_method=wish.auth_method,
        # What binds its tokens is never taken away by an update.
        dpop_bound_access_tokens=before.dpop_bound_access_tokens or wish.dpop_bound,
        # As an operator's ``withdraw_grant``: who exchanges no tokens acts for nobody.
        may_act_for=before.may_act_for if TOKEN_EXCHANGE in wish.grant_types else (),
    )


def _method_of(client: Client) -> str:
    """Return how a client authenticates, also where an operator has changed that since."""
    said = client.metadata.token_endpoint_auth_method
    if client.jwks is not None and client.secret_hash is None:
        return "private_key_jwt"
    if client.secret_hash is None and (certificate := client.metadata.certificate):
        return "self_signed_tls_client_auth" if certificate.thumbprints else "tls_client_auth"
    if client.public:
        return "none"
    return said if said.startswith("client_secret_") else "client_secret_basic"


def _as_template(client: Client, method: str) -> Template:
    """Return what a client is now, as the most that it may be after an update."""
    kind: Final = "device" if client.kind is ClientKind.DEVICE else "application"
    same = [one for one in KIND_AUTH_METHODS[kind] if one[:7] == method[:7]]  # secret, or keys
    same = same or [method]  # a certificate, which an operator has given it
    return Template(kind=kind, grant_types=client.grants, auth_methods=tuple(same))


def _scopes(device_id: str, wanted: tuple[str, ...]) -> tuple[str, ...]:
    try:
        return device_scopes(device_id, extra=wanted)
    except (ConfigError, TopicError):  # with what every device may, they are too many
        raise _refused("scope is more than a token holds", "metadata_scope") from None


def _check_metadata(metadata: ClientMetadata, client: Client) -> None:
    """Refuse what does not go with what an operator has registered of the client."""
    try:
        check_metadata(metadata, has_keys=client.jwks is not None)
    except ConfigError:
        raise _refused("its tokens are bound otherwise", "metadata_dpop_bound") from None


def _check_secret(document: Mapping[str, Any], client: Client) -> None:
    """Hold the secret in an update to the one that there is (RFC 7592 section 2.2)."""
    shown = document.get("client_secret")
    if shown is None:
        return
    if not isinstance(shown, str) or not verify_secret(shown, client.secret_hash):
        raise _refused("client_secret is another", "metadata_client_secret")


def _refused(description: str, reason: str) -> OAuthError:
    return OAuthError("invalid_client_metadata", description, reason=reason)


def _not_good(reason: str) -> OAuthError:
    return OAuthError("invalid_token", "the token is not good here", reason=reason)
