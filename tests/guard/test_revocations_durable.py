# SPDX-License-Identifier: Apache-2.0
"""A killed guard remembers every revocation that it acknowledged."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from keyfob.guard.database import Database
from keyfob.guard.revocations import RevocationStore
from keyfob.guard.sessions import SessionStore

# Revokes without end, one device or a page of devices at a time, amid the writing of sessions, and
# says which on its standard output once each is acknowledged.
PROGRAM = """
import asyncio, sys
from pathlib import Path
from keyfob.guard.database import Database
from keyfob.guard.revocations import FeedPosition, Revocation, RevocationStore
from keyfob.guard.sessions import SessionStore
from tests.guard.world import ISSUER, NOW, guard, session

async def main():
    database = Database.open(Path(sys.argv[1]))
    sessions = SessionStore(database)
    keeper = guard(sessions=sessions, revocations=RevocationStore(database))
    number = 0
    while True:
        names = [f"dev{number + place}" for place in range(1 + number % 7)]
        number += len(names)
        for name in names:
            sessions.put(session(name))
        rows = [
            Revocation(issuer=ISSUER, subject=name, issued_before=NOW, until=NOW + 9)
            for name in names
        ]
        await keeper.revoke(*rows, position=FeedPosition(issuer=ISSUER, cursor=number))
        print(number, *names, flush=True)

asyncio.run(main())
"""


@pytest.mark.parametrize("acknowledged", [1, 7, 40])
def test_every_acknowledged_revocation_survives_a_kill(tmp_path: Path, acknowledged: int) -> None:
    path = tmp_path / "guard.db"
    command = [sys.executable, "-c", PROGRAM, str(path)]
    told: list[str] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told.extend(process.stdout.readline() for _ in range(acknowledged))
        process.send_signal(signal.SIGKILL)
        # What it said before it died counts as well; a line that is cut off was not said.
        told += [line for line in process.stdout if line.endswith("\n")]
    assert process.returncode == -signal.SIGKILL
    with Database.open(path) as database:
        revocations = RevocationStore(database)
        sessions = SessionStore(database)
    subjects = {each.subject for each in revocations}
    promised = {name for line in told for name in line.split()[1:]}
    assert len(told) >= acknowledged
    assert promised <= subjects
    # The cursor never runs ahead of the rows that it stands for.
    cursor = max(revocations.cursors.values())
    assert subjects >= {f"dev{number}" for number in range(cursor)}
    # Nor is a session there unmarked whose revocation was acknowledged.
    assert not {s.subject for s in sessions if s.state.name != "REVOKED"} & promised
