# SPDX-License-Identifier: Apache-2.0
"""Initial access tokens for dynamic registration, over the admin API."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec

from keyfob.server.admin.devices import Filters, Groups, Lifetime, Scopes
from keyfob.server.admin.operations import Call, Name, Operation, Page
from keyfob.server.admin_scopes import REGISTRATION_READ, REGISTRATION_WRITE
from keyfob.server.registration.initial_tokens import (
    MAX_PREFIX,
    MAX_SECONDS,
    MAX_USES,
    IssuedRegistrationToken,
    Kind,
    RegistrationToken,
    Template,
)

__all__ = ["OPERATIONS", "NewRegistrationToken", "RegistrationTokenPage"]

_Names = Annotated[
    tuple[Annotated[str, msgspec.Meta(max_length=64)], ...], msgspec.Meta(max_length=16)
]


class NewTemplate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What clients that the token registers are given; most of it is for devices alone."""

    kind: Kind = "device"
    prefix: Annotated[
        str, msgspec.Meta(max_length=MAX_PREFIX, description="What names begin with.")
    ] = ""
    publish: Filters = ()
    subscribe: Filters = ()
    scopes: Scopes = ()
    lifetime: Lifetime | None = None
    groups: Groups = ()
    pending: bool = False
    grant_types: _Names = ()
    auth_methods: _Names = ()


class NewRegistrationToken(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An initial access token to make."""

    name: Name
    uses: Annotated[int, msgspec.Meta(ge=1, le=MAX_USES)]
    expires_in: Annotated[
        int, msgspec.Meta(ge=1, le=MAX_SECONDS, description="Seconds that it lives.")
    ]
    template: NewTemplate = NewTemplate()


class RegistrationTokenPage(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the list; ``next`` is what ``after`` has to be for the next one, if there is."""

    items: tuple[RegistrationToken, ...]
    next: str | None


def _list(call: Call) -> RegistrationTokenPage:
    query: Page = call.query
    items, following = query.read(
        lambda after, limit: call.registration_tokens.list(after=after, limit=limit),
        lambda one: one.name,
    )
    return RegistrationTokenPage(items=items, next=following)


def _create(call: Call) -> IssuedRegistrationToken:
    wish: NewRegistrationToken = call.body
    members: dict[str, Any] = msgspec.structs.asdict(wish.template)
    return call.registration_tokens.add(
        wish.name, uses=wish.uses, seconds=wish.expires_in, template=Template(**members)
    )


OPERATIONS: Final = (
    Operation(
        name="listRegistrationTokens",
        method="get",
        path="/registration-tokens",
        summary="List initial access tokens, by name.",
        scope=REGISTRATION_READ,
        query=Page,
        answer=RegistrationTokenPage,
        work=_list,
    ),
    Operation(
        name="addRegistrationToken",
        method="post",
        path="/registration-tokens",
        summary="Make an initial access token, shown this once.",
        scope=REGISTRATION_WRITE,
        body=NewRegistrationToken,
        answer=IssuedRegistrationToken,
        created=True,
        statuses=(409,),
        work=_create,
    ),
    Operation(
        name="removeRegistrationToken",
        method="delete",
        path="/registration-tokens/{id}",
        summary="Forget an initial access token; what it registered stays.",
        scope=REGISTRATION_WRITE,
        work=lambda call: call.registration_tokens.remove(call.target),
    ),
)
