# SPDX-License-Identifier: Apache-2.0
"""Which grants a client is registered for, and for which devices a gateway acts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import msgspec

from keyfob.errors import ConfigError, NotFoundError
from keyfob.server.asked_rights import TOKEN_EXCHANGE
from keyfob.server.client_authentication.grant_assertion import JWT_BEARER
from keyfob.server.clients import DEVICE_CODE, REFRESH_TOKEN, Client, ClientKind
from keyfob.server.name_patterns import check_patterns
from keyfob.server.names import shown_name
from keyfob.server.stores.store import Store

__all__ = ["GRANTS_OF", "ClientGrants", "allow_grant", "show_grants", "withdraw_grant"]

_SHORT: Final = {
    "jwt-bearer": JWT_BEARER,
    "token-exchange": TOKEN_EXCHANGE,
    "device-code": DEVICE_CODE,
}
GRANTS_OF: Final = {
    ClientKind.DEVICE: ("client_credentials", JWT_BEARER, TOKEN_EXCHANGE),
    ClientKind.APPLICATION: ("password", REFRESH_TOKEN, JWT_BEARER, TOKEN_EXCHANGE, DEVICE_CODE),
    ClientKind.SERVICE: (),
}
"""What clients of each kind may be registered for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientGrants:
    """A client's grants, as the operator sees them."""

    client_id: str
    grant_types: tuple[str, ...]
    may_act_for: tuple[str, ...]

    @classmethod
    def of(cls, client: Client) -> ClientGrants:
        """Return the operator's view of a row."""
        return cls(
            client_id=client.client_id,
            grant_types=client.grants,
            may_act_for=client.metadata.may_act_for,
        )


def show_grants(store: Store, client_id: str) -> ClientGrants:
    """Return a client's grants; see ``Register.show_grants``."""
    return ClientGrants.of(_row(store, client_id))


def allow_grant(
    store: Store, client_id: str, grant: str, act_for: Iterable[str] | None
) -> ClientGrants:
    """Register a client for one more grant; see ``Register.allow_grant``."""
    patterns = None if act_for is None else check_patterns(act_for)
    with store.transaction():
        client = _row(store, client_id)
        grant_type = _grant_type(grant, client)
        if grant_type == TOKEN_EXCHANGE and client.public:
            raise ConfigError("a public application cannot exchange tokens: it proves nothing")
        if patterns is not None and client.kind is not ClientKind.DEVICE:
            raise ConfigError("the gateway is a device: it is the one that acts for others")
        if patterns is not None and grant_type != TOKEN_EXCHANGE:
            raise ConfigError("only token-exchange is about devices that somebody acts for")
        store.set_grants(client_id, tuple(dict.fromkeys((*client.grants, grant_type))))
        if patterns is not None:
            metadata = msgspec.structs.replace(client.metadata, may_act_for=patterns)
            store.set_metadata(client_id, metadata)
    return show_grants(store, client_id)


def withdraw_grant(store: Store, client_id: str, grant: str) -> ClientGrants:
    """Take a grant from a client; see ``Register.withdraw_grant``."""
    with store.transaction():
        client = _row(store, client_id)
        grant_type = _grant_type(grant, client)
        store.set_grants(client_id, tuple(one for one in client.grants if one != grant_type))
        if grant_type == TOKEN_EXCHANGE:
            metadata = msgspec.structs.replace(client.metadata, may_act_for=())
            store.set_metadata(client_id, metadata)
    return show_grants(store, client_id)


def _row(store: Store, client_id: str) -> Client:
    client = store.client(client_id)
    if client is None or client.kind is ClientKind.SERVICE:
        raise NotFoundError(f"no device or application {shown_name(client_id)!r}")
    return client


def _grant_type(grant: str, client: Client) -> str:
    grant_type = _SHORT.get(grant, grant)
    known = GRANTS_OF[client.kind]
    if grant_type not in known:
        names = {value: name for name, value in _SHORT.items()}
        offered = ", ".join(names.get(one, one) for one in known)
        raise ConfigError(f"{grant[:80]!r} is no grant of a {client.kind}; write one of {offered}")
    return grant_type
