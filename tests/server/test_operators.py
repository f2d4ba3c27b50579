# SPDX-License-Identifier: Apache-2.0
"""Metrics and health on a listener of their own, while the server really runs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from keyfob.errors import ConfigError
from keyfob.server.limits import LimitSettings
from keyfob.server.register import Register
from keyfob.server.serve import HttpServer, Listen, Operators, make_server
from keyfob.server.settings import ServerSettings
from tests.free_ports import free_port

pytestmark = pytest.mark.sqlite

PATIENCE = 30.0


@pytest.fixture
def ports() -> tuple[int, int]:
    return free_port(), free_port()


@pytest.fixture
def server(database: Path, ports: tuple[int, int]) -> Iterator[HttpServer]:
    settings = ServerSettings(
        issuer=f"http://127.0.0.1:{ports[0]}",
        audience="mqtt",
        database=database,
        limits=LimitSettings(failure_burst=2),
    )
    ready = threading.Event()
    made = make_server(
        settings,
        Listen(port=ports[0]),
        on_ready=ready.set,
        operators=Operators(listen=Listen(port=ports[1]), audit_dropped=lambda: 7),
    )
    thread = threading.Thread(target=made.run)
    thread.start()
    assert ready.wait(PATIENCE)
    yield made
    made.should_exit = True
    thread.join(PATIENCE)
    assert not thread.is_alive()


def numbers(port: int) -> dict[str, float]:
    answer = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {
        sample.name + "".join(f" {value}" for _, value in sorted(sample.labels.items())): (
            sample.value
        )
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_it_counts_what_was_issued_refused_and_limited(
    server: HttpServer, ports: tuple[int, int], database: Path
) -> None:
    with Register.open(database) as register:
        secret = register.add_device("dev1").secret
    url = f"http://127.0.0.1:{ports[0]}/oauth2/token"
    form = {"grant_type": "client_credentials", "client_id": "dev1", "client_secret": secret}
    with httpx.Client(trust_env=False) as http:
        answer = http.post(url, data=form)
        assert answer.status_code == 200
        token = {"token": answer.json()["access_token"]}
        revoke = url.replace("token", "revoke")
        assert http.post(revoke, data=token, auth=("dev1", secret)).status_code == 200
        for _ in range(5):
            http.post(url, data=form | {"client_id": "dev2"})
    found = numbers(ports[1])
    assert found["keyfob_server_tokens_issued_total client_credentials"] == 1
    assert found["keyfob_server_tokens_revoked_total"] == 1
    assert sum(value for name, value in found.items() if "refusals_total" in name) == 2
    assert found["keyfob_server_refusals_total invalid_client client_unknown token"] == 2
    assert found["keyfob_server_limited_total limit_failures"] == 3
    assert found["keyfob_server_audit_dropped_total"] == 7
    assert "keyfob_server_connections" in found
    assert "process_resident_memory_bytes" in found


def test_health_is_on_both_listeners_and_metrics_on_one(
    server: HttpServer, ports: tuple[int, int]
) -> None:
    for port in ports:
        for path in ("healthz", "readyz"):
            answer = httpx.get(f"http://127.0.0.1:{port}/{path}", trust_env=False)
            assert answer.json() == {"status": "ok"}
    assert httpx.get(f"http://127.0.0.1:{ports[0]}/metrics", trust_env=False).status_code == 404
    answer = httpx.post(f"http://127.0.0.1:{ports[1]}/metrics", trust_env=False)
    assert answer.status_code == 405
    assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD"}
    assert httpx.get(f"http://127.0.0.1:{ports[1]}/oauth2/jwks", trust_env=False).status_code == 404


def test_a_port_that_is_taken_leaves_nothing_open(
    server: HttpServer, ports: tuple[int, int], tmp_path: Path
) -> None:
    free = free_port()
    settings = ServerSettings(
        issuer="https://localhost", audience="mqtt", database=tmp_path / "other.db"
    )
    with pytest.raises(ConfigError, match="cannot listen"):
        make_server(settings, Listen(port=free), operators=Operators(listen=Listen(port=ports[1])))
    assert not (tmp_path / "other.db").exists()
