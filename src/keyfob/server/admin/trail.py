# SPDX-License-Identifier: Apache-2.0
"""Who changed what, over the admin API."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from keyfob.server.admin.operations import Call, Operation
from keyfob.server.admin_scopes import AUDIT_READ
from keyfob.server.stores.admin_actions import AdminAction

__all__ = ["OPERATIONS", "ActionList", "WhichActions"]


class WhichActions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which lines of the trail."""

    last: Annotated[int, msgspec.Meta(ge=1, le=10_000, description="So many, the last ones.")] = 100
    subject: Annotated[
        str, msgspec.Meta(max_length=128, description="Only what concerned this client or key.")
    ] = ""


class ActionList(msgspec.Struct, frozen=True, kw_only=True):
    """Who changed what, oldest first; reading is no action."""

    items: tuple[AdminAction, ...]


def _list(call: Call) -> ActionList:
    query: WhichActions = call.query
    return ActionList(items=call.register.list_actions(last=query.last, subject=query.subject))


OPERATIONS: Final = (
    Operation(
        name="listActions",
        method="get",
        path="/actions",
        summary="List who changed what in the register.",
        scope=AUDIT_READ,
        query=WhichActions,
        answer=ActionList,
        work=_list,
    ),
)
