# SPDX-License-Identifier: Apache-2.0
"""What a running installation tells its operators: health, metrics, audit, explanations."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.running import Installation, until
from tests.system.foreign import STREAM_SECRET, Foreign
from tests.system.introspection_server import SECRET


def test_health_and_readiness_by_curl(trusting: Installation) -> None:
    status, body = trusting.http("/healthz")
    assert (status, json.loads(body)) == (200, {"status": "ok"})
    until("it is ready", lambda: trusting.http("/readyz")[0] == 200)
    assert trusting.http("/nothing")[0] == 404
    assert trusting.http("/metrics", "-X", "POST")[0] == 405


def test_metrics_count_what_happened_by_issuer_and_reason(
    trusting: Installation, foreign: Foreign
) -> None:
    def decided(issuer: str, reason: str) -> float:
        _, text = trusting.http("/metrics")
        labels = re.escape(f'{{issuer="{issuer}",reason="{reason}"}}')
        found = re.search(f"^keyfob_guard_decisions_total{labels} (.*)$", text, re.M)
        return float(found[1]) if found else 0.0

    before = decided("keyfob", "allowed"), decided("", "token_malformed")
    trusting.client("counted").connect(trusting.enrol("counted"))
    assert trusting.client("counted").try_connect("counted", "x.y.z") != 0
    assert decided("keyfob", "allowed") == before[0] + 1
    assert decided("", "token_malformed") == before[1] + 1
    _, text = trusting.http("/metrics")
    assert re.search(r'^keyfob_guard_broker_links\{.*version="2\.\d+\.\d+".*\} 1\.0$', text, re.M)
    for issuer in ("keyfob", "opaque", "always"):
        assert f'keyfob_guard_keys{{issuer="{issuer}"}}' in text


def test_each_decision_goes_to_the_file_and_to_syslog(
    trusting: Installation, syslog: tuple[Path, list[bytes]]
) -> None:
    token = trusting.enrol("twice")
    trusting.client("twice").connect(token)
    until("the file", lambda: ("allowed", "") in trusting.told("twice"))

    def of_syslog() -> list[bytes]:
        return [line for line in syslog[1] if b'"client_id":"twice"' in line]

    until("syslog", of_syslog)
    (line,) = of_syslog()
    assert re.match(rb"<86>1 \S+ \S+ keyfob\S* \S+ allowed - ", line), line
    event = json.loads(line.partition(b" - ")[2])
    (same,) = [each for each in trusting.audit() if each["client_id"] == "twice"]
    assert event == same
    assert token.encode() not in b"".join(syslog[1])


def test_config_check_and_explain_tell_all_and_no_secret(trusting: Installation) -> None:
    check = trusting.cli("config", "check")
    assert check.returncode == 0, check.stderr
    for name in ("keyfob", "opaque", "always"):
        assert re.search(f"^{name} ", check.stdout, re.M)
    explained = trusting.cli("config", "explain")
    assert explained.returncode == 0, explained.stderr
    came_from = r"^issuer\.1\.introspection\.reask += 2 .*keyfob\.toml:\d+\)$"
    assert re.search(came_from, explained.stdout, re.M)
    for secret in (SECRET, STREAM_SECRET, (trusting.directory / "guard.secret").read_text()):
        assert secret not in explained.stdout + check.stdout


def test_explain_tells_of_a_live_session_what_the_broker_does(
    trusting: Installation, foreign: Foreign
) -> None:
    token = foreign.opaque("live", "mqtt.publish:live/%23")
    client = trusting.come_in("live", token)
    for topic, allowed in (("live/t", True), ("other/t", False)):
        said = trusting.cli("explain", "--json", "--client-id", "live", "publish", topic)
        answer = json.loads(said.stdout)
        assert (answer["allowed"], said.returncode) == (allowed, 0 if allowed else 1)
        assert answer["principal"] == "opaque:live"
        assert (client.publish(topic) in {0, 0x10}) == allowed
    said = trusting.cli("explain", "--client-id", "nobody-here", "publish", "live/t")
    assert said.returncode == 2
    assert "nobody-here" in said.stderr
