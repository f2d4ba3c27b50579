# SPDX-License-Identifier: Apache-2.0
"""Keys that all processes share are made once."""

from __future__ import annotations

import threading

from keyfob.server.stores.place import Place
from keyfob.server.stores.shared_keys import shared_key
from keyfob.server.stores.store import open_store


def test_of_many_that_need_a_key_first_one_makes_it_and_all_have_it(database: Place) -> None:
    open_store(database).close()
    start, found = threading.Barrier(8), []

    def need() -> None:
        store = open_store(database)
        start.wait()
        found.append(shared_key(store, "nonces", length=32))
        store.close()

    threads = [threading.Thread(target=need) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1
    assert len(found[0]) == 32


def test_a_key_stays_and_is_for_one_thing(database: Place) -> None:
    keys = []
    for name in ("a", "a", "b"):
        store = open_store(database)
        keys.append(shared_key(store, name, length=32))
        store.close()
    assert keys[0] == keys[1] != keys[2]
