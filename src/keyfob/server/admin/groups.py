# SPDX-License-Identifier: Apache-2.0
"""Groups of devices over the admin API."""

from __future__ import annotations

from typing import Annotated, Any, Final
from urllib.parse import quote

import msgspec

from keyfob.server.admin.devices import Filters, Lifetime, Scopes
from keyfob.server.admin.operations import Call, Operation, Page
from keyfob.server.admin_scopes import DEVICES_READ, DEVICES_WRITE
from keyfob.server.groups import GROUP_PATTERN, Group

__all__ = ["OPERATIONS", "GroupChange", "GroupPage", "NewGroup"]


class NewGroup(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A group to make."""

    name: Annotated[str, msgspec.Meta(pattern=GROUP_PATTERN, min_length=1, max_length=64)]
    publish: Filters = ()
    subscribe: Filters = ()
    scopes: Scopes = ()
    lifetime: Lifetime | None = None


class GroupChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a group gives from now on; what is left out stays."""

    publish: Filters | msgspec.UnsetType = msgspec.UNSET
    subscribe: Filters | msgspec.UnsetType = msgspec.UNSET
    scopes: Scopes | msgspec.UnsetType = msgspec.UNSET
    lifetime: Lifetime | msgspec.UnsetType | None = msgspec.UNSET


class GroupPage(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the list; ``next`` is what ``after`` has to be for the next one, if there is."""

    items: tuple[Group, ...]
    next: str | None


def _list(call: Call) -> GroupPage:
    query: Page = call.query
    items, following = query.read(
        lambda after, limit: call.register.fleet.list_groups(after=after, limit=limit),
        lambda one: one.name,
    )
    return GroupPage(items=items, next=following)


def _create(call: Call) -> Group:
    members: dict[str, Any] = msgspec.structs.asdict(call.body)
    return call.register.fleet.add_group(members.pop("name"), **members)


def _change(call: Call) -> Group:
    members = msgspec.structs.asdict(call.body).items()
    changes = {name: value for name, value in members if value is not msgspec.UNSET}
    return call.register.fleet.set_group(call.target, changes)


OPERATIONS: Final = (
    Operation(
        name="listGroups",
        method="get",
        path="/groups",
        summary="List groups of devices, by name.",
        scope=DEVICES_READ,
        query=Page,
        answer=GroupPage,
        work=_list,
    ),
    Operation(
        name="addGroup",
        method="post",
        path="/groups",
        summary="Make a group.",
        scope=DEVICES_WRITE,
        body=NewGroup,
        answer=Group,
        created=True,
        location=lambda group: f"/groups/{quote(group.name)}",
        statuses=(409,),
        work=_create,
    ),
    Operation(
        name="getGroup",
        method="get",
        path="/groups/{id}",
        summary="Show what a group gives.",
        scope=DEVICES_READ,
        answer=Group,
        work=lambda call: call.register.fleet.show_group(call.target),
    ),
    Operation(
        name="changeGroup",
        method="patch",
        path="/groups/{id}",
        summary="Change what a group gives, from its devices' next tokens on.",
        scope=DEVICES_WRITE,
        body=GroupChange,
        answer=Group,
        work=_change,
    ),
    Operation(
        name="removeGroup",
        method="delete",
        path="/groups/{id}",
        summary="Take every device out of a group, and forget it.",
        scope=DEVICES_WRITE,
        work=lambda call: call.register.fleet.remove_group(call.target),
    ),
)
