# SPDX-License-Identifier: Apache-2.0
"""`keyfob init`: a new installation, one that is there, and what is not an installation."""

from __future__ import annotations

import socket
import stat
import threading
from pathlib import Path

import pytest
from cryptography import x509

from keyfob.cli.initialising import initialise
from keyfob.cli.installation import settings_of
from keyfob.cli.ports import Ports, refuse_taken
from keyfob.config import load
from keyfob.errors import ConfigError
from tests.cli.commands import Shell

FREE = ("--ports", "auto")


@pytest.fixture
def fresh(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Shell:
    return Shell(capsys, tmp_path / "fresh")


def contents(directory: Path) -> dict[str, bytes]:
    # SQLite's helper files come and go with each look.
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file() and not path.name.startswith("server.db-")
    }


def test_a_new_installation_is_complete_and_private(fresh: Shell) -> None:
    outcome = fresh.ok("init", *FREE)
    assert "is ready" in outcome.out
    assert f"next: keyfob up --dir {fresh.directory}" in outcome.out
    assert {"keyfob.toml", "ca.pem", "ca.key", "server.pem", "server.key", "guard.secret"} <= set(
        contents(fresh.directory)
    )
    assert stat.S_IMODE(fresh.directory.stat().st_mode) == 0o700
    for name in ("ca.key", "server.key", "guard.secret", "server.db"):
        assert stat.S_IMODE((fresh.directory / name).stat().st_mode) == 0o600, name


def test_a_second_init_changes_nothing(fresh: Shell) -> None:
    assert fresh.json("init", *FREE)["made"] is True
    before = contents(fresh.directory)
    assert fresh.json("init", *FREE)["made"] is False
    assert "is there already" in fresh.ok("init").out
    assert contents(fresh.directory) == before


def test_what_is_asked_of_an_installation_that_has_it_otherwise_is_not_silently_ignored(
    fresh: Shell,
) -> None:
    fresh.ok("init", *FREE)
    out = fresh.ok("init", "--port", "9", "--name", "other.example").out
    assert "--port 9 is not used: change server.port in" in out
    assert "--name other.example is not used: change server.issuer in" in out


def test_a_second_init_makes_what_is_missing(fresh: Shell) -> None:
    fresh.ok("init", *FREE)
    before = contents(fresh.directory)
    for name in ("guard.secret", "server.pem", "server.db"):
        (fresh.directory / name).unlink()
    fresh.ok("init")
    after = contents(fresh.directory)
    assert set(after) == set(before)
    assert after["guard.secret"] != before["guard.secret"]
    assert after["ca.pem"] == before["ca.pem"]


def test_two_at_the_same_time_make_one_installation(tmp_path: Path) -> None:
    made = []
    threads = [
        threading.Thread(
            target=lambda: made.append(initialise(tmp_path / "d", ports=Ports(server=0, mqtt=0)))
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 4
    assert len({one.settings.server.port for one in made}) == 1


def test_the_name_stands_in_issuer_certificate_and_listening_addresses(fresh: Shell) -> None:
    fresh.ok("init", "--name", "Broker.Example", *FREE)
    settings = load(fresh.directory / "keyfob.toml")
    assert settings.server.issuer == f"https://broker.example:{settings.server.port}"
    assert settings.server.host == "0.0.0.0"
    certificate = x509.load_pem_x509_certificate((fresh.directory / "server.pem").read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {"broker.example", "localhost"} <= set(names.get_values_for_type(x509.DNSName))
    # ... and a later run, which is not told the name again, keeps it.
    (fresh.directory / "server.pem").unlink()
    fresh.ok("init")
    certificate = x509.load_pem_x509_certificate((fresh.directory / "server.pem").read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "broker.example" in names.get_values_for_type(x509.DNSName)


def test_without_a_name_only_this_machine_is_listened_to(fresh: Shell) -> None:
    fresh.ok("init", *FREE)
    settings = load(fresh.directory / "keyfob.toml")
    assert settings.server.host == settings.mosquitto.host == "127.0.0.1"


@pytest.mark.parametrize("name", ["", "bad name", "-x", "x-", "bücher.example", "a/b", "x\n"])
def test_a_bad_name_is_misuse_and_makes_nothing(fresh: Shell, name: str) -> None:
    for command in ("init", "up"):
        outcome = fresh(command, "--name", name, *FREE)
        assert outcome.code == 2
        assert "is not a host name" in outcome.err
        assert not fresh.directory.exists()


@pytest.mark.parametrize("port", ["-1", "65536", "x"])
def test_a_bad_port_is_misuse(fresh: Shell, port: str) -> None:
    outcome = fresh("init", "--port", port)
    assert outcome.code == 2
    assert "--port" in outcome.err
    assert not fresh.directory.exists()


@pytest.mark.parametrize(
    "command",
    [
        ("device", "list"),
        ("device", "add", "x"),
        ("application", "list"),
        ("token", "--client-id", "x"),
        ("inspect", "x"),
        ("explain", "--token", "x", "--client-id", "x", "publish", "x"),
        ("server",),
        ("guard",),
        ("mosquitto", "config"),
    ],
)
def test_without_an_installation_every_command_says_what_to_type(
    fresh: Shell, command: tuple[str, ...]
) -> None:
    outcome = fresh(*command)
    assert outcome.code == 2
    assert f"keyfob init --dir {fresh.directory}" in outcome.err
    assert not fresh.directory.exists()


def test_a_broken_configuration_is_named_with_its_file(fresh: Shell) -> None:
    fresh.ok("init", *FREE)
    path = fresh.directory / "keyfob.toml"
    path.write_text(path.read_text() + "[sever]\n")
    outcome = fresh("device", "list")
    assert outcome.code == 2
    assert str(path) in outcome.err
    assert "sever: there is no such key; write server" in outcome.err


def test_a_folder_that_cannot_be_made_is_one_line(fresh: Shell) -> None:
    fresh.directory.write_text("a file")
    outcome = fresh("init")
    assert outcome.code == 2
    assert outcome.err.count("\n") == 1
    assert str(fresh.directory) in outcome.err


def test_free_ports_are_different_and_free(tmp_path: Path) -> None:
    for number in range(5):
        installed = initialise(tmp_path / str(number), ports=Ports(server=0, mqtt=0, plain=0))
        mosquitto = installed.settings.mosquitto
        ports = {installed.settings.server.port, mosquitto.port, mosquitto.plain_port}
        assert len(ports) == 3
        refuse_taken(installed.settings)


def test_a_taken_port_is_named_with_the_key_that_changes_it(tmp_path: Path) -> None:
    settings = initialise(tmp_path / "d", ports=Ports(server=0, mqtt=0, plain=0)).settings
    for key, port in (
        ("server.port", settings.server.port),
        ("mosquitto.port", settings.mosquitto.port),
        ("mosquitto.plain_port", settings.mosquitto.plain_port),
    ):
        with socket.create_server(("127.0.0.1", port)):
            with pytest.raises(ConfigError) as caught:
                refuse_taken(settings)
            assert f"port {port} is taken" in caught.value.message
            assert f"change {key} in {settings.path}" in caught.value.message


def test_an_address_of_another_machine_is_refused(tmp_path: Path) -> None:
    installed = initialise(tmp_path / "d", ports=Ports(server=0, mqtt=0, plain=0))
    path = installed.settings.path
    path.write_text(path.read_text().replace('host = "127.0.0.1"', 'host = "192.0.2.1"'))
    with pytest.raises(ConfigError, match=r"cannot listen on 192\.0\.2\.1"):
        refuse_taken(settings_of(installed.directory).settings)
