# SPDX-License-Identifier: Apache-2.0
"""The fleet in SQLite: groups, who is in them, labels, pages of devices, many devices at once."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from keyfob.server.clients import KIND_GRANTS, ClientKind
from keyfob.server.groups import Group
from keyfob.server.stores.sqlite import SqliteStore

__all__ = [
    "DeviceRow",
    "NewDevice",
    "Selection",
    "State",
    "delete_group",
    "device_page",
    "group_row",
    "group_rows",
    "insert_devices",
    "known_clients",
    "labels_of",
    "leave_group",
    "put_group",
    "set_groups",
    "set_labels",
]

State = Literal["pending", "active", "disabled"]
_DEVICE: Final = str(ClientKind.DEVICE)
_GRANTS: Final = " ".join(KIND_GRANTS[ClientKind.DEVICE])
_GROUP: Final = "SELECT name, publish, subscribe, scopes, lifetime, created_at FROM device_group "
_STATE: Final = (
    "iif(client.disabled_at IS NOT NULL, 'disabled', iif(client.pending, 'pending', 'active'))"
)
_PAGE: Final = f"""
SELECT client.client_id, client.scopes, client.lifetime, {_STATE}, client.created_at,
       client.last_token_at,
       (SELECT group_concat(group_name, ' ') FROM membership AS its
        WHERE its.client_id = client.client_id),
       (SELECT json_group_object(key, value) FROM label AS its
        WHERE its.client_id = client.client_id)
FROM """  # noqa: S608 - constants


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which devices; what is not said selects all.

    Args:
        group: Those in this group.
        label: Those with this key and value.
        state: Those in this state.
    """

    group: str = ""
    label: tuple[str, str] | None = None
    state: State | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRow:
    """A device as it is kept, with what it is in and what is noted about it."""

    device_id: str
    scopes: tuple[str, ...]
    lifetime: int | None
    state: State
    created_at: float
    last_token_at: float | None
    groups: tuple[str, ...]
    labels: Mapping[str, str]


@dataclass(slots=True, kw_only=True)
class NewDevice:
    """A device that is about to be registered; everything about it has been checked.

    Args:
        device_id: Its name.
        secret: What was made for it; empty where it was given.
        secret_hash: Of its secret.
        scopes: Separated by spaces.
        lifetime: Seconds its tokens live; None for its groups' or the server's.
        state: Whether it gets tokens.
        groups: Which groups it is in.
        labels: What is noted about it.
    """

    device_id: str
    secret: str = field(repr=False)
    secret_hash: str = field(repr=False)
    scopes: str
    lifetime: int | None
    state: State
    groups: Sequence[str]
    labels: Mapping[str, str]


# Groups


def group_row(store: SqliteStore, name: str) -> Group | None:
    """Return a group by name."""
    row = store.connection.execute(_GROUP + "WHERE name = ?", (name,)).fetchone()
    return None if row is None else _group(row)


def group_rows(store: SqliteStore) -> tuple[Group, ...]:
    """Return every group, by name."""
    return tuple(map(_group, store.connection.execute(_GROUP + "ORDER BY name")))


def put_group(store: SqliteStore, group: Group) -> None:
    """Add a group, or put it in the place of the one of this name."""
    store.connection.execute(
        "INSERT OR REPLACE INTO device_group"
        " (name, publish, subscribe, scopes, lifetime, created_at) VALUES (?, ?, ?, ?, ?, ?)",
        (
            group.name,
            *map(json.dumps, (group.publish, group.subscribe, group.scopes)),
            group.lifetime,
            group.created_at,
        ),
    )


def delete_group(store: SqliteStore, name: str) -> None:
    """Forget a group."""
    store.connection.execute("DELETE FROM device_group WHERE name = ?", (name,))


def leave_group(store: SqliteStore, name: str, *, limit: int) -> int:
    """Take so many devices out of a group, and return how many they were."""
    return store.connection.execute(
        "DELETE FROM membership WHERE group_name = ?1 AND client_id IN"
        " (SELECT client_id FROM membership WHERE group_name = ?1 LIMIT ?2)",
        (name, limit),
    ).rowcount


def set_groups(store: SqliteStore, client_id: str, groups: Iterable[str]) -> None:
    """Say which groups a device is in, and that it is in no other."""
    store.connection.execute("DELETE FROM membership WHERE client_id = ?", (client_id,))
    store.connection.executemany(
        "INSERT INTO membership (client_id, group_name) VALUES (?, ?)",
        [(client_id, group) for group in groups],
    )


