# SPDX-License-Identifier: Apache-2.0
"""A server needs no more of the database than docs/postgresql.md says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest

from keyfob.errors import ConfigError
from keyfob.server.app import create_app
from keyfob.server.register import Register
from keyfob.server.settings import ServerSettings
from keyfob.server.stores.place import PostgresqlUrl
from keyfob.server.stores.store import open_store
from tests.postgresql import Cluster
from tests.server.world import ISSUER

GUIDE = Path(__file__).parents[3] / "docs/postgresql.md"


@pytest.fixture
def little(cluster: Cluster, url: PostgresqlUrl) -> Iterator[PostgresqlUrl]:
    """The database, as the role of the documentation sees it."""
    (script,) = re.findall(r"```sql\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    name = url.name.rpartition("/")[2]
    cluster.execute(script, name)
    try:
        yield PostgresqlUrl.parse(url.text.replace("postgres@", "keyfob_server@"))
    finally:
        cluster.execute("DROP OWNED BY keyfob_server", name)
        cluster.execute("DROP ROLE keyfob_server")


@pytest.mark.anyio
async def test_a_server_serves_and_the_register_changes(little: PostgresqlUrl) -> None:
    settings = ServerSettings(issuer=ISSUER, audience="mqtt", database=little, migrate=False)
    with Register.open(little, migrate=False) as register:
        secret = register.add_device("dev1").secret
        guard = register.ensure_guard_client("guard")
        app = create_app(settings)
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url=ISSUER) as http,
        ):
            form = {"grant_type": "client_credentials"}
            answer = await http.post("/oauth2/token", data=form, auth=("dev1", secret))
            assert answer.status_code == 200
            wrong = await http.post("/oauth2/token", data=form, auth=("dev1", "kfs_wrong"))
            assert wrong.status_code == 401
            register.disable_device("dev1")
            feed = await http.get("/oauth2/revocations?cursor=0", auth=("guard", guard))
            assert [row["subject"] for row in feed.json()["revocations"]] == ["dev1"]
            assert (await http.get("/readyz")).status_code == 200
        assert len(register.list_actions()) == 3
        register.remove_device("dev1")


def test_the_trail_and_the_schema_are_not_its_to_change(little: PostgresqlUrl) -> None:
    for statement in (
        "UPDATE admin_action SET actor = 'nobody'",
        "DELETE FROM admin_action",
        "TRUNCATE admin_action",
        "DELETE FROM schema_version",
        "ALTER TABLE admin_action DISABLE TRIGGER ALL",
        "DROP TABLE client",
    ):
        with (
            psycopg.connect(little.text) as connection,
            pytest.raises(psycopg.errors.InsufficientPrivilege),
        ):
            connection.execute(statement.encode())


def test_without_the_schema_it_says_what_to_do(cluster: Cluster, empty: PostgresqlUrl) -> None:
    settings = ServerSettings(issuer=ISSUER, audience="mqtt", database=empty, migrate=False)
    with pytest.raises(ConfigError, match="keyfob database migrate"):
        create_app(settings)
    open_store(empty).close()
    open_store(empty, migrate=False).close()
