# SPDX-License-Identifier: Apache-2.0
"""A revocation holds at once, for all that it concerns, until it cannot matter any more."""

from __future__ import annotations

import contextlib
import math
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfob.errors import ConfigError, UpstreamError
from keyfob.guard import revocations as module
from keyfob.guard.database import Database
from keyfob.guard.revocations import FeedPosition, Revocation, RevocationStore
from tests.guard.world import ISSUER, NOW, guard

pytestmark = pytest.mark.anyio


def revocation(**changes: Any) -> Revocation:
    values: dict[str, Any] = {"issuer": ISSUER, "until": NOW + 3600}
    return Revocation(**{**values, **changes})


def token(**changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "issuer": ISSUER,
        "subject": "dev1",
        "client": "app",
        "token_id": "jti1",
        "issued_at": NOW,
    }
    return {**values, **changes}


@pytest.mark.parametrize(
    ("names", "fits", "does_not"),
    [
        ({"subject": "dev1"}, {}, {"subject": "dev2"}),
        ({"client_id": "app"}, {"subject": "dev2"}, {"client": "other"}),
        ({"client_id": "app"}, {"client": None}, {"client": ""}),
        ({"token_id": "jti1"}, {"issued_at": None}, {"token_id": "jti2"}),
        ({"token_id": "jti1"}, {}, {"token_id": ""}),
        ({"subject": "dev1", "token_id": "jti1"}, {}, {"subject": "dev2"}),
        ({"subject": "dev1", "client_id": "app"}, {}, {"client": "other"}),
        ({"subject": "dev1", "client_id": "app"}, {"client": None}, {"subject": "dev2"}),
        ({"issued_before": NOW}, {"issued_at": NOW}, {"issued_at": NOW + 1}),
        ({"issued_before": NOW}, {"issued_at": None}, {"issuer": "https://other.example"}),
        ({"subject": "dev1", "issued_before": NOW}, {"issued_at": NOW - 1}, {"issued_at": NOW + 1}),
    ],
)
def test_a_token_is_concerned_if_it_fits_everything_given(
    names: dict[str, Any], fits: dict[str, Any], does_not: dict[str, Any]
) -> None:
    given_one = revocation(**names)
    store = RevocationStore()
    store.learn([given_one])
    assert given_one.concerns(**token(**fits))
    assert store.find(**token(**fits)) == given_one
    assert not given_one.concerns(**token(**does_not))
    assert store.find(**token(**does_not)) is None


@pytest.mark.parametrize(
    "names",
    [
        {},
        {"subject": ""},
        {"client_id": ""},
        {"token_id": ""},
        {"issuer": "", "subject": "dev1"},
        {"subject": "\ud800"},
        {"subject": "dev1", "until": math.nan},
        {"subject": "dev1", "until": math.inf},
        {"subject": "dev1", "issued_before": math.nan},
    ],
)
def test_a_revocation_that_cannot_be_meant_or_stored_is_none(names: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"revocation|surrogates"):
        revocation(**names)


names = st.none() | st.sampled_from(["x", "y"])
any_revocation = st.builds(
    Revocation,
    issuer=st.sampled_from([ISSUER, "https://b.example"]),
    subject=names,
    client_id=names,
    token_id=names,
    issued_before=st.floats(0, 10),
    until=st.floats(0, 10),
)
any_token = st.fixed_dictionaries(
    {
        "issuer": st.sampled_from([ISSUER, "https://b.example"]),
        "subject": st.sampled_from(["x", "y", "z"]),
        "client": st.none() | st.sampled_from(["x", "y", ""]),
        "token_id": st.sampled_from(["x", "y", ""]),
        "issued_at": st.none() | st.floats(0, 10),
    }
)


@given(st.lists(any_revocation, max_size=8), any_token)
def test_the_index_finds_exactly_what_a_search_finds(
    known: list[Revocation], asked: dict[str, Any]
) -> None:
    store = RevocationStore()
    store.learn(known)
    assert (store.find(**asked) is not None) == any(each.concerns(**asked) for each in known)


@given(st.lists(any_revocation, max_size=8), any_token, st.floats(0, 10))
def test_purging_forgets_exactly_what_is_over(
    known: list[Revocation], asked: dict[str, Any], now: float
) -> None:
    store = RevocationStore()
    store.learn(known)
    store.purge(now)
    lasting = [each for each in known if each.until > now]
    found = store.find(**asked)
    # What several revocations of the same tokens say together may last longer, never shorter.
    if any(each.concerns(**asked) for each in lasting):
        assert found is not None
    if not any(each.concerns(**asked) for each in known):
        assert found is None
    if not lasting:
        assert len(store) == 0


