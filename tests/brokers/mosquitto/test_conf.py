# SPDX-License-Identifier: Apache-2.0
"""The rendered mosquitto.conf: what it says, what it refuses, and that Mosquitto takes it."""

from __future__ import annotations

import datetime
import getpass
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from keyfob.brokers.mosquitto.build import build_plugin
from keyfob.brokers.mosquitto.conf import (
    MosquittoSettings,
    PluginSettings,
    render,
    render_plugin,
)
from keyfob.brokers.mosquitto.plugin_options import OPTIONS
from keyfob.errors import ConfigError
from tests.free_ports import free_ports

MOSQUITTO = shutil.which("mosquitto", path=os.environ["PATH"] + ":/usr/sbin") or "mosquitto"


def settings(directory: Path = Path("/srv/keyfob"), **changes: Any) -> MosquittoSettings:
    values: dict[str, Any] = {
        "plugin": directory / "plugin.so",
        "guard_socket": directory / "guard.sock",
        "persistence_location": directory,
        "certificate_file": directory / "server.pem",
        "key_file": directory / "server.key",
    }
    return MosquittoSettings(**{**values, **changes})


def options(text: str) -> list[tuple[str, str]]:
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.partition(" ")[0], line.partition(" ")[2]) for line in lines]


def test_nobody_comes_in_anonymously_on_any_listener() -> None:
    said = options(render(settings(plain_port=1883, websockets_port=8884)))
    assert said[:2] == [("per_listener_settings", "false"), ("allow_anonymous", "false")]
    assert [value for name, value in said if name == "allow_anonymous"] == ["false"]


def test_no_option_replaces_the_username_before_the_plugin_sees_it() -> None:
    """With these Mosquitto never asks the plugin."""
    text = render(settings(ca_file=Path("/srv/ca.pem")))
    assert "use_identity_as_username" not in text
    assert "use_subject_as_username" not in text


def test_the_plugin_options_follow_the_plugin_line_at_once() -> None:
    names = [name for name, _ in options(render(settings()))]
    start = names.index("plugin")
    count = sum(name.startswith("plugin_opt_") for name in names)
    assert all(name.startswith("plugin_opt_") for name in names[start + 1 : start + 1 + count])


def test_every_plugin_option_that_the_plugin_knows_is_said() -> None:
    plugin = PluginSettings(
        plugin=Path("/p.so"),
        guard_socket=Path("/run/keyfob/guard.sock"),
        decisions="blocking",
        mode="mixed",
        guard_timeout_ms=50,
        decision_timeout_ms=900,
        exchange_timeout_ms=700,
        guard_users=("keyfob", "_guard"),
        broker_name="kühlhaus 7",
        auto_id_prefix="anon-",
        offline_records=5,
        startup_wait_ms=0,
    )
    said = options(render_plugin(plugin))
    assert {name.removeprefix("plugin_opt_") for name, _ in said[1:]} == OPTIONS.keys()
    assert said == [
        ("plugin", "/p.so"),
        ("plugin_opt_guard_socket", "/run/keyfob/guard.sock"),
        ("plugin_opt_decisions", "blocking"),
        ("plugin_opt_mode", "mixed"),
        ("plugin_opt_guard_timeout_ms", "50"),
        ("plugin_opt_decision_timeout_ms", "900"),
        ("plugin_opt_exchange_timeout_ms", "700"),
        ("plugin_opt_guard_users", "keyfob,_guard"),
        ("plugin_opt_broker_name", "kühlhaus 7"),
        ("plugin_opt_auto_id_prefix", "anon-"),
        ("plugin_opt_offline_records", "5"),
        ("plugin_opt_startup_wait_ms", "0"),
    ]


def test_broker_and_plugin_agree_on_the_prefix_of_assigned_identifiers() -> None:
    said = dict(options(render(settings(auto_id_prefix="anon-"))))
    assert said["auto_id_prefix"] == said["plugin_opt_auto_id_prefix"] == "anon-"


