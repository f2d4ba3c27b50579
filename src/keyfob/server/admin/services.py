# SPDX-License-Identifier: Apache-2.0
"""Guards and other services over the admin API.

A service that is made here never has an admin scope that its maker is not registered for, and
nobody is given the secret of one that is there: to register services is not to be all of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Final
from urllib.parse import quote

import msgspec

from keyfob.server.admin.operations import Call, Name, Operation, Page
from keyfob.server.admin.problems import ProblemError
from keyfob.server.admin_scopes import ADMIN_SCOPES, SERVICES_READ, SERVICES_WRITE
from keyfob.server.clients import SERVICE_SCOPES, Service

__all__ = ["OPERATIONS", "CreatedService", "NewService", "ServicePage"]

_SCOPE = Annotated[
    str,
    # A set of constants that grows; as a pattern it is in the description.
    msgspec.Meta(pattern=f"^({'|'.join(SERVICE_SCOPES)})$".replace(".", r"\.")),
]


class NewService(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A service to register; of admin scopes it may have those that the caller has."""

    id: Name
    scopes: Annotated[
        tuple[_SCOPE, ...], msgspec.Meta(min_length=1, max_length=len(SERVICE_SCOPES))
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatedService:
    """A service and its secret, which is shown this once."""

    service: Service
    client_secret: str = field(repr=False)


class ServicePage(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the list; ``next`` is what ``after`` has to be for the next one, if there is."""

    items: tuple[Service, ...]
    next: str | None


def _list(call: Call) -> ServicePage:
    query: Page = call.query
    items, following = query.read(
        lambda after, limit: call.register.service_page(after=after, limit=limit),
        lambda one: one.id,
    )
    return ServicePage(items=items, next=following)


def _create(call: Call) -> CreatedService:
    wish: NewService = call.body
    admin = {scope for scope in wish.scopes if scope in ADMIN_SCOPES}
    if not admin <= call.caller.scopes:
        raise ProblemError(
            403, "scope_exceeded", "nobody gives an admin scope that his token does not have"
        )
    service, secret = call.register.add_service(wish.id, scopes=wish.scopes)
    return CreatedService(service=service, client_secret=secret)


def _remove(call: Call) -> None:
    if call.target == call.caller.client_id:
        raise ProblemError(409, "conflict", "a service does not remove itself")
    call.register.remove_service(call.target)


OPERATIONS: Final = (
    Operation(
        name="listServices",
        method="get",
        path="/services",
        summary="List guards and other services, by name.",
        scope=SERVICES_READ,
        query=Page,
        answer=ServicePage,
        work=_list,
    ),
    Operation(
        name="addService",
        method="post",
        path="/services",
        summary="Register a service; its secret is shown this once.",
        scope=SERVICES_WRITE,
        body=NewService,
        answer=CreatedService,
        created=True,
        location=lambda issued: f"/services/{quote(issued.service.id)}",
        statuses=(409,),
        work=_create,
    ),
    Operation(
        name="getService",
        method="get",
        path="/services/{id}",
        summary="Show a service.",
        scope=SERVICES_READ,
        answer=Service,
        work=lambda call: call.register.show_service(call.target),
    ),
    Operation(
        name="removeService",
        method="delete",
        path="/services/{id}",
        summary="Forget a service other than the caller; it can do nothing from then on.",
        scope=SERVICES_WRITE,
        statuses=(409,),
        work=_remove,
    ),
)
