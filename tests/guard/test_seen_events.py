# SPDX-License-Identifier: Apache-2.0
"""Which events were taken in is known after a restart, within bounds of number and time."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from keyfob.guard.database import Database
from keyfob.guard.seen_events import SeenEvents
from tests.guard.world import ISSUER, NOW


def take_in(seen: SeenEvents, database: Database, jti: str, until: float) -> None:
    database.commit((seen.change(ISSUER, jti, until),)).result()
    seen.add(ISSUER, jti, until)


def rows(path: Path) -> set[str]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return {jti for (jti,) in connection.execute("SELECT jti FROM event")}


def test_what_was_taken_in_is_known_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "guard.db"
    with Database.open(path) as database:
        seen = SeenEvents(database)
        take_in(seen, database, "a", NOW + 9)
        assert (ISSUER, "a") in seen
        assert (ISSUER, "b") not in seen
        assert ("https://elsewhere.example", "a") not in seen
    with Database.open(path) as database:
        assert (ISSUER, "a") in SeenEvents(database)


def test_it_is_forgotten_when_it_cannot_matter_any_more(tmp_path: Path) -> None:
    with Database.open(tmp_path / "guard.db") as database:
        seen = SeenEvents(database)
        for jti, until in (("a", NOW + 1), ("b", NOW + 2), ("c", NOW + 3)):
            take_in(seen, database, jti, until)
        seen.purge(NOW + 2)
        assert [(ISSUER, jti) in seen for jti in "abc"] == [False, False, True]
        database.flush()
        assert rows(tmp_path / "guard.db") == {"c"}


def test_of_too_many_the_first_to_come_are_forgotten(tmp_path: Path) -> None:
    with Database.open(tmp_path / "guard.db") as database:
        seen = SeenEvents(database, size=2)
        for jti in "abcd":
            take_in(seen, database, jti, NOW + 9)
        assert len(seen) == 2
        assert [(ISSUER, jti) in seen for jti in "abcd"] == [False, False, True, True]
        database.flush()
        assert rows(tmp_path / "guard.db") == {"c", "d"}


def test_without_a_file_it_is_known_while_the_process_lives() -> None:
    seen = SeenEvents(size=1)
    for jti in "ab":
        seen.add(ISSUER, jti, NOW + 9)
    assert (ISSUER, "b") in seen
    seen.purge(NOW + 9)
    assert len(seen) == 0
