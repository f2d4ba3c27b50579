# SPDX-License-Identifier: Apache-2.0
"""Placeholders are translated, and nothing else of a statement is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keyfob.server.stores.place import PostgresqlUrl
from keyfob.server.stores.postgresql.statements import translated
from keyfob.server.stores.store import Store, open_store


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT ?, ? FROM a", "SELECT %s, %s FROM a"),
        ("SELECT :one + :two_2", "SELECT %(one)s + %(two_2)s"),
        ("SELECT ':no', '?', 'it''s ?' WHERE a = ?", "SELECT ':no', '?', 'it''s ?' WHERE a = %s"),
        ('SELECT "odd:name?" FROM a', 'SELECT "odd:name?" FROM a'),
        ("SELECT a::text, :b::bytea", "SELECT a::text, %(b)s::bytea"),
        ("SELECT 5 % 3 WHERE a LIKE 'x%'", "SELECT 5 %% 3 WHERE a LIKE 'x%%'"),
        ("SELECT 1 -- what? :this\n, ?", "SELECT 1 -- what? :this\n, %s"),
        ("SELECT 1 /* ? :x % */, ?", "SELECT 1 /* ? :x %% */, %s"),
    ],
)
def test_a_placeholder_is_translated_and_what_is_quoted_stays(sql: str, expected: str) -> None:
    assert translated(sql) == expected.encode()


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path, url: PostgresqlUrl) -> Iterator[Store]:
    store = open_store(tmp_path / "x.db" if request.param == "sqlite" else url)
    yield store
    store.close()


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=50)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=TEXTS, number=st.integers(0, 2**63 - 1))
def test_what_is_written_is_read_as_it_was_by_both(store: Store, text: str, number: int) -> None:
    with store.transaction():
        store.connection.execute("DELETE FROM refresh_family")
        store.connection.execute(
            "INSERT INTO refresh_family (family_id, client_id, subject, scopes, family_key,"
            " counter, digest, previous, rotated_at, expires_at, ends_at)"
            " VALUES (:key, :text, :text, '%?', :key, :number, :key, NULL, :at, :at, :at)",
            {"key": text.encode(), "text": text, "number": number, "at": number / 2**30},
        )
    row = store.connection.execute(
        "SELECT family_key, subject, counter, previous, rotated_at, scopes, ended"
        " FROM refresh_family WHERE client_id = ?",
        (text,),
    ).fetchone()
    assert row == (text.encode(), text, number, None, number / 2**30, "%?", "")


def test_a_question_with_a_nul_finds_nothing_and_is_no_failure(store: Store) -> None:
    assert store.client("dev\0ice") is None


def test_truth_values_are_numbers(store: Store) -> None:
    with store.transaction():
        store.note_tokens({})
        store.connection.execute("INSERT INTO probe (id, at) VALUES (?, ?)", (True, False))
    assert store.connection.execute("SELECT id, at FROM probe").fetchone() == (1, 0.0)
