# SPDX-License-Identifier: Apache-2.0
"""Initial access tokens: who may register clients, how often, and what these may be at most.

A token is for one kind of client. It says what a client that it registers is given, and nothing
that the client asks for goes beyond that. The token is shown once and kept as a hash.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Final, Literal

import msgspec

from keyfob.authorization.binding import ClientIdTemplate
from keyfob.errors import ConfigError, ConflictError, NotFoundError
from keyfob.server.credentials import generate_initial_token, hash_secret
from keyfob.server.groups import check_groups
from keyfob.server.lifetimes import check_lifetime
from keyfob.server.names import ANY_NAME, check_name, is_name, shown_name
from keyfob.server.recorded_register import RecordedRegister
from keyfob.server.scopes import device_scopes
from keyfob.server.stores.registration_tokens import (
    StoredRegistrationToken,
    delete_registration_token,
    insert_registration_token,
    registration_token_named,
    registration_token_page,
)
from keyfob.server.stores.store import Store

__all__ = [
    "KIND_AUTH_METHODS",
    "KIND_REGISTERED_GRANTS",
    "MAX_PREFIX",
    "MAX_SECONDS",
    "MAX_USES",
    "IssuedRegistrationToken",
    "Kind",
    "RegistrationToken",
    "RegistrationTokens",
    "Template",
    "read_template",
]

Kind = Literal["device", "application"]
MAX_USES: Final = 10_000_000
# Ten years: a token for longer is one that nobody watches.
MAX_SECONDS: Final = 315_360_000
# What is left of a name behind a prefix has to tell devices apart.
MAX_PREFIX: Final = 64

KIND_REGISTERED_GRANTS: Final[dict[Kind, tuple[str, ...]]] = {
    "device": ("client_credentials",),
    "application": ("password", "refresh_token"),
}
"""The grants that a token may let clients of a kind register for."""
_SECRET: Final = ("client_secret_basic", "client_secret_post")
KIND_AUTH_METHODS: Final[dict[Kind, tuple[str, ...]]] = {
    "device": (*_SECRET, "private_key_jwt"),
    "application": (*_SECRET, "private_key_jwt", "none"),
}
"""The same of ways to authenticate."""


class Template(msgspec.Struct, frozen=True, kw_only=True):
    """What a client that a token registers is given, and may be at most.

    Args:
        kind: What it is.
        prefix: What the name of a device begins with.
        publish: Topic filters that a device may publish to; ``{device}`` is its name.
        subscribe: Topic filters that it may subscribe to; the same.
        scopes: Further scopes.
        lifetime: Seconds its tokens live; None follows its groups or the server's default.
        groups: Groups that a device is put into.
        pending: Whether a device gets no token before an operator enables it.
        grant_types: The grants that it may register for.
        auth_methods: The ways to authenticate that it may register for.
    """

    kind: Kind = "device"
    prefix: str = ""
    publish: tuple[str, ...] = ()
    subscribe: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    lifetime: Annotated[int, msgspec.Meta(ge=1)] | None = None
    groups: tuple[str, ...] = ()
    pending: bool = False
    grant_types: tuple[str, ...] = ()
    auth_methods: tuple[str, ...] = ()

    def completed(self) -> Template:
        """Return this with what was left out: everything that the kind may have."""
        return msgspec.structs.replace(
            self,
            grant_types=self.grant_types or KIND_REGISTERED_GRANTS[self.kind],
            auth_methods=self.auth_methods or KIND_AUTH_METHODS[self.kind],
        )

    def check(self, client_id_template: ClientIdTemplate = ANY_NAME) -> None:
        """Refuse a template that no client could be made by.

        Raises:
            ConfigError: A grant, a way to authenticate, the prefix, a scope or the lifetime is not
                allowed.
            TopicError: A filter is not one.
        """
        _refuse_others("grant", self.grant_types, KIND_REGISTERED_GRANTS[self.kind])
        _refuse_others("way to authenticate", self.auth_methods, KIND_AUTH_METHODS[self.kind])
        if self.lifetime is not None:
            check_lifetime(self.lifetime)
        if self.kind == "application":
            if self != Template(
                kind=self.kind, grant_types=self.grant_types, auth_methods=self.auth_methods
            ):
                raise ConfigError("rights, lifetime, groups, prefix and pending are for devices")
            return
        check_groups(self.groups)
        if len(self.prefix) > MAX_PREFIX:
            raise ConfigError(f"a prefix has {MAX_PREFIX} characters at most")
        example = self.prefix + "x"
        check_name(example, template=client_id_template)
        device_scopes(example, publish=self.publish, subscribe=self.subscribe, extra=self.scopes)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrationToken:
    """An initial access token, as the operator sees it; the token itself is not kept.

    Args:
        name: What the operator calls it.
        uses_left: How many clients it may still register.
        expires_at: When it ends, in Unix seconds.
        template: What these clients are given.
        created_at: When it was made, in Unix seconds.
    """

    name: str
    uses_left: int
    expires_at: float
    template: Template
    created_at: float

    @classmethod
    def of(cls, row: StoredRegistrationToken) -> RegistrationToken:
        """Return the operator's view of a row."""
        return cls(
            name=row.name,
            uses_left=row.uses_left,
            expires_at=row.expires_at,
            template=read_template(row.template),
            created_at=row.created_at,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedRegistrationToken:
    """A new token, which is shown this once."""

    registration_token: RegistrationToken
    token: str = field(repr=False)


class RegistrationTokens(RecordedRegister):
    """The initial access tokens of a register; a context manager that closes its database.

    Args:
        store: An open store, which ``close`` closes.
        client_id_template: What MQTT client identifiers are made of.
        clock: Unix seconds.
        actor: Who changes them, for the trail; None: the operating system's user.
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

    def add(
        self, name: str, *, uses: int, seconds: int, template: Template
    ) -> IssuedRegistrationToken:
        """Make a token.

        Args:
            name: What to call it; clients that it registers are known by it in the trail.
            uses: How many clients it may register.
            seconds: How long it lives.
            template: What they are given; what it leaves out is completed.

        Raises:
            ConfigError: The name, a number or the template is not allowed.
            TopicError: A filter in it is not one.
            ConflictError: There is one of this name.
        """
        with self._recorded("registration-token.add", name):
            check_name(name)
            if not 1 <= uses <= MAX_USES:
                raise ConfigError(f"a token has 1 to {MAX_USES} uses")
            if not 1 <= seconds <= MAX_SECONDS:
                raise ConfigError(f"a token lives 1 to {MAX_SECONDS} seconds")
            template = template.completed()
            template.check(self._template)
            token, now = generate_initial_token(), self._clock()
            row = StoredRegistrationToken(
                name=name,
                token_hash=hash_secret(token),
                uses_left=uses,
                expires_at=now + seconds,
                template=msgspec.json.encode(template).decode(),
                created_at=now,
            )
            with self._store.transaction():
                if registration_token_named(self._store, name) is not None:
                    raise ConflictError(f"there is a registration token {name!r} already")
                insert_registration_token(self._store, row)
        return IssuedRegistrationToken(registration_token=RegistrationToken.of(row), token=token)

    def list(self, *, after: str = "", limit: int = 1_000) -> tuple[RegistrationToken, ...]:
        """Return a page of tokens, by name; those that are used up or ended are still there.

        Args:
            after: The name before the first of them; empty for the first page.
            limit: How many at most.
        """
        page = registration_token_page(self._store, after=after, limit=limit)
        return tuple(map(RegistrationToken.of, page))

    def remove(self, name: str) -> None:
        """Forget a token; what it registered stays.

        Raises:
            NotFoundError: There is none of this name.
        """
        with self._recorded("registration-token.remove", name), self._store.transaction():
            if not is_name(name) or not delete_registration_token(self._store, name):
                raise NotFoundError(
                    f"no registration token {shown_name(name)!r}; `keyfob registration-token list`"
                    " shows them"
                )


def read_template(text: str) -> Template:
    """Return the template of a row."""
    return msgspec.json.decode(text.encode(), type=Template).completed()


def _refuse_others(what: str, named: tuple[str, ...], allowed: tuple[str, ...]) -> None:
    if others := [one for one in named if one not in allowed]:
        raise ConfigError(f"{others[0]!r} is no {what} here: {', '.join(allowed)}")