def test_the_plain_listener_is_on_the_loopback_address_and_has_no_certificate() -> None:
    said = options(render(settings(plain_port=1883, host="0.0.0.0")))
    assert ("listener", "8883 0.0.0.0") in said
    assert said[-1] == ("listener", "1883 127.0.0.1")


def test_each_tls_listener_names_its_certificate_and_the_lowest_version() -> None:
    said = options(render(settings(websockets_port=8884, tls_version="tlsv1.3")))
    assert [value for name, value in said if name == "certfile"] == ["/srv/keyfob/server.pem"] * 2
    assert [value for name, value in said if name == "tls_version"] == ["tlsv1.3"] * 2
    assert said[-1] == ("protocol", "websockets")


def test_state_is_saved_every_interval_by_default_and_at_each_change_when_asked() -> None:
    by_time = dict(options(render(settings(autosave_interval=30))))
    assert (by_time["autosave_on_changes"], by_time["autosave_interval"]) == ("false", "30")
    by_change = dict(options(render(settings(autosave_interval=30, save_every_change=True))))
    assert (by_change["autosave_on_changes"], by_change["autosave_interval"]) == ("true", "1")
    assert by_change["persistence"] == "true"


def test_debug_messages_which_show_packets_are_not_logged() -> None:
    kinds = {value for name, value in options(render(settings())) if name == "log_type"}
    assert kinds == {"error", "warning", "notice", "information"}


TEXT_SETTINGS = ("broker_name", "auto_id_prefix", "tls_version", "user", "host")
PATH_SETTINGS = (
    "plugin",
    "guard_socket",
    "persistence_location",
    "certificate_file",
    "key_file",
    "ca_file",
    "log_file",
)


@pytest.mark.parametrize("break_", ["\n", "\r", "\0", "\x85", "\u2028", "\x0b"])
@pytest.mark.parametrize("name", [*TEXT_SETTINGS, *PATH_SETTINGS, "guard_users"])
def test_a_line_break_in_a_value_is_refused(name: str, break_: str) -> None:
    text = f"x{break_}allow_anonymous true"
    value: Any = text
    if name in PATH_SETTINGS:
        value = Path("/" + text)
    elif name == "guard_users":
        value = (text,)
    with pytest.raises(ConfigError):
        settings(**{name: value})


@given(name=st.sampled_from([*TEXT_SETTINGS, *PATH_SETTINGS]), text=st.text(min_size=1))
def test_no_value_adds_an_option(name: str, text: str) -> None:
    """Whatever a value is, the file has the same options as without it, or there is no file."""
    optional: dict[str, Any] = {
        "host": "localhost",
        "user": "u",
        "ca_file": Path("/c"),
        "log_file": Path("/l"),
    }
    usual = settings(**optional)
    expected = [option for option, _ in options(render(usual))]
    value: Any = Path("/" + text) if name in PATH_SETTINGS else text
    try:
        changed = settings(**{**optional, name: value})
    except ConfigError:
        return
    rendered = render(changed)
    assert [option for option, _ in options(rendered)] == expected
    assert len(rendered.split("\n")) == len(render(usual).split("\n"))


@pytest.mark.parametrize(
    "changes",
    [
        {"port": 0},
        {"port": 65_536},
        {"plain_port": 8883},
        {"autosave_interval": 0},
        {"guard_timeout_ms": 0},
        {"decision_timeout_ms": 99},
        {"exchange_timeout_ms": 60_001},
        {"decisions": "later"},
        {"mode": "both"},
        {"max_packet_size": 1000},
        {"sys_interval": -1},
        {"offline_records": -1},
        {"startup_wait_ms": -1},
        {"tls_version": "tlsv1.1"},
        {"host": "0.0.0.0 # anywhere"},
        {"user": "two words"},
        {"broker_name": ""},
        {"broker_name": "n" * 256},
        {"guard_socket": Path("/" + "s" * 107)},
        {"guard_users": tuple(f"user{n}" for n in range(17))},
        {"broker_name": " padded"},
        {"guard_users": ("a,b",)},
        {"auto_id_prefix": ""},
        {"plugin": Path("relative.so")},
    ],
    ids=str,
)
def test_a_value_that_mosquitto_would_misread_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        settings(**changes)


