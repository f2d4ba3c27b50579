# SPDX-License-Identifier: Apache-2.0
"""Prometheus reads true numbers, and no label says what a client or a token said."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from keyfob.authorization.decision import DenyReason
from keyfob.errors import TOKEN_CODES
from keyfob.guard.audit import AuditEvent, AuditLog, Outcome
from keyfob.guard.breaker import BreakerState
from keyfob.guard.guard import Guard
from keyfob.guard.histogram import Histogram
from keyfob.guard.introspection import IntrospectionHealth
from keyfob.guard.key_sources import StaticKeySource
from keyfob.guard.metrics import MAX_BROKERS, MAX_LABEL, GuardMetrics
from keyfob.guard.revocations import Revocation
from keyfob.guard.sessions import SessionStore
from keyfob.tokens.keys import KeySet
from tests.guard.world import ISSUER, KEY, NOW, guard, jwks, mint, request, session

pytestmark = pytest.mark.anyio

ASKED = IntrospectionHealth(
    source=ISSUER,
    breaker=BreakerState.OPEN,
    latency=0.1,
    failure="",
    questions=5,
    failures=1,
    unasked=2,
    hits=3,
    misses=7,
    active=1,
    refused=1,
    waiting=0,
)
DOCUMENTATION = Path(__file__).parents[2] / "docs/operations.md"


def metrics(keeper: Guard | None = None, **arguments: Any) -> GuardMetrics:
    log = arguments.pop("audit", None) or AuditLog()
    keeper = keeper or guard(audit=log)
    names = arguments.pop("names", {ISSUER: "example"})
    latency = arguments.pop("latency", Histogram())
    health = arguments.pop("health", keeper.health)
    return GuardMetrics(names, health=health, audit=log, latency=lambda: latency, **arguments)


def samples(made: GuardMetrics) -> dict[str, dict[tuple[str, ...], float]]:
    """Whatever is told, by name and the values of the labels."""
    told: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(made.text().decode()):
        for sample in family.samples:
            told.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return told


async def test_decisions_are_told_by_issuer_and_reason() -> None:
    log = AuditLog()
    keeper = guard(audit=log)
    token = mint("dev1")
    for _ in range(2):
        keeper.decide(request("dev1", token), broker="b1")
    keeper.decide(request("dev1", mint("dev2")), broker="b1")
    keeper.decide(request("dev1", mint("dev1", exp=int(NOW) - 1)), broker="b1")
    keeper.decide(request("dev1", mint("dev1", iss="https://evil.example/CANARY")), broker="b1")
    told = samples(metrics(keeper, audit=log))
    assert told["keyfob_guard_decisions_total"] == {
        ("example", "allowed"): 2,
        ("example", "client_id_mismatch"): 1,
        ("", "token_expired"): 1,
        ("", "issuer_unknown"): 1,
    }
    assert told["keyfob_guard_token_cache_hits_total"] == {(): 1}
    assert told["keyfob_guard_token_cache_misses_total"] == {(): 4}


async def test_the_time_of_decisions_is_told_in_buckets() -> None:
    latency = Histogram((0.001, 0.5))
    for seconds in (0.000_5, 0.25, 3.0):
        latency.observe(seconds)
    told = samples(metrics(latency=latency))
    assert told["keyfob_guard_decision_seconds_bucket"] == {
        ("0.001",): 1,
        ("0.5",): 2,
        ("+Inf",): 3,
    }
    assert told["keyfob_guard_decision_seconds_count"] == {(): 3}
    assert told["keyfob_guard_decision_seconds_sum"] == {(): pytest.approx(3.2505)}


async def test_sessions_revocations_and_their_ends_are_told() -> None:
    log, sessions = AuditLog(), SessionStore()
    keeper = guard(audit=log, sessions=sessions)
    for name in ("dev1", "dev2", "dev3"):
        sessions.put(session(name))
    keeper.offline("b1", "dev3", 1, kept=True)
    await keeper.revoke(Revocation(issuer=ISSUER, subject="dev2", issued_before=NOW, until=NOW + 9))
    told = samples(metrics(keeper, audit=log))
    assert told["keyfob_guard_sessions"] == {
        ("b1", "online"): 1,
        ("b1", "offline"): 1,
        ("b1", "revoked"): 1,
    }
    assert told["keyfob_guard_revocations"] == {(): 1}
    assert told["keyfob_guard_sessions_ended_total"] == {("example", "revoked"): 1}


async def test_keys_are_told_by_issuer() -> None:
    good = jwks(KEY).decode()[:-2]
    keys = KeySet.from_jwks(f'{good},{{"kty":"oct","k":"AA"}}]}}'.encode())
    told = samples(metrics(guard(keys=StaticKeySource(keys))))
    assert told["keyfob_guard_keys"] == {("example",): 1}
    assert told["keyfob_guard_rejected_keys"] == {("example",): 1}
    assert told["keyfob_guard_key_age_seconds"] == {("example",): 0}
    assert told["keyfob_guard_upstream_failing"] == {("example", "keys"): 0}


async def test_links_introspection_and_events_are_told() -> None:
    log = AuditLog()
    for outcome, reason in (
        (Outcome.EVENT_ACCEPTED, ""),
        (Outcome.EVENT_IGNORED, "replayed"),
        (Outcome.EVENT_REFUSED, "type_refused"),
        (Outcome.EVENT_REFUSED, "CANARY"),
    ):
        log.record(AuditEvent(time=NOW, outcome=outcome, reason=reason, issuer=ISSUER))
    made = metrics(
        audit=log,
        links=lambda: [("mosquitto", "2.0.11"), ("other", "2.1.0")],
        health=lambda: replace(guard().health(), introspection={ISSUER: ASKED}),
    )
    told = samples(made)
    assert told["keyfob_guard_broker_links"] == {("mosquitto", "2.0.11"): 1, ("other", "2.1.0"): 1}
    assert told["keyfob_guard_introspections_total"] == {
        ("example", "answered"): 4,
        ("example", "failed"): 1,
        ("example", "not_asked"): 2,
        ("example", "remembered"): 3,
    }
    assert told["keyfob_guard_introspection_breaker"] == {
        ("example", "closed"): 0,
        ("example", "open"): 1,
        ("example", "half_open"): 0,
    }
    assert told["keyfob_guard_security_events_total"] == {
        ("example", "accepted"): 1,
        ("example", "replayed"): 1,
        ("example", "type_refused"): 1,
        ("example", "other"): 1,
    }


async def test_the_process_is_told() -> None:
    told = samples(metrics())
    assert told["process_resident_memory_bytes"][()] > 0


@given(
    st.lists(
        st.tuples(
            st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
            st.sampled_from(Outcome),
            st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
        )
    )
)
def test_no_issuer_or_reason_but_a_known_one_makes_a_label(
    told: list[tuple[str, Outcome, str]],
) -> None:
    log = AuditLog()
    for issuer, outcome, reason in told:
        log.record(AuditEvent(time=NOW, outcome=outcome, reason=reason, issuer=issuer))
    known = {"", "other", "allowed", "accepted", *TOKEN_CODES, *map(str, DenyReason)}
    known |= {
        "reauthenticated",
        "without_effect",
        "replayed",
        "outdated",
        "authentication_failed",
        "storage_failed",
    }
    for name, values in samples(metrics(audit=log)).items():
        if name.endswith(("decisions_total", "security_events_total")):
            for issuer, reason in values:
                assert issuer in ("", "example")
                assert reason in known


@given(
    st.dictionaries(st.text(max_size=100), st.text(max_size=100), max_size=6),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20),
)
def test_whatever_brokers_and_issuers_are_called_the_text_is_well_formed(
    links: Mapping[str, str], name: str
) -> None:
    told = samples(metrics(names={ISSUER: name}, links=links.items))
    assert ((name,) in told["keyfob_guard_keys"]) is True
    assert sum(told.get("keyfob_guard_broker_links", {}).values()) == len(links)


def test_so_many_brokers_are_told_apart_and_the_others_are_one() -> None:
    links = [(f"{'x' * 100}{n}"[-MAX_LABEL - 9 :], "2.0.11") for n in range(3 * MAX_BROKERS)]
    links += [(f"b{n}", "y" * 1000) for n in range(3 * MAX_BROKERS)]
    told = samples(metrics(links=lambda: links))["keyfob_guard_broker_links"]
    assert len({broker for broker, _ in told}) <= MAX_BROKERS + 1
    assert sum(told.values()) == len(links)
    assert all(len(value) <= MAX_LABEL for labels in told for value in labels)


def families(made: GuardMetrics) -> Iterable[tuple[str, str, str]]:
    text = made.text().decode()
    types = dict(re.findall(r"^# TYPE (keyfob_guard_\w+) (\w+)$", text, re.MULTILINE))
    for family in made.collect():
        name = family.name + ("_total" if family.type == "counter" else "")
        yield name, types[name], family.documentation


async def test_every_metric_stands_in_the_documentation_with_its_type() -> None:
    table = re.findall(
        r"^\| `(keyfob_guard_\w+)` \| (\w+) \|", DOCUMENTATION.read_text("utf-8"), re.MULTILINE
    )
    assert dict(table) == {name: kind for name, kind, _ in families(metrics())}
    assert len(table) == len(dict(table))
