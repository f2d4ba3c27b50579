# SPDX-License-Identifier: Apache-2.0
"""The lines of the administrative trail."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from keyfob.server.stores.connection import Connection

__all__ = ["DONE", "AdminAction", "insert_action", "last_actions"]

DONE: Final = "done"


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminAction:
    """One change of the register, or one that was refused.

    Args:
        at: When, in Unix seconds.
        actor: Who: the operating system's user, or who an API knows.
        action: What, such as ``device.disable``.
        subject: To which client; ``?`` where what was given is no name.
        result: ``done``, or the code of the error.
        detail: What else there is to say; mostly empty.
    """

    at: float
    actor: str
    action: str
    subject: str
    result: str
    detail: str = ""


def insert_action(connection: Connection, line: AdminAction) -> None:
    """Add a line, in the transaction that is going on."""
    connection.execute(
        "INSERT INTO admin_action (at, actor, action, subject, result, detail)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (line.at, line.actor, line.action, line.subject, line.result, line.detail),
    )


def last_actions(
    connection: Connection, *, limit: int, subject: str = ""
) -> tuple[AdminAction, ...]:
    """Return the last lines, oldest first; of one client where a subject is given."""
    rows = connection.execute(
        "SELECT at, actor, action, subject, result, detail FROM admin_action"
        " WHERE subject = :subject OR :subject = '' ORDER BY id DESC LIMIT :last",
        {"subject": subject, "last": limit},
    ).fetchall()
    return tuple(
        AdminAction(
            at=row[0], actor=row[1], action=row[2], subject=row[3], result=row[4], detail=row[5]
        )
        for row in reversed(rows)
    )
