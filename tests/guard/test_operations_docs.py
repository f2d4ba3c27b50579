# SPDX-License-Identifier: Apache-2.0
"""docs/operations.md tells every field, outcome, sink, path and event that there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from keyfob.cli.guard_parts import audit_sink
from keyfob.config import AuditTarget
from keyfob.guard.audit import AuditEvent, AuditLog, Outcome
from keyfob.guard.events import _ERRORS
from keyfob.guard.histogram import Histogram
from keyfob.guard.http_app import guard_app
from keyfob.guard.metrics import GuardMetrics
from keyfob.guard.syslog_sink import MAX_MESSAGE
from keyfob.tokens.security_events import EventType
from tests.guard.events_world import receiving
from tests.guard.world import guard

pytestmark = pytest.mark.anyio

TEXT = (Path(__file__).parents[2] / "docs/operations.md").read_text("utf-8")
FIRST_CELLS = re.findall(r"^\| `([^`]+)` \|", TEXT, re.MULTILINE)


def test_every_field_of_the_audit_is_told_in_its_order() -> None:
    fields = AuditEvent.__struct_fields__
    assert [cell for cell in FIRST_CELLS if cell in fields] == list(fields)


def test_every_outcome_is_told() -> None:
    row = re.search(r"^\| `outcome` \| (.*) \|$", TEXT, re.MULTILINE)
    assert row is not None
    assert re.findall(r"`(\w+)`", row[1]) == [str(outcome) for outcome in Outcome]


def test_every_sink_that_is_told_can_be_made(tmp_path: Path) -> None:
    told = [cell for cell in FIRST_CELLS if cell.split(":")[0] in ("file", "stdout", "syslog")]
    told += [cell for cell in FIRST_CELLS if cell == "console"]
    assert len(told) == 6
    for form in told:
        written = form.replace("PATH", str(tmp_path / "x")).replace("HOST:PORT", "127.0.0.1:514")
        audit_sink(AuditTarget.parse(written, tmp_path)).close()


async def test_every_path_is_told_with_its_methods(tmp_path: Path) -> None:
    keeper = guard()
    metrics = GuardMetrics({}, health=keeper.health, audit=AuditLog(), latency=Histogram)
    async with receiving(tmp_path / "guard.db") as world:
        app = guard_app(keeper.health, metrics=metrics, events=world.receiver)
    told = dict(re.findall(r"^\| `(/\w+)` \| ([A-Z, ]+) \|", TEXT, re.MULTILINE))
    assert {path: set(methods.split(", ")) for path, methods in told.items()} == {
        route.path: set(route.methods)  # type: ignore[attr-defined]
        for route in app.routes
    }


def test_every_event_that_means_something_is_told_and_every_error() -> None:
    assert {str(event) for event in EventType} <= set(FIRST_CELLS)
    for err in {*_ERRORS.values(), "invalid_request"}:
        assert f"`{err}`" in TEXT
    assert f"{MAX_MESSAGE:,} bytes" in TEXT
