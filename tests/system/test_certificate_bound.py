# SPDX-License-Identifier: Apache-2.0
"""A token that is bound to a certificate, from `keyfob device add` to the broker (RFC 8705)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from keyfob.cli.installation import Installation, settings_of
from tests.cli.commands import KEYFOB, started
from tests.free_ports import free_port
from tests.running import until
from tests.server.client_certificates import Shown, named, signed
from tests.system.test_own_mosquitto import (
    broker_user,
    configuration,
    folder,
    keyfob,
    prepare,
)

__all__ = ["folder"]  # the fixture


class World:
    """Server, guard and a Mosquitto with two listeners: one wants certificates, one does not."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = signed(named("clients"), authority=True)
        self.installation = prepare(folder)
        self.plain_of_certificates = free_port()
        self._ask_for_certificates()

    def _ask_for_certificates(self) -> None:
        ca = self.folder / "certs" / "clients.pem"
        ca.write_bytes(self.authority.pem)
        path = self.installation.settings.path
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace("[server]", f'[server]\nclient_ca = "{ca}"', 1))
        self.installation = settings_of(self.installation.directory)

    def broker_configuration(self) -> Path:
        path = configuration(self.folder, self.installation)
        certs = self.folder / "certs"
        with path.open("a", encoding="utf-8") as file:
            file.write(
                f"\ncafile {certs}/clients.pem\nrequire_certificate true\n"
                f"listener {self.plain_of_certificates} 127.0.0.1\n"
                f"certfile {certs}/server.pem\nkeyfile {certs}/server.key\n"
            )
        return path

    def device(self, name: str) -> tuple[str, ...]:
        """Make a certificate of the authority; return its file and its key's."""
        names: list[x509.GeneralName] = [x509.DNSName(name)]
        shown: Shown = signed(named(name), issuer=self.authority, names=names)
        return shown.files(self.folder, name)

    def publish(self, token: str, *files: str) -> str:
        """Publish as the device ``meter``; return what is said of it, nothing if it went."""
        port = self.installation.settings.mosquitto.port if files else self.plain_of_certificates
        ca = str(self.installation.directory / "ca.pem")
        certificate = ("--cert", files[0], "--key", files[1]) if files else ()
        done = subprocess.run(
            ["mosquitto_pub", "-V", "mqttv5", "-h", "localhost", "-p", str(port), "--cafile", ca,
             *certificate, "-i", "meter", "-u", "meter", "-P", token, "-q", "1", "-t", "m/t",
             "-m", "x"],
            capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
        return done.stdout + done.stderr

    def token(self, *files: str) -> dict[str, Any]:
        server = self.installation.settings.server
        command = ["curl", "-sS", "--cacert", str(self.installation.directory / "ca.pem")]
        command += [f"{server.issuer}/oauth2/token", "-d", "grant_type=client_credentials"]
        command += ["-d", "client_id=meter"]
        if files:
            command += ["--cert", files[0], "--key", files[1]]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer


@pytest.fixture
def world(folder: Path) -> Iterator[World]:
    world = World(folder)
    where = ("--dir", str(world.installation.directory))
    subprocess.run(
        [*KEYFOB, "mosquitto", "build", "--out", str(folder / "lib")],
        check=True, timeout=120, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    program = shutil.which("mosquitto", path=os.environ["PATH"] + ":/usr/sbin")
    assert program is not None
    output = folder / "mosquitto.log"
    with (
        started(folder / "server.log", "server", *where) as server,
        started(folder / "guard.log", "guard", *where) as guard,
        output.open("wb") as log,
    ):
        server.until("ready at")
        guard.until("ready at")
        path = world.broker_configuration()
        if user := broker_user():
            shutil.chown(folder / "certs" / "clients.pem", user=user)
        broker = subprocess.Popen([program, "-c", str(path)], stdout=log, stderr=subprocess.STDOUT)
        try:
            until("a word", lambda: " running" in output.read_text() or broker.poll() is not None)
            assert " running" in output.read_text(), output.read_text()
            yield world
        finally:
            broker.terminate()
            broker.wait(20)


def refusals(installation: Installation) -> list[str]:
    path = installation.directory / "log/audit.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [line["reason"] for line in lines if line.get("reason")]


def test_a_stolen_token_is_worth_nothing_without_the_devices_certificate(world: World) -> None:
    meter, thief = world.device("meter.example"), world.device("thief.example")
    keyfob(
        world.installation, "device", "add", "meter", "--publish", "m/#",
        "--certificate-name", "dns:meter.example", "--certificate-bound",
    )  # fmt: skip
    assert world.token()["error"] == "invalid_client"
    assert world.token(*thief)["error"] == "invalid_client"
    token = world.token(*meter)["access_token"]
    assert world.publish(token, *meter) == ""
    for stolen in (world.publish(token, *thief), world.publish(token)):
        assert "Not authorized" in stolen
    until("the audit", lambda: len(refusals(world.installation)) >= 2)
    assert set(refusals(world.installation)) == {"confirmation_unproven"}
    # It goes on where the device goes on.
    assert world.publish(token, *meter) == ""
