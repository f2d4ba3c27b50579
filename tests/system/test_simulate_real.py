# SPDX-License-Identifier: Apache-2.0
"""`keyfob simulate --real`: real devices, real tokens, a real broker; and what goes wrong."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.device.world import good, rogue, sends
from tests.running import PATIENCE, Installation, free_port, until

LIFETIME = 5


@pytest.fixture(scope="module")
def fleet(running: Installation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty devices with short tokens; the last may not read what it publishes."""
    folder = tmp_path_factory.mktemp("fleet")
    rows = [
        {
            "device": f"real-{number:02}",
            "publish": ["devices/{device}/#"],
            "subscribe": ["devices/{device}/#"] if number < 19 else [],
            "lifetime": LIFETIME,
        }
        for number in range(20)
    ]
    file, secrets = folder / "fleet.jsonl", folder / "secrets.csv"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    running.cli("device", "import", str(file), "--secrets-out", str(secrets))
    return secrets


@pytest.fixture
def simulate(running: Installation, fleet: Path) -> Callable[..., tuple[int, Any]]:
    server, mosquitto = running.settings.server, running.settings.mosquitto
    usual = {
        "--issuer": f"https://localhost:{server.port}",
        "--broker": f"mqtts://localhost:{mosquitto.port}",
        "--ca": running.ca,
        "--credentials": str(fleet),
        "--devices": "20",
        "--duration": "6s",
        "--boot": "1s",
        "--publish-every": "1s",
    }

    def run(**changes: str) -> tuple[int, Any]:
        named = {f"--{name.replace('_', '-')}": value for name, value in changes.items()}
        words = [word for pair in (usual | named).items() for word in pair]
        done = subprocess.run(
            [*command(), *words], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.stderr == ""
        return done.returncode, json.loads(done.stdout)

    return run


def command() -> list[str]:
    return [sys.executable, "-m", "keyfob.cli.main", "simulate", "--real", "--json"]


@pytest.mark.parametrize("carry", ["password", "auth:OAUTH2-JWT"])
def test_devices_renew_and_lose_nothing(
    running: Installation, simulate: Callable[..., tuple[int, Any]], carry: str, tmp_path: Path
) -> None:
    picture = tmp_path / "load.svg"
    # Two processes, as a large fleet has them.
    code, report = simulate(carry=carry, processes="2", svg=str(picture))
    assert code == 0, report
    assert report["faults"] == {}
    tokens, load = report["tokens"], report["load"]
    assert tokens["answers"] == {"200": tokens["requests"]}
    assert tokens["requests"] >= 2 * 20  # more than one lifetime
    assert set(tokens["lifetimes"]) == {str(LIFETIME)}
    assert tokens["expired_shown"] == 0
    assert report["lifetime"] == LIFETIME
    assert sum(load["each_second"]) <= tokens["requests"]
    assert len(load["each_second"]) == len(load["schedule_each_second"]) == 6
    connections, messages = report["connections"], report["messages"]
    assert connections["failed"] == connections["ended"] == {}
    again = "reauthentications" if carry.startswith("auth") else "planned_reconnects"
    assert connections[again] >= 19  # one may have renewed at the very end
    assert connections["connacks"] == {"0x00": 20 + connections["planned_reconnects"]}
    # The last device publishes, and cannot know what became of it.
    assert messages["subacks"] == {"0x01": 19, "0x87": 1}
    assert messages["sent"] == messages["acknowledged"] > messages["received"] > 0
    assert messages["lost"] == messages["twice"] == 0
    assert report["simulator"]["processes"] == 2
    assert picture.read_text(encoding="utf-8").startswith("<svg")
    told = {running.told(f"real-{number:02}")[-1][0] for number in range(20)}
    assert told <= {"allowed", "reauthenticated"}


def test_messages_that_a_token_does_not_allow_are_counted_as_refused(
    simulate: Callable[..., tuple[int, Any]],
) -> None:
    code, report = simulate(topic="elsewhere/{device}", duration="2s", devices="3")
    assert code == 0
    messages = report["messages"]
    assert messages["subacks"] == {"0x87": 3}
    assert messages["refused"] == {"0x87": messages["sent"]}
    assert messages["lost"] == 0


def test_a_wrong_secret_of_the_first_device_ends_it_before_it_begins(
    simulate: Callable[..., tuple[int, Any]], fleet: Path, tmp_path: Path
) -> None:
    wrong = tmp_path / "wrong.csv"
    wrong.write_text("device,secret\nreal-00,not-its-secret\n", encoding="utf-8")
    code, report = simulate(credentials=str(wrong), devices="1")
    assert code == 1
    assert report["error"] == "invalid_client"
    assert "not-its-secret" not in report["message"]


def test_a_wrong_secret_of_another_is_counted_and_the_others_go_on(
    simulate: Callable[..., tuple[int, Any]], fleet: Path, tmp_path: Path
) -> None:
    wrong = tmp_path / "wrong.csv"
    right = fleet.read_text(encoding="utf-8").splitlines()[:3]
    wrong.write_text("\n".join([*right, "real-07,not-its-secret", ""]), encoding="utf-8")
    code, report = simulate(credentials=str(wrong), devices="3", duration="2s", boot="0")
    assert code == 1
    assert set(report["faults"]) == {"token_refused"}
    assert report["tokens"]["answers"]["401 invalid_client"] == 1
    assert report["connections"]["connacks"] == {"0x00": 2}


def test_a_dead_server_and_a_dead_broker_are_named(
    simulate: Callable[..., tuple[int, Any]],
) -> None:
    for changes in (
        {"issuer": f"https://localhost:{free_port()}"},
        {"broker": f"mqtts://localhost:{free_port()}"},
    ):
        code, report = simulate(**changes)
        assert (code, report["error"]) == (2, "upstream_unavailable")
        assert "Connection refused" in report["message"]


def test_a_broker_that_is_another_one_is_not_trusted(
    simulate: Callable[..., tuple[int, Any]], running: Installation, tmp_path: Path
) -> None:
    # An issuer in plain text needs no certificate; the broker's is of an authority unknown here.
    other = subprocess.run(
        [sys.executable, "-m", "keyfob.cli.main", "init", "--dir", str(tmp_path / "other"),
         "--ports", "auto"],
        capture_output=True, check=True,
    )  # fmt: skip
    assert other.returncode == 0
    with rogue(good()) as server:
        code, report = simulate(issuer=server.url, ca=str(tmp_path / "other" / "ca.pem"))
    assert (code, report["error"]) == (2, "upstream_unavailable")
    assert "its certificate is not trusted" in report["message"]


def test_a_server_that_sends_the_fleet_elsewhere_is_not_followed(
    simulate: Callable[..., tuple[int, Any]],
) -> None:
    with rogue(good()) as server:
        server.metadata = {"token_endpoint": "https://keyfob.invalid/token"}
        code, report = simulate(issuer=server.url)
    assert code == 2
    assert "--allow-remote" in report["message"]
    assert server.asked == 0


def test_retry_after_is_honoured_and_counted(simulate: Callable[..., tuple[int, Any]]) -> None:
    lock, answered = threading.Lock(), iter(range(10**9))
    fine = good(expires_in=LIFETIME)
    busy = sends(b"", "503 Service Unavailable", "Retry-After: 1\r\n")

    def behave(request: bytes, connection: socket.socket) -> None:
        with lock:
            number = next(answered)
        # The first one is the try before the fleet; then each device is told to come later.
        (busy if 1 <= number <= 4 else fine)(request, connection)

    with rogue(behave) as server:
        code, report = simulate(issuer=server.url, devices="4", boot="0", duration="5s")
    tokens = report["tokens"]
    assert tokens["answers"]["503"] == 4
    assert tokens["answers"]["200"] >= 1
    assert tokens["retry_after"] == 4
    assert tokens["retry_after_ignored"] == 0
    # A broker that trusts another issuer refuses these tokens, each time by its code.
    assert code == 0
    assert set(report["connections"]["connacks"]) == {"0x87"}
    assert report["connections"]["failed"]["refused"] >= 1


def test_ctrl_c_gives_the_report_of_what_was_until_then(running: Installation, fleet: Path) -> None:
    server, mosquitto = running.settings.server, running.settings.mosquitto
    words = [
        *("--issuer", f"https://localhost:{server.port}", "--ca", running.ca),
        *("--broker", f"mqtts://localhost:{mosquitto.port}", "--credentials", str(fleet)),
        *("--devices", "5", "--boot", "0", "--duration", "10m", "--publish-every", "1s"),
    ]
    process = subprocess.Popen([*command(), *words], stdout=subprocess.PIPE, text=True)
    try:
        until("five are in", lambda: all(running.told(f"real-0{n}") for n in range(5)))
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0
    report = json.loads(out)
    assert report["interrupted"]
    assert report["connections"]["connacks"]["0x00"] >= 5
    assert report["messages"]["lost"] == 0


def test_without_a_server_and_a_broker_they_are_made_and_removed(
    tmp_path: Path,
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "keyfob.cli.main", "simulate", "--real", "--devices", "5",
         "--lifetime", "5s", "--duration", "3s", "--boot", "1s", "--publish-every", "1s"],
        capture_output=True, text=True, timeout=60, check=False,
        env={"PATH": "/usr/bin:/bin", "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, ""), done
    assert "5 devices for 3 s" in done.stdout
    assert "0 lost" in done.stdout
    assert list(tmp_path.iterdir()) == []
