# SPDX-License-Identifier: Apache-2.0
"""A Mosquitto of one's own, set up as examples/mosquitto.conf and the documentation say."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from keyfob.cli.initialising import initialise
from keyfob.cli.installation import Installation, settings_of
from keyfob.cli.ports import Ports
from tests.cli.commands import KEYFOB, started
from tests.running import until

EXAMPLE = Path(__file__).parents[2] / "examples" / "mosquitto.conf"


def broker_user() -> str:
    """Debian's user of Mosquitto, which a broker that is started as root becomes."""
    try:
        return pwd.getpwnam("mosquitto").pw_name if os.geteuid() == 0 else ""
    except KeyError:
        return ""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that other users may enter, as the system's own are."""
    path = Path(tempfile.mkdtemp(prefix="keyfob-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def prepare(folder: Path) -> Installation:
    """Do what docs/configuration.md tells under "A broker that runs as another user"."""
    installation = initialise(folder / "guard", ports=Ports(server=0, mqtt=0, plain=0))
    (folder / "run").mkdir(mode=0o750)
    for name in ("stored", "certs"):
        (folder / name).mkdir()
    for name in ("server.pem", "server.key"):
        shutil.copy(installation.directory / name, folder / "certs")
    guard = f'socket = "{folder}/run/guard.sock"\n'
    if user := broker_user():
        guard += f'socket_users = ["{user}"]\nsocket_group = "{user}"\n'
        shutil.chown(folder / "run", group=user)
        for path in (folder / "stored", *(folder / "certs").iterdir()):
            shutil.chown(path, user=user)
    path = installation.settings.path
    lines = [
        guard if line.startswith("socket = ") else line
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
    return settings_of(installation.directory)


def configuration(folder: Path, installation: Installation) -> Path:
    """Write the example with this machine's places."""
    text = EXAMPLE.read_text(encoding="utf-8")
    for old, new in {
        "plugin /usr/lib/keyfob/": f"plugin {folder}/lib/",
        "/run/keyfob/guard.sock": f"{folder}/run/guard.sock",
        "plugin_opt_guard_users keyfob": (
            f"plugin_opt_guard_users {pwd.getpwuid(os.geteuid()).pw_name}"
        ),
        "/var/lib/mosquitto/": f"{folder}/stored/",
        "listener 8883": f"listener {installation.settings.mosquitto.port} 127.0.0.1",
        "/etc/mosquitto/certs/": f"{folder}/certs/",
    }.items():
        assert old in text, f"examples/mosquitto.conf has no {old!r} any more"
        text = text.replace(old, new)
    path = folder / "mosquitto.conf"
    path.write_text(text, encoding="utf-8")
    return path


def keyfob(installation: Installation, *arguments: str, **environment: str) -> str:
    done = subprocess.run(
        [*KEYFOB, *arguments, "--dir", str(installation.directory)],
        capture_output=True, text=True, timeout=60, check=False, env=os.environ | environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def publish(installation: Installation, token: str, topic: str) -> str:
    done = subprocess.run(
        ["mosquitto_pub", "-V", "mqttv5", "-h", "localhost",
         "-p", str(installation.settings.mosquitto.port),
         "--cafile", str(installation.directory / "ca.pem"),
         "-i", "own1", "-u", "own1", "-P", token, "-q", "1", "-t", topic, "-m", "x"],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    return done.stdout + done.stderr


def test_the_example_enforces_tokens_in_a_broker_that_runs_as_its_own_user(folder: Path) -> None:
    installation = prepare(folder)
    where = ("--dir", str(installation.directory))
    subprocess.run(
        [*KEYFOB, "mosquitto", "build", "--out", str(folder / "lib")],
        check=True, timeout=120, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    program = shutil.which("mosquitto", path=os.environ["PATH"] + ":/usr/sbin")
    assert program is not None
    with (
        started(folder / "server.log", "server", *where) as server,
        started(folder / "guard.log", "guard", *where) as guard,
        (folder / "mosquitto.log").open("wb") as log,
    ):
        server.until("ready at")
        guard.until("ready at")
        broker = subprocess.Popen(
            [program, "-c", str(configuration(folder, installation))],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            output = folder / "mosquitto.log"
            until("a word", lambda: " running" in output.read_text() or broker.poll() is not None)
            assert " running" in output.read_text(), output.read_text()
            added = keyfob(installation, "device", "add", "own1", "--publish", "own/#", "--json")
            token = keyfob(
                installation, "token", "--client-id", "own1",
                KEYFOB_CLIENT_SECRET=json.loads(added)["client_secret"],
            ).strip()  # fmt: skip
            assert publish(installation, token, "own/t") == ""
            assert "Not authorized" in publish(installation, token, "other/t")
            assert "Not authorized" in publish(installation, "garbage", "own/t")
            if user := broker_user():
                owner = Path(f"/proc/{broker.pid}").stat().st_uid
                assert owner == pwd.getpwnam(user).pw_uid
        finally:
            broker.terminate()
            broker.wait(20)
