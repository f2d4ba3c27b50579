# SPDX-License-Identifier: Apache-2.0
"""Over the admin API: the people who approve devices in a browser.

An operator is no client: no account here gets a token for this API. Passwords come in, and none
goes out; who calls makes them.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Final

import msgspec

from keyfob.server.admin.operations import Call, Name, Operation, Page
from keyfob.server.admin_scopes import OPERATORS_READ, OPERATORS_WRITE
from keyfob.server.operator_register import MAX_SUBJECT_LENGTH
from keyfob.server.operators import Operator
from keyfob.server.passwords import MAX_PASSWORD_LENGTH, MIN_PASSWORD_LENGTH
from keyfob.server.records import Record

__all__ = ["OPERATIONS", "NewOperator", "NewPassword", "OperatorPage"]

_Password = Annotated[
    str, msgspec.Meta(min_length=MIN_PASSWORD_LENGTH, max_length=MAX_PASSWORD_LENGTH)
]
_Subject = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=MAX_SUBJECT_LENGTH,
        description="Who that is at the issuer of [server.openid].",
    ),
]


class NewOperator(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An account to make, which signs in by a password, by the other OpenID issuer, or by both."""

    hidden: ClassVar[frozenset[str]] = frozenset({"password", "openid_subject"})

    name: Name
    password: _Password | None = None
    openid_subject: _Subject | None = None


class NewPassword(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The password that an operator signs in with from now on."""

    hidden: ClassVar[frozenset[str]] = frozenset({"password"})

    password: _Password


class OperatorPage(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the list; ``next`` is what ``after`` has to be for the next one, if there is."""

    items: tuple[Operator, ...]
    next: str | None


def _list(call: Call) -> OperatorPage:
    query: Page = call.query
    known = call.operators.list()  # people are few: a page is cut out of all of them
    items, following = query.read(
        lambda after, limit: tuple(one for one in known if one.name > after)[:limit],
        lambda one: one.name,
    )
    return OperatorPage(items=items, next=following)


def _create(call: Call) -> Operator:
    wish: NewOperator = call.body
    return call.operators.add(wish.name, wish.password, openid_subject=wish.openid_subject)


OPERATIONS: Final = (
    Operation(
        name="listOperators",
        method="get",
        path="/operators",
        summary="List the people who may approve devices, by name.",
        scope=OPERATORS_READ,
        query=Page,
        answer=OperatorPage,
        work=_list,
    ),
    Operation(
        name="addOperator",
        method="post",
        path="/operators",
        summary="Make an account for somebody who approves devices.",
        scope=OPERATORS_WRITE,
        body=NewOperator,
        answer=Operator,
        created=True,
        statuses=(409,),
        work=_create,
    ),
    Operation(
        name="setOperatorPassword",
        method="put",
        path="/operators/{id}/password",
        summary="Change an operator's password, and end his sessions.",
        scope=OPERATORS_WRITE,
        body=NewPassword,
        work=lambda call: call.operators.set_password(call.target, call.body.password),
    ),
    Operation(
        name="removeOperator",
        method="delete",
        path="/operators/{id}",
        summary="Remove an operator's account, and end his sessions.",
        scope=OPERATORS_WRITE,
        work=lambda call: call.operators.remove(call.target),
    ),
)
