# SPDX-License-Identifier: Apache-2.0
"""Who changed what in the register: one line for each try, committed with what it tells of.

An action that is done has its line in the same transaction: neither is ever on the disk without
the other. One that is refused changed nothing, and its line says why; where even that cannot be
written, the register could not be changed either.
"""

from __future__ import annotations

import os
import pwd
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Final

from keyfob.errors import KeyfobError, UpstreamError
from keyfob.server.names import shown_name
from keyfob.server.stores.admin_actions import DONE, AdminAction, insert_action
from keyfob.server.stores.store import Store

__all__ = ["note_done", "os_user", "recorded", "recorded_when_refused"]

_USER: Final = re.compile(r"[A-Za-z0-9_.@\\$-]{1,64}", re.ASCII)

_KID: Final = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)  # RFC 7638 with SHA-256


def os_user() -> str:
    """Return who runs this process, and for whom where ``sudo`` says so."""
    number = os.getuid()
    try:
        name = pwd.getpwuid(number).pw_name
    except KeyError:  # in a container there need not be one
        name = f"uid {number}"
    asked_by = os.environ.get("SUDO_USER", "")
    # Only of root: anybody else could say so of himself, as root could not be stopped from.
    if number == 0 and _USER.fullmatch(asked_by):
        return f"{name} (sudo by {asked_by})"
    return name


@contextmanager
def recorded(
    store: Store, action: str, subject: str, *, actor: str, clock: Callable[[], float]
) -> Iterator[None]:
    """Write down what is done inside: with its first transaction, or why it was refused.

    Args:
        store: The register.
        action: What is done, such as ``device.disable``.
        subject: To whom: a client or a signing key; shown as ``?`` where it is neither's name.
        actor: Who does it.
        clock: Unix seconds.
    """
    shown = subject if _KID.fullmatch(subject) else shown_name(subject)
    line = AdminAction(at=clock(), actor=actor, action=action, subject=shown, result=DONE)
    try:
        with store.before_commit(lambda: insert_action(store.connection, line)):
            yield
    except KeyfobError as error:
        _note_refusal(store, line, error)
        raise


@contextmanager
def recorded_when_refused(
    store: Store, action: str, *, actor: str, clock: Callable[[], float]
) -> Iterator[None]:
    """Write down why something was refused that is done in many transactions.

    Each of these writes the lines of what it did; see ``note_done``.
    """
    line = AdminAction(at=clock(), actor=actor, action=action, subject="?", result=DONE)
    try:
        yield
    except KeyfobError as error:
        _note_refusal(store, line, error)
        raise


def note_done(
    store: Store, action: str, subjects: Iterable[str], *, actor: str, now: float
) -> None:
    """Add a line for each of many, in the transaction in which it was done to them.

    Args:
        store: The register.
        action: What was done.
        subjects: To whom: names, or how many they were, which no name looks like.
        actor: Who did it.
        now: When, in Unix seconds.
    """
    for subject in subjects:
        insert_action(
            store.connection,
            AdminAction(at=now, actor=actor, action=action, subject=subject, result=DONE),
        )


def _note_refusal(store: Store, line: AdminAction, error: KeyfobError) -> None:
    with suppress(UpstreamError, sqlite3.Error), store.transaction():
        insert_action(store.connection, replace(line, result=error.code))
