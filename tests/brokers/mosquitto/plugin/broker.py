# SPDX-License-Identifier: Apache-2.0
"""A Mosquitto with the plugin, and MQTT clients for it: started for a test, stopped with it.

The one that is installed; the environment's MOSQUITTO names another.
"""

from __future__ import annotations

import contextlib
import functools
import getpass
import os
import queue
import re
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, Self

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.brokers.mosquitto.plugin.fake_guard import PATIENCE, until
from tests.brokers.mosquitto.plugin.runner import BUILDS, PLUGIN
from tests.free_ports import free_port

__all__ = [
    "ADMINISTRATIVE_ACTION",
    "DENIED",
    "MOSQUITTO",
    "NOT_AUTHORIZED",
    "TAKEN",
    "UNAVAILABLE",
    "Broker",
    "Device",
    "Plugin",
    "build_plugin",
    "comes_in",
    "devices",
    "free_port",
    "is_2_1",
    "told",
    "unavailable",
]

MOSQUITTO: Final = shutil.which(
    os.environ.get("MOSQUITTO", "mosquitto"), path=f"{os.environ['PATH']}:/usr/sbin:/sbin"
)
NOT_AUTHORIZED: Final = 0x87
UNAVAILABLE: Final = 0x88
ADMINISTRATIVE_ACTION: Final = 0x98
TAKEN: Final = (0, 0x10)
"""Codes of a PUBACK for a message that was taken; 0x10: there are no matching subscribers."""
DENIED: Final = (NOT_AUTHORIZED, None)
"""What becomes of a message that is not; None: the connection has ended."""

_BUILDS: Final = BUILDS | {"watched": ("-O1", "-g")}  # for valgrind

NEVER: Final = 0xFFFFFFFF  # a session that does not expire (MQTT 5.0 section 3.1.2.11.2)


@functools.cache
def version_of(program: str | None) -> tuple[int, ...]:
    """Which version a Mosquitto is of, such as (2, 0, 11)."""
    assert program is not None, "mosquitto is not installed"
    said = subprocess.run([program, "-h"], check=False, capture_output=True, text=True).stdout
    version = re.search(r"mosquitto version (\d+)\.(\d+)\.(\d+)", said)
    assert version is not None, said
    return tuple(int(part) for part in version.groups())


def is_2_1(program: str | None = MOSQUITTO) -> bool:
    """Whether it is Mosquitto 2.1 or later: it can delay decisions, and say why it refuses."""
    return version_of(program) >= (2, 1)


