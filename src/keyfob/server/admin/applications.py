# SPDX-License-Identifier: Apache-2.0
"""Applications over the admin API."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote

import msgspec

from keyfob.server.admin.certificates import CertificateForm
from keyfob.server.admin.devices import JwkSet, NewKeys, TokenForm
from keyfob.server.admin.operations import Call, Name, Operation, Page
from keyfob.server.admin_scopes import APPLICATIONS_READ, APPLICATIONS_WRITE
from keyfob.server.clients import Application
from keyfob.server.wishes import ApplicationWish

__all__ = ["OPERATIONS", "ApplicationPage", "CreatedApplication", "NewApplication"]


class NewApplication(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An application to register for the password grant, or the one of device codes instead.

    It gets refresh tokens where it says so.
    """

    id: Name
    public: bool = False
    refresh: bool = False
    device_code: bool = False
    jwks: JwkSet | None = None
    tokens: TokenForm = TokenForm()
    certificate: CertificateForm | None = None
    certificate_bound: bool = False

    @property
    def wish(self) -> ApplicationWish:
        """The same for the register."""
        return ApplicationWish(
            self.id,
            public=self.public,
            refresh=self.refresh,
            device_code=self.device_code,
            jwks=None if self.jwks is None else self.jwks.document,
            metadata=self.tokens.metadata,
            certificate=None if self.certificate is None else self.certificate.identity,
            certificate_bound=self.certificate_bound,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatedApplication:
    """An application, and its secret where it has one; it is shown this once."""

    application: Application
    client_secret: str | None = field(repr=False)


class ApplicationPage(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the list; ``next`` is what ``after`` has to be for the next one, if there is."""

    items: tuple[Application, ...]
    next: str | None


def _list(call: Call) -> ApplicationPage:
    query: Page = call.query
    items, following = query.read(
        lambda after, limit: call.register.application_page(after=after, limit=limit),
        lambda one: one.id,
    )
    return ApplicationPage(items=items, next=following)


def _create(call: Call) -> CreatedApplication:
    new: NewApplication = call.body
    issued = call.register.add_application(new.wish)
    return CreatedApplication(application=issued.application, client_secret=issued.secret)


def _set_keys(call: Call) -> Application:
    wish: NewKeys = call.body
    return call.register.set_application_jwks(
        call.target, wish.jwks.document, remove_secret=wish.remove_secret
    )


OPERATIONS: Final = (
    Operation(
        name="listApplications",
        method="get",
        path="/applications",
        summary="List applications, by name.",
        scope=APPLICATIONS_READ,
        query=Page,
        answer=ApplicationPage,
        work=_list,
    ),
    Operation(
        name="addApplication",
        method="post",
        path="/applications",
        summary="Register an application; its secret, if it has one, is shown this once.",
        scope=APPLICATIONS_WRITE,
        body=NewApplication,
        answer=CreatedApplication,
        created=True,
        location=lambda issued: f"/applications/{quote(issued.application.id)}",
        statuses=(409,),
        work=_create,
    ),
    Operation(
        name="getApplication",
        method="get",
        path="/applications/{id}",
        summary="Show an application.",
        scope=APPLICATIONS_READ,
        answer=Application,
        work=lambda call: call.register.show_application(call.target),
    ),
    Operation(
        name="removeApplication",
        method="delete",
        path="/applications/{id}",
        summary="Forget an application and its refresh tokens.",
        scope=APPLICATIONS_WRITE,
        work=lambda call: call.register.remove_application(call.target),
    ),
    Operation(
        name="setApplicationKeys",
        method="put",
        path="/applications/{id}/keys",
        summary="Give an application other public keys; those before stop now.",
        scope=APPLICATIONS_WRITE,
        body=NewKeys,
        answer=Application,
        work=_set_keys,
    ),
)