# A real Mosquitto


@pytest.fixture
def installation(tmp_path: Path) -> Path:
    """A directory with a certificate for localhost, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (tmp_path / "server.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    (tmp_path / "server.key").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    return tmp_path


@contextmanager
def broker(directory: Path, configuration: str) -> Iterator[subprocess.Popen[str]]:
    path = directory / "mosquitto.conf"
    path.write_text(configuration)
    with (
        (directory / "output").open("w") as output,
        subprocess.Popen(
            [MOSQUITTO, "-c", str(path)], stdout=output, stderr=subprocess.STDOUT, text=True
        ) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()
            process.wait(20)


def log_of(directory: Path) -> str:
    return (directory / "log").read_text() if (directory / "log").exists() else ""


def wait_for(directory: Path, pattern: str, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 30
    while not re.search(pattern, log_of(directory)):
        if process.poll() is not None or time.monotonic() > deadline:
            pytest.fail(log_of(directory) + (directory / "output").read_text())
        time.sleep(0.02)


def connack(stream: socket.socket) -> bytes:
    """Send a CONNECT of MQTT 3.1.1 without credentials; return the answer."""
    stream.sendall(bytes.fromhex("100e 0004 4d515454 04 02 003c 0002 6431"))
    return stream.recv(64)


def without_plugin(configuration: str) -> str:
    lines = configuration.splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("plugin"))


def test_mosquitto_takes_every_line_and_refuses_anonymous_clients(installation: Path) -> None:
    """Everything but the plugin, which has its own test below: three listeners, both protocols."""
    tls, web, plain = free_ports(3)
    text = render(
        settings(
            installation,
            host="127.0.0.1",
            port=tls,
            websockets_port=web,
            plain_port=plain,
            ca_file=installation / "server.pem",
            user=getpass.getuser(),
            log_file=installation / "log",
            save_every_change=True,
        )
    )
    with broker(installation, without_plugin(text)) as process:
        wait_for(installation, "running", process)
        with socket.create_connection(("127.0.0.1", plain), 10) as stream:
            assert connack(stream) == b"\x20\x02\x00\x05"
        context = ssl.create_default_context(cafile=str(installation / "server.pem"))
        with (
            socket.create_connection(("127.0.0.1", tls), 10) as raw,
            context.wrap_socket(raw, server_hostname="localhost") as encrypted,
        ):
            assert encrypted.version() == "TLSv1.3"
            assert connack(encrypted) == b"\x20\x02\x00\x05"
        process.send_signal(signal.SIGHUP)
        wait_for(installation, "Reloading config", process)
        with socket.create_connection(("127.0.0.1", plain), 10) as stream:
            assert connack(stream) == b"\x20\x02\x00\x05"
    assert process.returncode == 0
    assert "Error" not in log_of(installation)
    assert (installation / "mosquitto.db").exists()


def test_mosquitto_loads_the_plugin_with_every_option(installation: Path) -> None:
    """There is no guard here: the broker runs all the same, and lets nobody in."""
    tls, plain = free_ports(2)
    text = render(
        settings(
            installation,
            plugin=build_plugin(installation),
            host="127.0.0.1",
            port=tls,
            plain_port=plain,
            user=getpass.getuser(),
            log_file=installation / "log",
            guard_users=("nobody",),
            startup_wait_ms=10,
        )
    )
    with broker(installation, text) as process:
        wait_for(installation, "running", process)
        with socket.create_connection(("127.0.0.1", plain), 10) as stream:
            # "Server unavailable" is what no Mosquitto says here: 2.0 closes, 2.1 says 5.
            assert connack(stream) in {b"", b"\x20\x02\x00\x05"}
    assert process.returncode == 0
    assert "Error" not in log_of(installation)
