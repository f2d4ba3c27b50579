# SPDX-License-Identifier: Apache-2.0
"""The text of a mosquitto.conf that enforces tokens, for Mosquitto 2.0.11 and later.

mosquitto.conf has one option a line and no quoting: a line break in a value would be another
option. So every value is checked where the settings are made, and ``render`` only writes.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, get_args

from keyfob.errors import ConfigError

__all__ = [
    "LEAST_PACKET",
    "Decisions",
    "Mode",
    "MosquittoSettings",
    "PluginSettings",
    "render",
    "render_plugin",
]

Decisions = Literal["auto", "blocking", "delayed"]
Mode = Literal["exclusive", "mixed"]

_TLS_VERSIONS: Final = frozenset({"tlsv1.2", "tlsv1.3"})
# Two fields of 65,535 bytes in one CONNECT must reach the guard, to be refused by their content.
LEAST_PACKET: Final = 262_144
_MOST_PACKET: Final = 268_435_460  # MQTT 5.0 section 2.1.4
_HOST_NAME: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
_USER_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}\$?")
_AUTO_ID_PREFIX: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_LOOPBACK: Final = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginSettings:
    """How the plugin finds the guard, and what it does while the guard is silent.

    Args:
        plugin: The compiled plugin; the broker's user must be able to read it.
        guard_socket: Where the guard listens.
        decisions: Whether the broker stops while it waits for a decision (``blocking``), or goes on
            (``delayed``, Mosquitto 2.1 and later). ``auto``: stops, with every Mosquitto so far.
        mode: Whether nobody comes in without a token (``exclusive``), or what is none is left to
            the broker's other ways in (``mixed``).
        guard_timeout_ms: How long a broker that stops waits for a decision, so this is short.
        decision_timeout_ms: How long a client waits where the broker goes on.
        exchange_timeout_ms: How long a client has to answer when its method asks it for more.
        guard_users: Users that the guard may run as, besides the broker's own and root.
        broker_name: The name that the guard knows this broker's sessions by.
        auto_id_prefix: What the broker puts before an identifier that it assigns.
        offline_records: How many stored sessions the plugin remembers.
        startup_wait_ms: How long the broker waits at its start for the guard to say what it knows.

    Raises:
        ConfigError: A value cannot stand in mosquitto.conf.
    """

    plugin: Path
    guard_socket: Path
    decisions: Decisions = "auto"
    mode: Mode = "exclusive"
    guard_timeout_ms: int = 200
    decision_timeout_ms: int = 5_000
    exchange_timeout_ms: int = 30_000
    guard_users: tuple[str, ...] = ()
    broker_name: str = "mosquitto"
    auto_id_prefix: str = "auto-"
    offline_records: int = 100_000
    startup_wait_ms: int = 3_000

    def __post_init__(self) -> None:
        _check_path("plugin", self.plugin)
        _check_path("guard_socket", self.guard_socket, 107)  # sun_path in unix(7)
        if self.decisions not in get_args(Decisions):
            raise ConfigError(f"mosquitto: decisions is one of {sorted(get_args(Decisions))}")
        if self.mode not in get_args(Mode):
            raise ConfigError(f"mosquitto: mode is one of {sorted(get_args(Mode))}")
        _check_number("guard_timeout_ms", self.guard_timeout_ms, 1, 10_000)
        _check_number("decision_timeout_ms", self.decision_timeout_ms, 100, 60_000)
        _check_number("exchange_timeout_ms", self.exchange_timeout_ms, 100, 60_000)
        if len(self.guard_users) > 16:
            raise ConfigError("mosquitto: guard_users names more than 16 users")
        for user in self.guard_users:
            _check_pattern("guard_users", user, _USER_NAME)
        _check_line("broker_name", self.broker_name, 255)
        _check_pattern("auto_id_prefix", self.auto_id_prefix, _AUTO_ID_PREFIX)
        _check_number("offline_records", self.offline_records, 0, 100_000_000)
        _check_number("startup_wait_ms", self.startup_wait_ms, 0, 60_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class MosquittoSettings(PluginSettings):
    """A broker on one machine: TLS for the world, plain MQTT on the loopback address at most.

    Args besides those of ``PluginSettings``:
        persistence_location: The directory of the broker's stored sessions and messages.
        certificate_file: The listener's certificate, with its chain.
        key_file: The private key of that certificate.
        ca_file: Who signs client certificates. Also the listener's own authority, by custom.
        host: The address that the TLS listeners bind to; None binds all.
        port: The port for MQTT over TLS.
        websockets_port: A port for MQTT over WebSockets over TLS. Mosquitto must be built with it.
        plain_port: A port for MQTT without TLS, on the loopback address only: whoever can read
            along could take a token.
        tls_version: The lowest version of TLS that is spoken.
        user: Whom a broker that is started as root becomes; None leaves that to Mosquitto
            (``mosquitto``). Otherwise without effect.
        autosave_interval: Seconds between two writes of the stored state. A broker that is killed
            loses what changed since; one that is stopped does not.
        save_every_change: Write the stored state after each change instead: nothing is ever lost,
            at the price of writing the whole file each time, which slows a busy broker down and
            wears an SD card out.
        log_file: Where the broker logs; None: standard error.
        max_packet_size: The longest packet in bytes that a client may send.
        sys_interval: Seconds between two updates of the ``$SYS`` topics; 0: none.

    Raises:
        ConfigError: A value cannot stand in mosquitto.conf.
    """

    persistence_location: Path
    certificate_file: Path
    key_file: Path
    ca_file: Path | None = None
    host: str | None = None
    port: int = 8883
    websockets_port: int | None = None
    plain_port: int | None = None
    tls_version: str = "tlsv1.2"
    user: str | None = None
    autosave_interval: int = 60
    save_every_change: bool = False
    log_file: Path | None = None
    max_packet_size: int = 2_000_000
    sys_interval: int = 10

    def __post_init__(self) -> None:
        PluginSettings.__post_init__(self)
        for name in ("persistence_location", "certificate_file", "key_file", "ca_file", "log_file"):
            if (path := getattr(self, name)) is not None:
                _check_path(name, path)
        for name in ("port", "websockets_port", "plain_port"):
            if (port := getattr(self, name)) is not None:
                _check_number(name, port, 1, 65_535)
        ports = [self.port, self.websockets_port, self.plain_port]
        if len({*ports} - {None}) != len(ports) - ports.count(None):
            raise ConfigError("mosquitto: two listeners have the same port")
        if self.host is not None:
            _check_host(self.host)
        if self.user is not None:
            _check_pattern("user", self.user, _USER_NAME)
        if self.tls_version not in _TLS_VERSIONS:
            raise ConfigError(f"mosquitto: tls_version is one of {sorted(_TLS_VERSIONS)}")
        _check_number("autosave_interval", self.autosave_interval, 1, 86_400)
        _check_number("max_packet_size", self.max_packet_size, LEAST_PACKET, _MOST_PACKET)
        _check_number("sys_interval", self.sys_interval, 0, 65_535)


def render_plugin(settings: PluginSettings) -> str:
    """The lines of mosquitto.conf that load the plugin; they belong together, in this order."""
    options = {
        "guard_socket": settings.guard_socket,
        "decisions": settings.decisions,
        "mode": settings.mode,
        "guard_timeout_ms": settings.guard_timeout_ms,
        "decision_timeout_ms": settings.decision_timeout_ms,
        "exchange_timeout_ms": settings.exchange_timeout_ms,
        "guard_users": ",".join(settings.guard_users),
        "broker_name": settings.broker_name,
        "auto_id_prefix": settings.auto_id_prefix,
        "offline_records": settings.offline_records,
        "startup_wait_ms": settings.startup_wait_ms,
    }
    lines = [f"plugin {settings.plugin}"]
    lines += [f"plugin_opt_{name} {value}" for name, value in options.items() if value != ""]
    return "\n".join(lines) + "\n"


def render(settings: MosquittoSettings) -> str:
    """The whole mosquitto.conf."""
    blocks = [
        [
            "# One set of rules for all listeners; nobody comes in without a token.",
            "per_listener_settings false",
            "allow_anonymous false",
            f"auto_id_prefix {settings.auto_id_prefix}",
            *([f"user {settings.user}"] if settings.user else []),
        ],
        render_plugin(settings).splitlines(),
        _persistence(settings),
        _log(settings),
        [
            f"max_packet_size {settings.max_packet_size}",
            f"sys_interval {settings.sys_interval}",
            "set_tcp_nodelay true",
            *_read_ahead(settings),
        ],
        _tls_listener(settings, settings.port),
    ]
    if settings.websockets_port is not None:
        blocks.append([*_tls_listener(settings, settings.websockets_port), "protocol websockets"])
    if settings.plain_port is not None:
        blocks.append([f"listener {settings.plain_port} {_LOOPBACK}"])
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def _read_ahead(settings: MosquittoSettings) -> list[str]:
    """Have Mosquitto 2.1 read no further than a packet, where clients wait (ADR 31).

    The same buffer takes the head of an HTTP request, so WebSockets need it.
    """
    reads = settings.decisions != "delayed" or settings.websockets_port is not None
    return [] if reads else ["packet_buffer_size 1"]


def _persistence(settings: MosquittoSettings) -> list[str]:
    # With autosave_on_changes the interval counts changes instead of seconds.
    interval = 1 if settings.save_every_change else settings.autosave_interval
    return [
        "persistence true",
        f"persistence_location {settings.persistence_location}",
        f"autosave_on_changes {str(settings.save_every_change).lower()}",
        f"autosave_interval {interval}",
    ]


def _log(settings: MosquittoSettings) -> list[str]:
    destination = "stderr" if settings.log_file is None else f"file {settings.log_file}"
    return [
        f"log_dest {destination}",
        *(f"log_type {kind}" for kind in ("error", "warning", "notice", "information")),
        "log_timestamp_format %Y-%m-%dT%H:%M:%S",
        "connection_messages true",
    ]


def _tls_listener(settings: MosquittoSettings, port: int) -> list[str]:
    return [
        f"listener {port}" + (f" {settings.host}" if settings.host else ""),
        *([f"cafile {settings.ca_file}"] if settings.ca_file else []),
        f"certfile {settings.certificate_file}",
        f"keyfile {settings.key_file}",
        f"tls_version {settings.tls_version}",
    ]


def _check_line(name: str, text: str, longest: int) -> None:
    if not text or text != text.strip() or not text.isprintable() or len(text.encode()) > longest:
        raise ConfigError(
            f"mosquitto: {name} is {text!r}: it must be one line of printable text, at most "
            f"{longest} bytes, without spaces around it"
        )


def _check_path(name: str, path: Path, longest: int = 4096) -> None:
    if not path.is_absolute():
        raise ConfigError(f"mosquitto: {name} is {str(path)!r}: it must be an absolute path")
    _check_line(name, str(path), longest)


def _check_pattern(name: str, text: str, pattern: re.Pattern[str]) -> None:
    if not pattern.fullmatch(text):
        raise ConfigError(f"mosquitto: {name} is {text!r}: it must match {pattern.pattern}")


def _check_number(name: str, number: int, low: int, high: int) -> None:
    if not low <= number <= high:
        raise ConfigError(f"mosquitto: {name} is {number}: it must be from {low} to {high}")


def _check_host(host: str) -> None:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        _check_pattern("host", host, _HOST_NAME)
