# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL's schema: the same as SQLite's to the store classes, all of it or nothing."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from keyfob.errors import ConfigError
from keyfob.server.app import create_app
from keyfob.server.settings import ServerSettings
from keyfob.server.stores.migrating import check_migrations, run_migrations
from keyfob.server.stores.place import PostgresqlUrl
from keyfob.server.stores.postgresql.database import postgresql_schema
from keyfob.server.stores.schema import Migration, bring, migrations
from keyfob.server.stores.store import open_store
from tests.server.databases import rows
from tests.server.world import ISSUER

NAMES = tuple(migration.name for migration in migrations("postgresql"))


def test_both_have_the_same_migrations() -> None:
    assert tuple(migration.name for migration in migrations()) == NAMES


def test_both_have_the_same_tables_and_columns(url: PostgresqlUrl, tmp_path: Path) -> None:
    open_store(tmp_path / "x.db").close()
    connection = sqlite3.connect(tmp_path / "x.db")
    theirs = {
        table: [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
        for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        if not table.startswith("sqlite_")
    }
    connection.close()
    ours: dict[str, list[str]] = {}
    for table, column in rows(
        url,
        "SELECT table_name, column_name FROM information_schema.columns"
        " WHERE table_schema = 'public' ORDER BY table_name, ordinal_position",
    ):
        ours.setdefault(table, []).append(column)
    only_here = {"revocation_counter", "allowance", "device_poll"}
    assert {table: columns for table, columns in ours.items() if table not in only_here} == theirs


def test_a_database_can_be_checked_before_anything_changes(empty: PostgresqlUrl) -> None:
    before = check_migrations(empty)
    assert (before.applied, before.missing) == ((), NAMES)
    assert check_migrations(empty) == before
    assert run_migrations(empty).new == NAMES
    assert check_migrations(empty).applied == NAMES
    assert run_migrations(empty).new == ()


def test_a_server_that_shall_not_migrate_says_how_to(empty: PostgresqlUrl) -> None:
    settings = ServerSettings(issuer=ISSUER, audience="mqtt", database=empty, migrate=False)
    with pytest.raises(ConfigError, match="keyfob database migrate"):
        create_app(settings)
    assert check_migrations(empty).applied == ()


def test_many_may_migrate_at_once(empty: PostgresqlUrl) -> None:
    with ThreadPoolExecutor(8) as threads:
        for store in threads.map(lambda _: open_store(empty), range(8)):
            store.close()
    assert check_migrations(empty).applied == NAMES


def test_a_migration_that_fails_leaves_nothing_behind(empty: PostgresqlUrl) -> None:
    good = Migration(1, "0001_a.sql", "CREATE TABLE a (x TEXT);")
    bad = Migration(2, "0002_b.sql", "CREATE TABLE b (x TEXT); CREATE TABLE b (x TEXT);")
    schema = postgresql_schema(empty)
    with pytest.raises(psycopg.errors.DuplicateTable):
        bring(schema, known=(good, bad))
    assert schema.applied() == ()
    assert bring(schema, known=(good,)) == ("0001_a.sql",)
    schema.close()


def test_a_schema_that_is_newer_than_the_code_is_an_error(url: PostgresqlUrl) -> None:
    schema = postgresql_schema(url)
    schema.connection.execute("INSERT INTO schema_version (version, name) VALUES (99, 'later')")
    schema.close()
    with pytest.raises(ConfigError, match="newer"):
        open_store(url)


def test_the_trail_of_actions_cannot_be_emptied(url: PostgresqlUrl) -> None:
    store = open_store(url)
    for statement in ("TRUNCATE admin_action", "DELETE FROM admin_action"):
        with pytest.raises(psycopg.IntegrityError, match="only added to"):
            store.connection.execute(statement)
    store.close()
