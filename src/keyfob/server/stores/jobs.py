# SPDX-License-Identifier: Apache-2.0
"""How far a long piece of work has come, so that it goes on where it was after an interruption.

A job is written in the transactions of the work itself: what it says has been done, and nothing
beyond it. Files that belong to the work count up to the sizes that it says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from keyfob.errors import ConflictError
from keyfob.server.stores.store import Store

__all__ = ["Job", "begin_job", "find_job", "forget_done", "forget_job", "move_job", "not_done"]

_COLUMNS: Final = "key, position, count, secrets_path, secrets_size, rejects_size, finished"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A piece of work and how far it is.

    Args:
        key: Which one.
        position: Where it goes on; what that is depends on the work.
        count: How many rows are done.
        secrets_path: The file of new secrets; empty for none.
        secrets_size: How many bytes of it hold.
        rejects_size: The same of the file of rejects.
        finished: Whether its input was read to the end.
    """

    key: str
    position: str = ""
    count: int = 0
    secrets_path: str = ""
    secrets_size: int = 0
    rejects_size: int = 0
    finished: bool = False


def find_job(store: Store, key: str) -> Job | None:
    """Return a job that was begun before."""
    row = store.connection.execute(
        f"SELECT {_COLUMNS} FROM bulk_job WHERE key = ?",  # noqa: S608 - constants
        (key,),
    ).fetchone()
    if row is None:
        return None
    return Job(
        key=row[0],
        position=row[1],
        count=row[2],
        secrets_path=row[3],
        secrets_size=row[4],
        rejects_size=row[5],
        finished=bool(row[6]),
    )


def begin_job(store: Store, job: Job) -> None:
    """Write a job down, in the place of an earlier one of its key."""
    store.connection.execute(
        f"INSERT INTO bulk_job ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 - constants
        " ON CONFLICT (key) DO UPDATE SET position = excluded.position, count = excluded.count,"
        " secrets_path = excluded.secrets_path, secrets_size = excluded.secrets_size,"
        " rejects_size = excluded.rejects_size, finished = excluded.finished",
        (
            job.key,
            job.position,
            job.count,
            job.secrets_path,
            job.secrets_size,
            job.rejects_size,
            int(job.finished),
        ),
    )


def move_job(store: Store, before: Job, after: Job) -> None:
    """Say that a job went on.

    Raises:
        ConflictError: Somebody else moved it meanwhile.
    """
    if find_job(store, before.key) != before:
        raise ConflictError("somebody else works on the same; let one of the two end")
    begin_job(store, after)


def forget_job(store: Store, key: str) -> None:
    """Forget a job, so that it begins anew."""
    store.connection.execute("DELETE FROM bulk_job WHERE key = ?", (key,))


def not_done(store: Store, key: str, names: Sequence[str]) -> list[str]:
    """Return those of these names that a job was not done to yet, and note that it is now."""
    return [
        name
        for name in names
        if store.connection.execute(
            "INSERT INTO bulk_done (key, client_id) VALUES (?, ?) ON CONFLICT DO NOTHING",
            (key, name),
        ).rowcount
    ]


def forget_done(store: Store, key: str, *, limit: int) -> int:
    """Forget to whom a job was done, so many of them, and return how many they were."""
    rows = store.connection.execute(
        "SELECT client_id FROM bulk_done WHERE key = ? ORDER BY client_id LIMIT ?", (key, limit)
    ).fetchall()
    store.connection.executemany(
        "DELETE FROM bulk_done WHERE key = ? AND client_id = ?", [(key, *row) for row in rows]
    )
    return len(rows)