def test_learning_tells_what_is_new() -> None:
    store = RevocationStore()
    first = revocation(subject="dev1", issued_before=NOW)
    assert store.learn([first]) == (first,)
    assert store.learn([first]) == ()
    older = revocation(subject="dev1", issued_before=NOW - 5, until=NOW)
    assert store.learn([older]) == ()
    newer = revocation(subject="dev1", issued_before=NOW + 5)
    assert store.learn([newer]) == (newer,)
    assert len(store) == 1


def test_too_many_are_refused_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_REVOCATIONS", 3)
    store = RevocationStore()
    store.learn([revocation(subject="a"), revocation(subject="b")])
    with pytest.raises(UpstreamError):
        store.learn([revocation(subject="c"), revocation(subject="d")])
    assert len(store) == 2


async def test_saved_ones_are_there_after_a_restart_with_the_cursor(tmp_path: Path) -> None:
    path = tmp_path / "guard.db"
    known = {
        revocation(subject="dev1", issued_before=NOW + 0.25),
        revocation(client_id="app"),
        revocation(token_id="jti"),
    }
    with Database.open(path) as database:
        store = RevocationStore(database)
        store.learn(tuple(known))
        await store.save(FeedPosition(issuer=ISSUER, cursor=2**52))
        assert store.cursors == {ISSUER: 2**52}
    with Database.open(path) as database:
        again = RevocationStore(database)
        assert set(again) == known
        assert again.cursors == {ISSUER: 2**52}
        assert again.find(**token(subject="dev1")) is not None


async def test_a_save_that_failed_is_made_good_by_the_next(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is known in memory must not pass for stored."""
    store = RevocationStore(database)
    store.learn([revocation(subject="dev1")])
    monkeypatch.setattr(module, "_store_position", lambda _: _broken)
    with pytest.raises(sqlite3.IntegrityError):
        await store.save(FeedPosition(issuer=ISSUER, cursor=1))
    monkeypatch.undo()
    assert list(database.rows("SELECT * FROM revocation")) == []
    assert store.cursors == {}
    assert store.learn([revocation(subject="dev1")]) == ()
    await store.save()
    assert len(list(database.rows("SELECT * FROM revocation"))) == 1


def _broken(connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO feed VALUES (NULL, NULL)")


async def test_a_purge_reaches_the_file(tmp_path: Path) -> None:
    path = tmp_path / "guard.db"
    with Database.open(path) as database:
        store = RevocationStore(database)
        store.learn([revocation(subject="a", until=NOW), revocation(subject="b", until=NOW + 1)])
        await store.save()
        assert store.purge(NOW) == 1
        assert store.purge(NOW) == 0
    with Database.open(path) as database:
        assert [each.subject for each in RevocationStore(database)] == ["b"]


async def test_a_purged_one_may_come_again(database: Database) -> None:
    store = RevocationStore(database)
    store.learn([revocation(subject="a", until=NOW)])
    await store.save()
    store.purge(NOW)
    store.learn([revocation(subject="a", until=NOW + 5)])
    await store.save()
    assert len(list(database.rows("SELECT * FROM revocation"))) == 1


def test_a_damaged_row_is_told_and_not_guessed(database: Database) -> None:
    row = "INSERT INTO revocation VALUES ('https://as.example', '', '', '', NULL, 1.0)"
    database.commit([lambda connection: connection.execute(row)]).result()
    with pytest.raises(ConfigError, match="damaged revocation"):
        RevocationStore(database)


async def test_what_belongs_to_a_revocation_is_written_in_its_transaction_or_not_at_all(
    database: Database, tmp_path: Path
) -> None:
    def note(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO event VALUES ('i', 'j', 1.0)")

    def held() -> Any:
        with contextlib.closing(sqlite3.connect(tmp_path / "guard.db")) as connection:
            counted = "SELECT (SELECT count(*) FROM revocation), (SELECT count(*) FROM event)"
            return connection.execute(counted).fetchone()

    full = [sqlite3.OperationalError("database or disk is full")]

    def refuses_once(connection: sqlite3.Connection) -> None:
        note(connection)
        if full:
            raise full.pop()

    keeper = guard(revocations=RevocationStore(database))
    meant = Revocation(issuer=ISSUER, subject="dev1", issued_before=NOW, until=NOW + 9)
    with pytest.raises(sqlite3.OperationalError):
        await keeper.revoke(meant, also=(refuses_once,))
    assert held() == (0, 0)
    await keeper.revoke(meant, also=(note,))
    assert held() == (1, 1)