# Labels


def labels_of(store: SqliteStore, client_id: str) -> dict[str, str]:
    """Return the labels of a device."""
    rows = store.connection.execute(
        "SELECT key, value FROM label WHERE client_id = ? ORDER BY key", (client_id,)
    )
    return dict(rows.fetchall())


def set_labels(store: SqliteStore, client_id: str, labels: Mapping[str, str]) -> None:
    """Say what the labels of a device are, and that it has no other."""
    store.connection.execute("DELETE FROM label WHERE client_id = ?", (client_id,))
    store.connection.executemany(
        "INSERT INTO label (client_id, key, value) VALUES (?, ?, ?)",
        [(client_id, key, value) for key, value in labels.items()],
    )


# Many devices


def device_page(
    store: SqliteStore, selection: Selection, *, after: str, limit: int
) -> tuple[DeviceRow, ...]:
    """Return the next devices of a selection, by name.

    A group or a label is found by its index, so a page costs what is on it; a state is looked for.

    Args:
        store: The register.
        selection: Which ones.
        after: The name before the first; empty for the beginning.
        limit: How many at most.
    """
    source, conditions, parameters = "client", ["client.kind = ?"], [_DEVICE]
    order = "client.client_id"
    if selection.group:
        # CROSS JOIN keeps SQLite at this order: the group's index first.
        source, order = "membership AS m CROSS JOIN client", "m.client_id"
        conditions += ["m.group_name = ?", "client.client_id = m.client_id"]
        parameters.append(selection.group)
    if selection.label is not None:
        if selection.group:
            conditions.append(
                "EXISTS (SELECT 1 FROM label AS l WHERE l.client_id = m.client_id"
                " AND l.key = ? AND l.value = ?)"
            )
        else:
            source, order = "label AS l CROSS JOIN client", "l.client_id"
            conditions += ["l.key = ?", "l.value = ?", "client.client_id = l.client_id"]
        parameters += selection.label
    if selection.state is not None:
        conditions.append(f"{_STATE} = ?")
        parameters.append(selection.state)
    conditions.append(f"{order} > ?")
    rows = store.connection.execute(
        f"{_PAGE}{source} WHERE {' AND '.join(conditions)} ORDER BY {order} LIMIT ?",
        (*parameters, after, limit),
    )
    return tuple(map(_device, rows))


def known_clients(store: SqliteStore, names: Sequence[str]) -> dict[str, str]:
    """Return those of these names that are registered, each with its kind."""
    rows = store.connection.execute(
        "SELECT client_id, kind FROM json_each(?) CROSS JOIN client ON client_id = value",
        (json.dumps(names),),
    )
    return dict(rows.fetchall())


def insert_devices(store: SqliteStore, devices: Sequence[NewDevice], *, now: float) -> None:
    """Register devices whose names are free."""
    execute = store.connection.executemany
    execute(
        "INSERT INTO client (client_id, kind, secret_hash, grants, scopes, lifetime, created_at,"
        " disabled_at, pending) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                each.device_id,
                _DEVICE,
                each.secret_hash,
                _GRANTS,
                each.scopes,
                each.lifetime,
                now,
                now if each.state == "disabled" else None,
                each.state == "pending",
            )
            for each in devices
        ],
    )
    execute(
        "INSERT INTO membership (client_id, group_name) VALUES (?, ?)",
        [(each.device_id, group) for each in devices for group in each.groups],
    )
    execute(
        "INSERT INTO label (client_id, key, value) VALUES (?, ?, ?)",
        [(each.device_id, *label) for each in devices for label in each.labels.items()],
    )


def _group(row: tuple[Any, ...]) -> Group:
    publish, subscribe, scopes = (tuple(json.loads(text)) for text in row[1:4])
    return Group(
        name=row[0],
        publish=publish,
        subscribe=subscribe,
        scopes=scopes,
        lifetime=row[4],
        created_at=row[5],
    )


def _device(row: tuple[Any, ...]) -> DeviceRow:
    return DeviceRow(
        device_id=row[0],
        scopes=tuple(row[1].split()),
        lifetime=row[2],
        state=row[3],
        created_at=row[4],
        last_token_at=row[5],
        groups=tuple(sorted(row[6].split())) if row[6] else (),
        labels=dict(sorted(json.loads(row[7]).items())),
    )
