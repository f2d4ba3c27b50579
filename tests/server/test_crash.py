# SPDX-License-Identifier: Apache-2.0
"""What was acknowledged outlives the process that acknowledged it."""

from __future__ import annotations

import random
import signal
import subprocess
import sys

from keyfob.server.register import Register
from keyfob.server.stores.place import Place
from keyfob.server.stores.store import open_store
from tests.server.databases import written

# Disables (or removes) one device after the other and says which, once it is done.
_WORK = """
import sys
from keyfob.server.register import Register
from keyfob.server.stores.place import place_of

register = Register.open(place_of(sys.argv[1]))
for number in range(int(sys.argv[2]), int(sys.argv[3])):
    operation = register.disable_device if number % 2 else register.remove_device
    operation(f"dev{number}")
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
"""


def test_kill_9_in_the_middle_of_disabling_loses_nothing_that_was_acknowledged(
    database: Place,
) -> None:
    """Also of what was not acknowledged, a state and its revocation are there both or neither."""
    rounds, size = 4, 100
    with Register.open(database) as register:
        for number in range(rounds * size):
            register.add_device(f"dev{number}")
    acknowledged: set[int] = set()
    for each in range(rounds):
        acknowledged |= killed_worker(database, each * size, (each + 1) * size)
    assert 0 < len(acknowledged) < rounds * size
    store = open_store(database)
    revoked = {row.subject for row in store.revocations_after(0, now=0, limit=10_000)}
    ended = set()
    for number in range(rounds * size):
        client = store.client(f"dev{number}")
        if client is None or not client.enabled:
            ended.add(f"dev{number}")
    store.close()
    assert {f"dev{number}" for number in acknowledged} <= ended
    assert ended == revoked


def killed_worker(database: Place, first: int, end: int) -> set[int]:
    """Run a worker, kill it somewhere in the middle, and return what it acknowledged."""
    process = subprocess.Popen(
        [sys.executable, "-c", _WORK, written(database), str(first), str(end)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    seen = {int(process.stdout.readline()) for _ in range(random.randint(1, 60))}
    process.send_signal(signal.SIGKILL)
    rest, _ = process.communicate()
    return seen | {int(line) for line in rest.split("\n")[:-1]}
