# SPDX-License-Identifier: Apache-2.0
"""`keyfob database`, and an installation whose database is in PostgreSQL."""

from __future__ import annotations

import io
import secrets
import subprocess
from collections.abc import Iterator

import pytest

from keyfob.cli.installation import Installation, settings_of
from keyfob.server.stores.place import PostgresqlUrl
from keyfob.server.stores.schema import migrations
from tests.cli.commands import KEYFOB, Shell, started
from tests.postgresql import PASSWORD, Cluster

NAMES = [migration.name for migration in migrations()]


def configure(installation: Installation, lines: str) -> None:
    path = installation.settings.path
    path.write_text(path.read_text().replace("[server]", f"[server]\n{lines}", 1))


@pytest.fixture
def role(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of an empty database that a role with a password owns, as the environment has it."""
    cluster.execute(f"CREATE ROLE keyfob LOGIN PASSWORD '{PASSWORD}'")
    try:
        with cluster.database(empty=True) as url:
            name = url.name.rpartition("/")[2]
            cluster.execute(f"ALTER DATABASE {name} OWNER TO keyfob")
            text = f"postgresql://keyfob:{PASSWORD}@127.0.0.1:{cluster.port}/{name}"
            monkeypatch.setenv("KEYFOB_DATABASE", text)
            monkeypatch.setenv("KEYFOB_KEK", secrets.token_hex(32))
            yield text
    finally:
        cluster.execute("DROP ROLE keyfob")


@pytest.fixture
def remote(installation: Installation, role: str) -> Installation:
    """An installation that names it."""
    configure(installation, 'database = "env:KEYFOB_DATABASE"\nkey_encryption = "env:KEYFOB_KEK"')
    return installation


def states(shell: Shell, *arguments: str) -> set[tuple[str, str]]:
    document = shell(*arguments, "--json").json
    assert [row["name"] for row in document["migrations"]] == NAMES
    return {(row["name"], row["state"]) for row in document["migrations"]}


def refusal_to_serve(installation: Installation) -> str:
    """What a server says that does not start; as a process, for it sets handlers of signals."""
    command = [*KEYFOB, "server", "--dir", str(installation.directory)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2, ended
    return ended.stderr


def test_a_file_is_checked_and_has_everything(shell: Shell, installation: Installation) -> None:
    assert states(shell, "database", "check") == {(name, "applied") for name in NAMES}
    assert states(shell, "database", "migrate") == {(name, "applied") for name in NAMES}


def test_a_file_that_is_not_there_is_not_made(shell: Shell, installation: Installation) -> None:
    configure(installation, 'database = "none.db"')
    outcome = shell("database", "check")
    assert (outcome.code, outcome.out) == (2, "")
    assert "none.db: there is no such file" in outcome.err
    assert not (installation.directory / "none.db").exists()


def test_a_database_is_checked_before_and_migrated(shell: Shell, remote: Installation) -> None:
    assert shell("database", "check").code == 1
    assert states(shell, "database", "check") == {(name, "missing") for name in NAMES}
    assert states(shell, "database", "migrate") == {(name, "applied_now") for name in NAMES}
    told = shell.ok("database", "check").out
    assert "0001_register.sql" in told
    assert PASSWORD not in told


def test_where_it_shall_not_be_migrated_every_command_says_how(
    shell: Shell, remote: Installation
) -> None:
    configure(remote, "migrate = false")
    for command in (("device", "list"), ("key", "list")):
        outcome = shell(*command)
        assert outcome.code == 2
        assert "`keyfob database migrate`" in outcome.err
    assert "`keyfob database migrate`" in refusal_to_serve(remote)
    assert states(shell, "database", "check") == {(name, "missing") for name in NAMES}
    shell.ok("database", "migrate")
    shell.ok("device", "list")


def test_a_password_in_the_file_is_refused_and_not_repeated(
    shell: Shell, installation: Installation
) -> None:
    for url in (
        f"postgresql://keyfob:{PASSWORD}@localhost/keyfob",
        f"postgresql://localhost/keyfob?password={PASSWORD}",
    ):
        text = installation.settings.path.read_text()
        configure(installation, f'database = "{url}"')
        outcome = shell("device", "list")
        assert outcome.code == 2
        assert "secrets never stand here" in outcome.err
        assert PASSWORD not in outcome.err
        installation.settings.path.write_text(text)


def test_a_url_without_a_password_may_stand_in_the_file(
    shell: Shell, installation: Installation, cluster: Cluster
) -> None:
    with cluster.database() as url:
        key = secrets.token_hex(32)
        (installation.directory / "kek").write_text(key)
        configure(installation, f'database = "{url.text}"\nkey_encryption = "file:kek"')
        shell.secret("dev1")
        (row,) = shell.json("device", "list")
        assert row["client_id"] == "dev1"


def test_operators_and_registration_tokens_are_kept_there_too(
    shell: Shell, remote: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(remote, "migrate = false")
    monkeypatch.setattr("sys.stdin", io.StringIO("correct horse battery"))
    adding = ("operator", "add", "alice")
    assert "`keyfob database migrate`" in shell(*adding).err
    assert "`keyfob database migrate`" in shell("registration-token", "list").err
    shell.ok("database", "migrate")
    monkeypatch.setattr("sys.stdin", io.StringIO("correct horse battery"))
    shell.ok(*adding)
    (operator,) = shell.json("operator", "list")
    assert operator["name"] == "alice"
    assert shell.json("registration-token", "list") == []


@pytest.mark.parametrize("database", ["mysql://localhost/x", "", "env:NOT_SET", "file:none"])
def test_what_names_no_database_is_an_error_with_its_line(
    shell: Shell, installation: Installation, database: str
) -> None:
    configure(installation, f'database = "{database}"')
    outcome = shell("device", "list")
    assert outcome.code == 2
    assert "server.database" in outcome.err
    assert "keyfob.toml:" in outcome.err


def test_signing_keys_there_have_to_be_encrypted(
    shell: Shell, installation: Installation, role: str
) -> None:
    configure(installation, 'database = "env:KEYFOB_DATABASE"')
    outcome = shell("key", "list")
    assert outcome.code == 2
    assert "server.key_encryption" in outcome.err
    assert "server.key_encryption" in refusal_to_serve(installation)


def test_an_installation_on_postgresql_issues_tokens_and_tells_no_password(
    shell: Shell, remote: Installation
) -> None:
    """As a user does it: commands, the server, curl; and what everything of it says."""
    device = shell.secret("dev1", "--publish", "devices/{device}/#")
    settings = settings_of(remote.directory).settings
    log = remote.directory / "server.log"
    with started(log, "server", "--dir", str(remote.directory)) as server:
        server.until("ready at")
        answer = subprocess.run(
            ["curl", "-sS", "--cacert", str(remote.directory / "ca.pem"), "-u", f"dev1:{device}",
             "-d", "grant_type=client_credentials",
             f"https://localhost:{settings.server.port}/oauth2/token"],
            capture_output=True, text=True, check=True, timeout=30,
        )  # fmt: skip
        assert '"access_token"' in answer.stdout
        server.until("issued a token to dev1")
        (row,) = shell.json("key", "list")
        assert (row["state"], row["encrypted"]) == ("signing", True)
        told = shell.ok("device", "disable", "dev1").out
        again = subprocess.run(
            ["curl", "-sS", "--cacert", str(remote.directory / "ca.pem"), "-u", f"dev1:{device}",
             "-d", "grant_type=client_credentials",
             f"https://localhost:{settings.server.port}/oauth2/token"],
            capture_output=True, text=True, check=True, timeout=30,
        )  # fmt: skip
        assert '"invalid_client"' in again.stdout
    written = [file for file in remote.directory.rglob("*") if file.is_file()]
    assert log in written
    for file in written:
        assert PASSWORD.encode() not in file.read_bytes(), file
    assert PASSWORD not in told


def test_the_driver_is_named_where_it_is_missing(
    shell: Shell, remote: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "keyfob.server.stores.postgresql.database", None)
    outcome = shell("device", "list")
    assert outcome.code == 2
    assert "keyfob[postgresql]" in outcome.err


def test_a_reference_is_never_shown_as_what_it_stands_for(role: str) -> None:
    assert PASSWORD not in repr(PostgresqlUrl.parse(role))
