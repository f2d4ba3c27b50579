# SPDX-License-Identifier: Apache-2.0
"""Deliveries wait for a database that is away, and go on when it is back."""

from __future__ import annotations

import asyncio
import logging

import pytest

from keyfob.server.events.receiver_register import ReceiverRegister
from keyfob.server.register import Register
from keyfob.server.stores.store import open_store
from tests.postgresql import Cluster
from tests.server.events.world import URL, Inbox, accept, delivering, until

pytestmark = pytest.mark.anyio


async def test_a_database_that_is_away_is_told_of_once_and_then_waited_for(
    durable: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    def told() -> list[logging.LogRecord]:
        return [record for record in caplog.records if "nothing is delivered" in record.message]

    inbox = Inbox(accept)
    with durable.database() as url:
        with ReceiverRegister(open_store(url), None) as receivers:
            receivers.add("guard", url=URL)
        async with delivering(url, inbox):
            await asyncio.to_thread(durable.stop)
            await until(told)
            await asyncio.sleep(1.5)  # and it looks again meanwhile
            durable.start()
            with Register.open(url) as register:
                register.add_device("dev1")
                register.disable_device("dev1")
            await until(lambda: inbox.taken)
    assert len(told()) == 1
    assert [record.exc_info for record in told()] == [None]