@dataclass(frozen=True)
class Plugin:
    """A plugin that was built, and what its broker needs to load it."""

    library: Path
    sanitized: bool

    def environment(self, reports: Path, *, leaks: bool) -> dict[str, str]:
        """Return the broker's environment; ``leaks``: look for them when it ends."""
        if not self.sanitized:
            return dict(os.environ)
        runtime = subprocess.run(
            [os.environ.get("CC", "cc"), "-print-file-name=libasan.so"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
        return {
            **os.environ,
            "LD_PRELOAD": runtime,
            "ASAN_OPTIONS": f"log_path={reports},detect_leaks={int(leaks)},exitcode=0",
            "UBSAN_OPTIONS": f"log_path={reports},print_stacktrace=1",
        }


def build_plugin(directory: Path, build: str) -> Plugin:
    """Compile the plugin; one that is not plain stays loaded, so that reports name its parts."""
    library = directory / "keyfob_mosquitto.so"
    sanitized = build == "sanitized"
    command = [os.environ.get("CC", "cc"), "-fPIC", "-shared", "-std=c11", "-Wall", "-Wextra"]
    command += ["-Werror", "-fvisibility=hidden", "-D_GNU_SOURCE", *_BUILDS[build]]
    command += ["-Wl,-z,nodelete"] if build != "plain" else []
    command += [str(source) for source in sorted(PLUGIN.glob("*.c"))]
    subprocess.run([*command, "-o", str(library), "-ldl"], check=True)
    return Plugin(library, sanitized)


@dataclass
class Broker:
    """A Mosquitto with the plugin."""

    directory: Path
    plugin: Plugin
    guard_socket: Path
    options: dict[str, str] = field(default_factory=dict)
    lines: tuple[str, ...] = ()
    per_listener: bool = False
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    program: str | None = MOSQUITTO
    under: tuple[str, ...] = ()  # a command that runs the broker, such as valgrind
    verbose: bool = True

    @property
    def log(self) -> str:
        """What the broker has written."""
        return (self.directory / "broker.log").read_text(errors="replace")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, *, wait: bool = True) -> None:
        """Start it; wait until every listener accepts."""
        assert self.program is not None, "mosquitto is not installed"
        configuration = self.directory / "mosquitto.conf"
        configuration.write_text(self._configuration())
        with (self.directory / "broker.log").open("ab") as log:
            before = self._said_running()
            self.process = subprocess.Popen(
                [*self.under, self.program, *(["-v"] if self.verbose else []), "-c", configuration],
                stdout=log,
                stderr=log,
                env=self.plugin.environment(self.directory / "report", leaks=self._own_libraries),
            )
        if wait:
            until(lambda: self._running(before), "the broker to start")

    def stop(self) -> None:
        """Stop it as an operator does; nothing may be wrong with how it ended."""
        if self.process is None:
            return
        process, self.process = self.process, None
        process.terminate()
        try:
            if self.plugin.sanitized and not self._own_libraries:
                # The sanitizers of this machine's compiler may stop another libc in its exit.
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(3)
            else:
                assert process.wait(PATIENCE) == 0, self.log
        finally:
            process.kill()
            process.wait()
        reports = self.reports()
        assert not reports, reports

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def reload(self) -> None:
        """Have it read its configuration again, and wait until it has."""
        before = self.log.count("Reloading config")
        self.signal(signal.SIGHUP)
        until(lambda: self.log.count("Reloading config") > before, "the broker to reload")

    def reports(self) -> str:
        """What sanitizers said about the plugin."""
        texts = (path.read_text() for path in self.directory.glob("report*"))
        # The broker's own leaks are its own business; every stack of ours names our sources.
        blocks = (block for text in texts for block in text.split("\n\n"))
        ours = ("ERROR: AddressSanitizer", "runtime error", str(PLUGIN))
        return "\n\n".join(block for block in blocks if any(mark in block for mark in ours))

    @property
    def _own_libraries(self) -> bool:
        """Whether the broker runs on the libraries that the plugin was built with."""
        return self.program == shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin")

    def _configuration(self) -> str:
        listener = [f"listener {self.port} 127.0.0.1", "allow_anonymous false"]
        # A machine that is busy with other things makes no guard look dead.
        options = {"guard_socket": str(self.guard_socket), "guard_timeout_ms": "5000"}
        options |= self.options
        plugin = [f"plugin {self.plugin.library}"]
        plugin += [f"plugin_opt_{name} {value}" for name, value in options.items()]
        head = [f"user {getpass.getuser()}", "persistence_location " + f"{self.directory}/"]
        body = [*listener, *plugin] if self.per_listener else [*plugin, *listener]
        scope = [f"per_listener_settings {str(self.per_listener).lower()}"]
        return "\n".join([*scope, *head, *body, *self.lines, ""])

    def _running(self, times: int) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log
        return self._said_running() > times

    def _said_running(self) -> int:
        return len(re.findall(r"mosquitto version \S+ running", self.log))


class Device:
    """An MQTT client that notes what happens to it."""

    def __init__(
        self,
        port: int,
        client_id: str,
        *,
        version: int = 5,
        clean: bool = True,
        kept: bool | None = None,
        token: str | None = "a-token",
        username: str | None = None,
        will: str | None = None,
        will_delay: int = 0,
        tls: dict[str, Any] | None = None,
        transport: Literal["tcp", "websockets"] = "tcp",
    ) -> None:
        self.messages: queue.Queue[tuple[str, bytes]] = queue.Queue()
        self.closed = threading.Event()
        self.answer: int | None = None  # the reason or return code of CONNACK
        self.session_present = False
        self.disconnect_reason: int | None = None
        self._codes: dict[int, int] = {}
        self._clean = clean
        self._kept = not clean if kept is None else kept  # whether the session is to be stored
        self._port = port
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            clean_session=None if version == 5 else clean,
            protocol=mqtt.MQTTv5 if version == 5 else mqtt.MQTTv311,
            transport=transport,
            reconnect_on_failure=False,
        )
        self._version = version
        if token is not None or username is not None:
            # MQTT 3.1.1 has no password without a username, and paho has none for MQTT 5 either.
            # Mosquitto takes an empty one for none.
            self._client.username_pw_set(username or "", token)
        if will is not None:
            delayed = Properties(PacketTypes.WILLMESSAGE)  # type: ignore[no-untyped-call]
            delayed.WillDelayInterval = will_delay
            self._client.will_set(will, b"gone", properties=delayed if version == 5 else None)
        if tls is not None:
            self._client.tls_set(**tls)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_message = lambda _c, _u, m: self.messages.put((m.topic, bytes(m.payload)))
        self._client.on_publish = lambda _c, _u, mid, code, _p: self._note(mid, code.value)
        self._client.on_subscribe = lambda _c, _u, mid, codes, _p: self._note(mid, codes[0].value)
        self._client.on_unsubscribe = lambda _c, _u, mid, codes, _p: self._note(mid, codes[0].value)

    def __enter__(self) -> Self:
        self.connect()
        assert self.answer == 0, f"not connected: {self.answer}"
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def connect(self) -> int | None:
        """Connect; return the code of CONNACK, or None where the broker just closed."""
        self.begin()
        return self.outcome()

    def outcome(self) -> int | None:
        """Wait for what became of ``begin``."""
        until(lambda: self.answer is not None or self.closed.is_set(), "CONNACK or the end")
        return self.answer

    def begin(self) -> None:
        """Connect without waiting for the broker's answer."""
        how: dict[str, Any] = {}
        if self._version == 5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.SessionExpiryInterval = NEVER if self._kept else 0
            how = {"clean_start": self._clean, "properties": properties}
        self._client.connect("127.0.0.1", self._port, 60, **how)
        self._client.loop_start()

    def publish(
        self, topic: str, payload: bytes = b"x", *, qos: int = 1, retain: bool = False
    ) -> int | None:
        """Publish at QoS 1 or 2.

        Returns the reason code of PUBACK or PUBCOMP (paho does not tell what a PUBREC says), None
        where the connection ended.
        """
        return self._code(self._client.publish(topic, payload, qos, retain).mid)

    def subscribe(self, topic: str, qos: int = 1) -> int | None:
        """Subscribe; return the code of SUBACK, None where the connection ended."""
        _, mid = self._client.subscribe(topic, qos)
        assert mid is not None
        return self._code(mid)

    def unsubscribe(self, topic: str) -> int | None:
        """Unsubscribe; return the code of UNSUBACK, None where the connection ended."""
        _, mid = self._client.unsubscribe(topic)
        assert mid is not None
        return self._code(mid)

    def received(self) -> tuple[str, bytes]:
        """Wait for a message."""
        return self.messages.get(timeout=PATIENCE)

    def vanish(self) -> None:
        """Lose the connection without a DISCONNECT."""
        connection = self._client.socket()
        assert isinstance(connection, socket.socket)
        connection.shutdown(socket.SHUT_RDWR)
        self.wait_closed()

    def wait_closed(self) -> None:
        """Wait for the end of the connection."""
        until(self.closed.is_set, "the connection to end")

    def stop(self) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()
        # paho leaves its pair of sockets to the collector, which may find them before it finds
        # paho, and warns.
        self._client._reset_sockets(sockpair_only=True)

    def _code(self, mid: int) -> int | None:
        until(lambda: mid in self._codes or self.closed.is_set(), "an acknowledgement")
        return self._codes.get(mid)

    def _note(self, mid: int, code: int) -> None:
        self._codes[mid] = code

    def _on_connect(
        self, _client: Any, _data: Any, flags: Any, code: Any, _properties: Any
    ) -> None:
        self.session_present = flags.session_present
        self.answer = code.value

    def _on_disconnect(self, _client: Any, _data: Any, _flags: Any, code: Any, _p: Any) -> None:
        self.disconnect_reason = code.value
        self.closed.set()


@contextlib.contextmanager
def devices(port: int, names: Iterable[str]) -> Iterator[list[Device]]:
    """Connect several."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Device(port, name)) for name in names]


def unavailable() -> int | None:
    """What MQTT 5 is told where nobody can be asked; None: it just closes."""
    return 0x88 if is_2_1() else None


def told(broker: Broker, reason: int, version: int = 5) -> int | None:
    """What a client is told of what the guard says.

    Mosquitto 2.1 tells MQTT 5 just that, where it waits for it. Otherwise there is one thing to
    say, and it is not said of what is no fault of the token; None: it just closes.
    """
    delayed = broker.options.get("decisions") == "delayed"
    if version == 5 and is_2_1(broker.program) and not delayed:
        return reason
    return None if reason == UNAVAILABLE else NOT_AUTHORIZED


def comes_in(broker: Broker, client_id: str) -> bool:
    """Try to connect, and leave again."""
    device = Device(broker.port, client_id)
    answer = device.connect()
    device.stop()
    return answer == 0
