# SPDX-License-Identifier: Apache-2.0
"""`keyfob simulate --real`: real devices, real tokens, a real broker; and what goes wrong."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.device.world import good, rogue, sends
from tests.free_ports import free_port
from tests.running import Installation, until

LIFETIME = 10
DURATIONS = ("3s", "30s", "90s")
"""A busy machine shows in the second or third what others show in the first."""

Simulate = Callable[..., tuple[int, Any]]
pytestmark = pytest.mark.timeout(600)


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
def simulate(running: Installation, fleet: Path) -> Simulate:
    """Run it; for longer where not `enough` came of it."""
    server, mosquitto = running.settings.server, running.settings.mosquitto
    usual = {
        "--issuer": f"https://localhost:{server.port}",
        "--broker": f"mqtts://localhost:{mosquitto.port}",
        "--ca": running.ca,
        "--credentials": str(fleet),
        "--devices": "20",
        "--boot": "1s",
        "--publish-every": "1s",
    }

    def run(
        enough: Callable[[Any], bool] = lambda _: True,
        durations: tuple[str, ...] = DURATIONS,
        **changes: str,
    ) -> tuple[int, Any]:
        named = {f"--{name.replace('_', '-')}": value for name, value in changes.items()}
        code, report = 2, None
        for duration in durations:
            words = [word for pair in (usual | named).items() for word in pair]
            done = subprocess.run(
                [*command(), "--duration", duration, *words],
                capture_output=True, text=True, timeout=300, check=False,
            )  # fmt: skip
            assert done.stderr == ""
            code, report = done.returncode, json.loads(done.stdout)
            if "error" in report or enough(report):
                break
        return code, report

    return run


def command() -> list[str]:
    return [sys.executable, "-m", "keyfob.cli.main", "simulate", "--real", "--json"]


@pytest.mark.parametrize(
    "carry", ["password", pytest.param("auth:OAUTH2-JWT", marks=pytest.mark.soak)]
)
def test_devices_renew_and_lose_nothing(
    running: Installation, simulate: Simulate, carry: str, tmp_path: Path
) -> None:
    picture = tmp_path / "load.svg"
    # Two processes, as a large fleet has them.
    again = "reauthentications" if carry.startswith("auth") else "planned_reconnects"
    code, report = simulate(
        lambda report: report["connections"][again] >= 20,
        ("8s", *DURATIONS[1:]),
        carry=carry,
        processes="2",
        svg=str(picture),
    )
    assert code == 0, report
    assert report["faults"] == {}
    tokens, load = report["tokens"], report["load"]
    assert tokens["answers"] == {"200": tokens["requests"]}
    assert set(tokens["lifetimes"]) == {str(LIFETIME)}
    assert tokens["expired_shown"] == 0
    assert report["lifetime"] == LIFETIME
    assert sum(load["each_second"]) <= tokens["requests"]
    assert len(load["each_second"]) == len(load["schedule_each_second"]) >= 6
    connections, messages = report["connections"], report["messages"]
    # Where the machine is late, a token may end before the next one is shown.
    assert set(connections["ended"]) <= {"0x98"}
    assert connections["failed"] == {}
    assert connections[again] >= 20  # more than one lifetime
    unplanned = connections["connacks"]["0x00"] - connections["planned_reconnects"]
    assert 20 <= unplanned <= 20 + sum(connections["ended"].values())
    assert set(connections["connacks"]) == {"0x00"}
    # The last device publishes, and cannot know what became of it.
    assert messages["subacks"]["0x01"] >= 19
    assert messages["subacks"]["0x87"] >= 1
    assert messages["sent"] >= messages["acknowledged"] > messages["received"] > 0
    assert messages["lost"] == messages["twice"] == 0
    assert report["simulator"]["processes"] == 2
    assert picture.read_text(encoding="utf-8").startswith("<svg")
    told = {running.told(f"real-{number:02}")[-1][0] for number in range(20)}
    assert told <= {"allowed", "reauthenticated"}


@pytest.mark.soak
def test_messages_that_a_token_does_not_allow_are_counted_as_refused(
    simulate: Simulate,
) -> None:
    code, report = simulate(
        lambda report: report["messages"]["sent"] > 0 and len(report["messages"]["subacks"]) > 0,
        topic="elsewhere/{device}",
        devices="3",
    )
    assert code == 0
    messages = report["messages"]
    assert set(messages["subacks"]) == {"0x87"}
    assert messages["refused"] == {"0x87": messages["sent"]}
    assert messages["lost"] == 0


def test_a_wrong_secret_of_the_first_device_ends_it_before_it_begins(
    simulate: Simulate, fleet: Path, tmp_path: Path
) -> None:
    wrong = tmp_path / "wrong.csv"
    wrong.write_text("device,secret\nreal-00,not-its-secret\n", encoding="utf-8")
    code, report = simulate(credentials=str(wrong), devices="1")
    assert code == 1
    assert report["error"] == "invalid_client"
    assert "not-its-secret" not in report["message"]


@pytest.mark.soak
def test_a_wrong_secret_of_another_is_counted_and_the_others_go_on(
    simulate: Simulate, fleet: Path, tmp_path: Path
) -> None:
    wrong = tmp_path / "wrong.csv"
    right = fleet.read_text(encoding="utf-8").splitlines()[:3]
    wrong.write_text("\n".join([*right, "real-07,not-its-secret", ""]), encoding="utf-8")
    code, report = simulate(
        lambda report: (
            report["connections"]["connacks"].get("0x00", 0) >= 2
            and len(report["tokens"]["answers"]) > 1
        ),
        credentials=str(wrong),
        devices="3",
    )
    assert code == 1
    assert set(report["faults"]) == {"token_refused"}
    assert report["tokens"]["answers"]["401 invalid_client"] == 1
    assert set(report["connections"]["connacks"]) == {"0x00"}


def test_a_dead_server_and_a_dead_broker_are_named(
    simulate: Simulate,
) -> None:
    for changes in (
        {"issuer": f"https://localhost:{free_port()}"},
        {"broker": f"mqtts://localhost:{free_port()}"},
    ):
        code, report = simulate(**changes)
        assert (code, report["error"]) == (2, "upstream_unavailable")
        assert "Connection refused" in report["message"]


def test_a_broker_that_is_another_one_is_not_trusted(
    simulate: Simulate, running: Installation, tmp_path: Path
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
    simulate: Simulate,
) -> None:
    with rogue(good()) as server:
        server.metadata = {"token_endpoint": "https://keyfob.invalid/token"}
        code, report = simulate(issuer=server.url)
    assert code == 2
    assert "--allow-remote" in report["message"]
    assert server.asked == 0


@pytest.mark.soak
def test_retry_after_is_honoured_and_counted(simulate: Simulate) -> None:
    fine, busy = good(expires_in=LIFETIME), sends(b"", "503 Busy", "Retry-After: 1\r\n")
    once: set[bytes] = set()

    def behave(request: bytes, connection: socket.socket) -> None:
        who = request.lower().partition(b"authorization: ")[2].partition(b"\r\n")[0]
        # The first device had its token before the fleet began; each other is told to come later.
        (fine if who in once or not once else busy)(request, connection)
        once.add(who)

    def enough(report: Any) -> bool:
        answers = report["tokens"]["answers"]
        done = answers.get("200", 0) >= 4 and "refused" in report["connections"]["failed"]
        if not done:
            once.clear()
        return bool(done)

    with rogue(behave) as server:
        code, report = simulate(enough, issuer=server.url, devices="4", boot="0")
    tokens = report["tokens"]
    assert len(once) == 4
    assert tokens["retry_after"] == tokens["answers"].get("503", 0) == 3
    assert tokens["retry_after_ignored"] == 0
    # A broker that trusts another issuer refuses these tokens, each time by its code.
    assert code == 0
    assert set(report["connections"]["connacks"]) == {"0x87"}


def test_ctrl_c_gives_the_report_of_what_was_until_then(running: Installation, fleet: Path) -> None:
    server, mosquitto = running.settings.server, running.settings.mosquitto
    words = [
        *("--issuer", f"https://localhost:{server.port}", "--ca", running.ca),
        *("--broker", f"mqtts://localhost:{mosquitto.port}", "--credentials", str(fleet)),
        *("--devices", "5", "--boot", "0", "--duration", "10m", "--publish-every", "1s"),
    ]
    names = [f"real-0{number}" for number in range(5)]
    before = {name: len(running.told(name)) for name in names}
    process = subprocess.Popen([*command(), *words], stdout=subprocess.PIPE, text=True)
    try:
        until("five are in", lambda: all(len(running.told(n)) > before[n] for n in names), 240)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=120)
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
         "--lifetime", "5s", "--duration", "3s", "--publish-every", "1s"],
        capture_output=True, text=True, timeout=300, check=False,
        env={"PATH": "/usr/bin:/bin", "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, ""), done
    assert "5 devices for 3 s; booted within 1 s" in done.stdout
    assert "0 lost" in done.stdout
    assert list(tmp_path.iterdir()) == []
