# SPDX-License-Identifier: Apache-2.0
"""A PostgreSQL server of our own, in a folder that is thrown away."""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from keyfob.server.stores.place import PostgresqlUrl
from keyfob.server.stores.store import open_store
from tests.free_ports import free_port
from tests.running import until

PASSWORD = "s3cret-of-the-database"
_TEMPLATE = "keyfob_template"


def program(name: str) -> str:
    """Where Debian has a program of PostgreSQL's, the newest version first."""
    there = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)
    found = str(there[0]) if there else shutil.which(name)
    assert found is not None, f"no {name}: scripts/setup installs it"
    return found


class Cluster:
    """A server; one that is durable survives being killed, and is slower."""

    def __init__(self, folder: Path, *, durable: bool = False) -> None:
        self.folder, self.port = folder, free_port()
        self._numbers = itertools.count(1)
        self._process: subprocess.Popen[bytes] | None = None
        self._as: dict[str, Any] = {}
        if os.getuid() == 0:  # as root it does not run
            owner = pwd.getpwnam("postgres")
            self._as = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}
            os.chown(folder, owner.pw_uid, owner.pw_gid)
        command = [program("initdb"), "--pgdata", str(folder / "data"), "--no-sync"]
        command += ["--username", "postgres", "--encoding", "UTF8", "--locale", "C.UTF-8"]
        command += ["--auth-local", "trust", "--auth-host", "scram-sha-256"]
        subprocess.run(
            command, check=True, stdout=subprocess.DEVNULL, cwd=folder, timeout=60, **self._as
        )
        settings = {
            "listen_addresses": "'127.0.0.1'",
            "port": self.port,
            "unix_socket_directories": f"'{folder}'",
            "max_connections": 200,
        }
        if not durable:
            settings |= {"fsync": "off", "full_page_writes": "off", "wal_level": "minimal"}
            settings |= {"max_wal_senders": 0, "autovacuum": "off"}
        with (folder / "data/postgresql.conf").open("a", encoding="utf-8") as file:
            file.writelines(f"{name} = {value}\n" for name, value in settings.items())

    def start(self) -> None:
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [program("postgres"), "-D", str(self.folder / "data")],
                stdout=log, stderr=log, cwd=self.folder, **self._as,
            )  # fmt: skip
        until("PostgreSQL answers", self._answers)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it: SIGINT cuts connections off, SIGQUIT is as a crash; SIGKILL is one."""
        if self._process is not None:
            if how is signal.SIGKILL:
                self._kill_all(self._process.pid)
            self._process.send_signal(how)
            self._process.wait(60)
            self._process = None

    def restart(self, how: signal.Signals = signal.SIGINT) -> None:
        self.stop(how)
        self.start()

    @property
    def is_running(self) -> bool:
        return self._process is not None

    def url(self, database: str = "postgres") -> PostgresqlUrl:
        return PostgresqlUrl.parse(
            f"postgresql://postgres@/{database}?host={self.folder}&port={self.port}"
        )

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url(database).text, autocommit=True) as connection:
            cursor = connection.execute(sql.SQL(statement))
            return cursor.fetchall() if cursor.description else []

    @contextlib.contextmanager
    def database(self, *, empty: bool = False) -> Iterator[PostgresqlUrl]:
        """Make a database with our schema, or without."""
        name = f"keyfob_{next(self._numbers)}"
        template = "template0" if empty else _TEMPLATE
        if not empty and not self.execute(f"SELECT 1 FROM pg_database WHERE datname='{_TEMPLATE}'"):
            self.execute(f"CREATE DATABASE {_TEMPLATE}")
            open_store(self.url(_TEMPLATE)).close()
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
        try:
            yield self.url(name)
        finally:
            if self.is_running:
                self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "server.log").read_text()
        try:
            self.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def _kill_all(self, pid: int) -> None:
        """Kill the processes of the server, so that none of them writes anything any more."""
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(child), signal.SIGKILL)


@contextlib.contextmanager
def running_cluster(*, durable: bool = False) -> Iterator[Cluster]:
    """Run a server as long as the body; its folder's name is short, as a socket's has to be."""
    memory = Path("/dev/shm")
    place = None if durable or not os.access(memory, os.W_OK) else memory
    folder = Path(tempfile.mkdtemp(prefix="keyfob-pg-", dir=place))
    cluster = Cluster(folder, durable=durable)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop(signal.SIGQUIT)
        shutil.rmtree(folder, ignore_errors=True)
