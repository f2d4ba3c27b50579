# SPDX-License-Identifier: Apache-2.0
"""Which groups a device is in and which labels it has: read with it, found by an index of each.

What stands in the device's own row is what counts. The tables ``membership`` and ``label`` say the
same the other way round, so that a group's devices are found; both are written together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from keyfob.server.stores.connection import Connection

__all__ = ["labels_of", "labels_text", "read_labels", "set_groups", "set_labels"]

_LABELS: Final = msgspec.json.Decoder(dict[str, str])


def labels_text(labels: Mapping[str, str]) -> str:
    """Return what the register keeps."""
    return msgspec.json.encode(labels, order="sorted").decode() if labels else "{}"


def read_labels(text: str) -> dict[str, str]:
    """Return what ``labels_text`` wrote."""
    return {} if text == "{}" else _LABELS.decode(text)


def labels_of(connection: Connection, client_id: str) -> dict[str, str]:
    """Return the labels of a device; nobody has none."""
    row = connection.execute(
        "SELECT labels FROM client WHERE client_id = ?", (client_id,)
    ).fetchone()
    return {} if row is None else read_labels(row[0])


def set_groups(connection: Connection, client_id: str, groups: Iterable[str]) -> None:
    """Say which groups a device is in, and that it is in no other; in a transaction."""
    row = connection.execute(
        "SELECT group_names FROM client WHERE client_id = ?", (client_id,)
    ).fetchone()
    before, names = set(row[0].split() if row else ()), sorted(set(groups))
    if before == set(names):
        return
    connection.executemany(
        "DELETE FROM membership WHERE group_name = ? AND client_id = ?",
        [(name, client_id) for name in sorted(before.difference(names))],
    )
    connection.executemany(
        "INSERT INTO membership (group_name, client_id) VALUES (?, ?)",
        [(name, client_id) for name in names if name not in before],
    )
    connection.execute(
        "UPDATE client SET group_names = ? WHERE client_id = ?", (" ".join(names), client_id)
    )


def set_labels(connection: Connection, client_id: str, labels: Mapping[str, str]) -> None:
    """Say what the labels of a device are, and that it has no other; in a transaction."""
    before = labels_of(connection, client_id)
    if before == labels:
        return
    connection.executemany(
        "DELETE FROM label WHERE key = ? AND value = ? AND client_id = ?",
        [(*pair, client_id) for pair in before.items() if pair not in labels.items()],
    )
    connection.executemany(
        "INSERT INTO label (key, value, client_id) VALUES (?, ?, ?)",
        [(*pair, client_id) for pair in labels.items() if pair not in before.items()],
    )
    connection.execute(
        "UPDATE client SET labels = ? WHERE client_id = ?", (labels_text(labels), client_id)
    )
