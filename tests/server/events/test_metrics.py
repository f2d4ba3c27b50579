# SPDX-License-Identifier: Apache-2.0
"""What Prometheus is told of deliveries, and that issuing does not depend on them."""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from keyfob.server.app import create_app
from keyfob.server.events.metrics import DeliveryMetrics
from keyfob.server.settings import ServerSettings
from keyfob.server.stores.reads import InLoop, make_reads
from keyfob.server.stores.serving_receivers import ServingReceivers
from keyfob.server.stores.store import open_store
from keyfob.server.stores.writer import Writer
from tests.postgresql import Cluster
from tests.server.events.test_stream import gone, revoke
from tests.server.events.world import Inbox, delivering, until, world

pytestmark = pytest.mark.anyio
DOCS = Path(__file__).parents[3] / "docs/server-operations.md"


async def numbers(database: Path) -> dict[str, float]:
    store, registry = open_store(database), CollectorRegistry(auto_describe=False)
    metrics = DeliveryMetrics(ServingReceivers(InLoop(store), Writer(database)).statuses, time.time)
    registry.register(metrics)
    await metrics.read()
    text = generate_latest(registry).decode()
    store.close()
    rows = re.findall(r'^keyfob_server_events_(\w+)\{receiver="guard"\} (\S+)$', text, re.M)
    return {name: float(value) for name, value in rows if not name.endswith("_created")}


async def test_what_is_pending_delivered_and_failed_is_told_by_receiver(tmp_path: Path) -> None:
    database = tmp_path / "server.db"
    async with world(database, running=False) as w:
        revoke(database, "dev1", "dev2")
        assert (await numbers(database))["pending"] == 2
        async with delivering(database, Inbox(gone)):
            await until(lambda: w.status().failures >= 2)
        down = await numbers(database)
        assert (down["pending"], down["delivered_total"]) == (2, 0)
        assert down["failures_total"] >= 2
        assert down["oldest_seconds"] >= 0
        async with delivering(database, w.inbox):
            await w.until_told_of(2)
        up = await numbers(database)
        assert (up["pending"], up["oldest_seconds"], up["delivered_total"]) == (0, 0, 2)
        for name in up:
            assert f"`keyfob_server_events_{name}`" in DOCS.read_text(encoding="utf-8")


async def test_the_server_is_ready_whatever_its_receivers_are(tmp_path: Path) -> None:
    database = tmp_path / "server.db"
    settings = ServerSettings(issuer="https://as.example", audience="mqtt", database=database)
    async with world(database, running=False, add=False) as w:
        w.receivers.add("guard", url="http://127.0.0.1:1/events")
        revoke(database, "dev1")
        app = create_app(settings)
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="https://as.example") as http,
        ):
            await until(lambda: w.status().last_error == "unreachable")
            assert (await http.get("/readyz")).status_code == 200


async def test_while_the_register_lets_the_metrics_wait_everything_else_goes_on(
    cluster: Cluster,
) -> None:
    with cluster.database() as database:
        store, writer = open_store(database), Writer(database)
        reads = make_reads(database, store)
        metrics = DeliveryMetrics(ServingReceivers(reads, writer).statuses, time.time)
        with store.transaction():
            store.connection.execute("LOCK TABLE receiver IN ACCESS EXCLUSIVE MODE")
            reading = asyncio.create_task(metrics.read())
            blocked = "SELECT count(*) FROM pg_locks WHERE NOT granted"
            await until(lambda: cluster.execute(blocked) == [(1,)])
            assert not reading.done()
        await reading
        assert [metric.name for metric in metrics.collect()]
        for each in (reads, writer, store):
            each.close()
