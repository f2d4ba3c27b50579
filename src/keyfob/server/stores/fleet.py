# SPDX-License-Identifier: Apache-2.0
"""The fleet in the register: groups, pages of devices, many devices at once."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeVar

from keyfob.server.client_metadata import (
    NO_METADATA,
    ClientMetadata,
    metadata_text,
    read_metadata,
)
from keyfob.server.clients import KIND_GRANTS, ClientKind
from keyfob.server.groups import Group
from keyfob.server.stores.placing import labels_text, read_labels, set_groups
from keyfob.server.stores.store import Store

__all__ = [
    "DeviceRow",
    "NewDevice",
    "Selection",
    "State",
    "delete_group",
    "device_page",
    "group_names",
    "group_page",
    "group_row",
    "insert_devices",
    "known_clients",
    "leave_group",
    "page_query",
    "put_group",
]

_T = TypeVar("_T")

State = Literal["pending", "active", "disabled"]
_DEVICE: Final = str(ClientKind.DEVICE)
_GRANTS: Final = " ".join(KIND_GRANTS[ClientKind.DEVICE])
_GROUP: Final = "SELECT name, publish, subscribe, scopes, lifetime, created_at FROM device_group "
_STATE: Final = (
    "CASE WHEN client.disabled_at IS NOT NULL THEN 'disabled'"
    " WHEN client.pending = 1 THEN 'pending' ELSE 'active' END"
)
_COLUMNS: Final = (
    "client.client_id, client.scopes, client.lifetime, client.disabled_at, client.pending,"
    " client.created_at, client.last_token_at, client.secret_hash IS NOT NULL, client.jwks,"
    " client.group_names, client.labels, client.metadata"
)
# Rows of one statement: SQLite takes 32,766 values in one, and little is gained beyond this.
_AT_ONCE: Final = 250


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
    """A device as it is kept, with what it is in and what is noted about it; without its secret."""

    device_id: str
    scopes: tuple[str, ...]
    lifetime: int | None
    state: State
    created_at: float
    last_token_at: float | None
    has_secret: bool
    jwks: str | None
    groups: tuple[str, ...]
    labels: Mapping[str, str]
    metadata: ClientMetadata


@dataclass(slots=True, kw_only=True)
class NewDevice:
    """A device that is about to be registered; everything about it has been checked.

    Args:
        device_id: Its name.
        secret_hash: Of its secret; None where it has keys or a certificate instead.
        jwks: Its public keys, from ``client_keys.client_jwks``; None without.
        metadata: What else it is registered with, its certificate among it.
        scopes: Separated by spaces.
        lifetime: Seconds its tokens live; None for its groups' or the server's.
        state: Whether it gets tokens.
        groups: Which groups it is in, sorted.
        labels: What is noted about it.
    """

    device_id: str
    secret_hash: str | None = field(repr=False)
    jwks: str | None = None
    metadata: ClientMetadata = NO_METADATA
    scopes: str
    lifetime: int | None
    state: State
    groups: Sequence[str]
    labels: Mapping[str, str]

    @property
    def has_credentials(self) -> bool:
        """Whether it has anything to authenticate with."""
        return bool(self.secret_hash or self.jwks or self.metadata.certificate)


# Groups


def group_row(store: Store, name: str) -> Group | None:
    """Return a group by name."""
    row = store.connection.execute(_GROUP + "WHERE name = ?", (name,)).fetchone()
    return None if row is None else _group(row)


def group_page(store: Store, *, after: str, limit: int) -> tuple[Group, ...]:
    """Return the groups that follow a name, by name."""
    query = _GROUP + "WHERE name > ? ORDER BY name LIMIT ?"
    return tuple(map(_group, store.connection.execute(query, (after, limit))))


def group_names(store: Store) -> set[str]:
    """Return the name of every group."""
    return {name for (name,) in store.connection.execute("SELECT name FROM device_group")}


def put_group(store: Store, group: Group) -> None:
    """Add a group, or put it in the place of the one of this name."""
    store.connection.execute(
        "INSERT INTO device_group (name, publish, subscribe, scopes, lifetime, created_at)"
        " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET"
        " publish = excluded.publish, subscribe = excluded.subscribe, scopes = excluded.scopes,"
        " lifetime = excluded.lifetime",
        (
            group.name,
            *map(json.dumps, (group.publish, group.subscribe, group.scopes)),
            group.lifetime,
            group.created_at,
        ),
    )


def delete_group(store: Store, name: str) -> None:
    """Forget a group."""
    store.connection.execute("DELETE FROM device_group WHERE name = ?", (name,))


def leave_group(store: Store, name: str, *, limit: int) -> int:
    """Take so many devices out of a group, and return how many they were."""
    rows = store.connection.execute(
        "SELECT membership.client_id, client.group_names FROM membership"
        " JOIN client ON client.client_id = membership.client_id"
        " WHERE membership.group_name = ? ORDER BY membership.client_id LIMIT ?",
        (name, limit),
    ).fetchall()
    for client_id, names in rows:
        others = [each for each in names.split() if each != name]
        set_groups(store.connection, client_id, others)
    return len(rows)


# Many devices


def page_query(
    selection: Selection, *, after: str, limit: int
) -> tuple[str, tuple[str | int, ...]]:
    """Return what asks for a page, and its parameters; see ``device_page``."""
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
                "EXISTS (SELECT 1 FROM label AS l WHERE l.key = ? AND l.value = ?"
                " AND l.client_id = m.client_id)"
            )
        else:
            source, order = "label AS l CROSS JOIN client", "l.client_id"
            conditions += ["l.key = ?", "l.value = ?", "client.client_id = l.client_id"]
        parameters += selection.label
    if selection.state is not None:
        conditions.append(f"{_STATE} = ?")
        parameters.append(selection.state)
    conditions.append(f"{order} > ?")
    query = (
        f"SELECT {_COLUMNS} FROM {source} WHERE {' AND '.join(conditions)}"  # noqa: S608 - constants
        f" ORDER BY {order} LIMIT ?"
    )
    return query, (*parameters, after, limit)


def device_page(
    store: Store, selection: Selection, *, after: str, limit: int
) -> tuple[DeviceRow, ...]:
    """Return the next devices of a selection, by name.

    A group or a label is found by its index, so a page costs what is on it; a state is looked for.

    Args:
        store: The register.
        selection: Which ones.
        after: The name before the first; empty for the beginning.
        limit: How many at most.
    """
    query, parameters = page_query(selection, after=after, limit=limit)
    return tuple(map(_device, store.connection.execute(query, parameters)))


def known_clients(store: Store, names: Sequence[str]) -> dict[str, str]:
    """Return those of these names that are registered, each with its kind."""
    found: dict[str, str] = {}
    for some in _some(names):
        rows = store.connection.execute(
            f"SELECT client_id, kind FROM client WHERE client_id IN ({', '.join('?' * len(some))})",  # noqa: S608
            some,
        )
        found.update(rows.fetchall())
    return found


def insert_devices(store: Store, devices: Sequence[NewDevice], *, now: float) -> None:
    """Register devices whose names are free."""
    _insert(
        store,
        "client (client_id, kind, secret_hash, grants, scopes, lifetime, created_at, disabled_at,"
        " pending, jwks, metadata, group_names, labels)",
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
                1 if each.state == "pending" else 0,
                each.jwks,
                metadata_text(each.metadata),
                " ".join(each.groups),
                labels_text(each.labels),
            )
            for each in devices
        ],
    )
    _insert(
        store,
        "membership (group_name, client_id)",
        [(group, each.device_id) for each in devices for group in each.groups],
    )
    _insert(
        store,
        "label (key, value, client_id)",
        [(*label, each.device_id) for each in devices for label in each.labels.items()],
    )


def _insert(store: Store, into: str, rows: Sequence[tuple[object, ...]]) -> None:
    """Insert many rows at once: a statement for each costs half as much again."""
    for some in _some(rows):
        row = f"({', '.join('?' * len(some[0]))})"
        store.connection.execute(
            f"INSERT INTO {into} VALUES {', '.join([row] * len(some))}",  # noqa: S608 - constants
            tuple(itertools.chain.from_iterable(some)),
        )


def _some(rows: Sequence[_T]) -> Iterator[Sequence[_T]]:
    return (rows[start : start + _AT_ONCE] for start in range(0, len(rows), _AT_ONCE))


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
        state="disabled" if row[3] is not None else "pending" if row[4] else "active",
        created_at=row[5],
        last_token_at=row[6],
        has_secret=bool(row[7]),
        jwks=row[8],
        groups=tuple(row[9].split()),
        labels=read_labels(row[10]),
        metadata=read_metadata(row[11]),
    )
