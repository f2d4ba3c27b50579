# SPDX-License-Identifier: Apache-2.0
"""A whole installation under test, run as a user would: `keyfob up`, curl, mosquitto_pub."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from keyfob.cli.server_database import server_database
from keyfob.config import Settings, load
from keyfob.server.register import Register
from keyfob.server.wishes import DeviceWish, Rights

KEYFOB = [sys.executable, "-m", "keyfob.cli.main"]
MOSQUITTO = os.environ.get("KEYFOB_TEST_MOSQUITTO", "mosquitto")
START_TIMEOUT = 100.0  # patience with a machine that has other work, too
PATIENCE = 20.0
NOT_AUTHORIZED, SERVER_UNAVAILABLE = 0x87, 0x88


def until(what: str, condition: Any, timeout: float = PATIENCE) -> Any:
    """Wait until the condition holds and return its value; the deadline is only patience."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout:.0f} s in vain: {what}")
        time.sleep(0.02)
    return value


@functools.cache
def broker_version(program: str) -> tuple[int, ...]:
    """The version of a Mosquitto, such as (2, 0, 11)."""
    path = shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    assert path is not None, f"no program {program}"
    said = subprocess.run([path, "-h"], capture_output=True, text=True, check=False).stdout
    version = re.search(r"mosquitto version (\d+(?:\.\d+)+)", said)
    assert version is not None, said
    return tuple(int(part) for part in version[1].split("."))


class Closes(Protocol):
    """A client that is to be closed before the broker is stopped."""

    def close(self) -> None: ...


@dataclass
class Installation:
    """`keyfob up` in a folder of its own, on free ports."""

    directory: Path
    process: subprocess.Popen[bytes]
    log_file: Path
    settings: Settings
    clients: list[Closes] = field(default_factory=list)

    @property
    def ca(self) -> str:
        return str(self.directory / "ca.pem")

    @property
    def token_url(self) -> str:
        return f"https://localhost:{self.settings.server.port}/oauth2/token"

    @property
    def port(self) -> int:
        return self.settings.mosquitto.port

    def connack(self, reason_code: int, *, v5: bool = True) -> int | None:
        """What a client is told that the guard refuses with this reason code; None: nothing.

        Mosquitto can say which reason from 2.1 on, in MQTT 5, where decisions are not delayed.
        "Unavailable" is never told as "not authorized": where it cannot be said, the connection is
        closed without a CONNACK.
        """
        blocking = self.settings.mosquitto.decisions != "delayed"
        if v5 and blocking and broker_version(self.settings.mosquitto.program) >= (2, 1):
            return reason_code
        return None if reason_code == SERVER_UNAVAILABLE else NOT_AUTHORIZED

    def log(self) -> str:
        return self.log_file.read_text(encoding="utf-8", errors="replace")

    def cli(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*KEYFOB, *arguments, "--dir", str(self.directory)],
            capture_output=True,
            text=True,
            input=stdin,
            timeout=60,
            check=False,
        )

    def add_device(self, device: str, *arguments: str) -> str:
        result = self.cli("device", "add", device, *arguments, "--json")
        assert result.returncode == 0, result.stderr + result.stdout
        secret: str = json.loads(result.stdout)["client_secret"]
        return secret

    def curl(self, form: Mapping[str, str], *arguments: str) -> dict[str, Any]:
        command = ["curl", "-sS", "--cacert", self.ca, "-X", "POST", self.token_url]
        command += ["-H", "Content-Type: application/x-www-form-urlencoded", *arguments]
        for name, value in form.items():
            command += ["-d", f"{name}={value}"]
        result = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        assert result.returncode == 0, result.stderr
        answer: dict[str, Any] = json.loads(result.stdout)
        return answer

    def token(self, device: str, secret: str) -> str:
        answer = self.curl(
            {"grant_type": "client_credentials", "client_id": device, "client_secret": secret}
        )
        assert "access_token" in answer, answer
        token: str = answer["access_token"]
        return token

    def device_token(self, device: str, *arguments: str) -> str:
        return self.token(device, self.add_device(device, *arguments))

    def enrol(self, device: str, **rights: Any) -> str:
        """Register a device and get its token; `device_token` without the command line's start."""
        with Register.open(server_database(self.settings)) as register:
            wish = DeviceWish(device, rights=Rights(**rights))
            secret = register.add_device(wish).secret
        return self.token(device, secret)

    def disable(self, device: str) -> None:
        with Register.open(server_database(self.settings)) as register:
            register.disable_device(device)

    def mosquitto(
        self, program: str, client_id: str, token: str, *arguments: str, version: str = "mqttv5"
    ) -> subprocess.CompletedProcess[str]:
        command = [program, "-V", version, "-h", "localhost", "-p", str(self.port)]
        command += ["--cafile", self.ca, "-i", client_id, "-u", client_id, "-P", token]
        return subprocess.run(
            [*command, *arguments], capture_output=True, text=True, timeout=30, check=False
        )

    def client(self, client_id: str, **options: Any) -> Client:
        client = Client(self, client_id, **options)
        self.clients.append(client)
        return client

    def come_in(self, client_id: str, token: str, **options: Any) -> Client:
        """Connect as a device does: again, where a question took longer than a broker can wait."""
        client = self.client(client_id, **options)
        until(f"{client_id} is let in", lambda: client.try_connect(client_id, token) == 0)
        client.disconnects.clear()
        return client

    def pid(self, name: str) -> int:
        path = self.directory / "run" / f"{name}.pid"

        def read() -> int:
            with contextlib.suppress(FileNotFoundError, ValueError):
                return int(path.read_text(encoding="ascii"))
            return 0

        pid: int = until(f"{name} runs", read)
        return pid

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> int:
        pid = self.pid(name)
        os.kill(pid, number)
        return pid

    def wait_restarted(self, name: str, old_pid: int) -> int:
        def other() -> int:
            pid = self.pid(name)
            return pid if pid != old_pid else 0

        pid: int = until(f"{name} is started again", other)
        return pid

    def audit(self) -> list[dict[str, Any]]:
        """The events in the audit file so far; the last ones may come 0.1 s late."""
        text = (self.directory / "log/audit.jsonl").read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def told(self, client_id: str) -> list[tuple[str, str]]:
        """What the audit says of a client: outcomes with their reasons."""
        events = [each for each in self.audit() if each["client_id"] == client_id]
        return [(each["outcome"], each["reason"]) for each in events]

    def http(self, path: str, *arguments: str) -> tuple[int, str]:
        """Ask the guard's own HTTP with curl: the status and the body."""
        url = f"http://127.0.0.1:{self.settings.guard.http.port}{path}"
        command = ["curl", "-sS", "-w", "\n%{http_code}", *arguments, url]
        result = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        assert result.returncode == 0, result.stderr
        body, _, status = result.stdout.rpartition("\n")
        return int(status), body

    def is_ready(self) -> bool:
        """Whether the guard serves HTTP and says that its decisions are sound."""
        try:
            return self.http("/readyz")[0] == 200
        except AssertionError:
            return False

    def configure(self, change: Callable[[str], str]) -> str:
        """Change keyfob.toml, send the guard SIGHUP, and return what it says of that."""
        path = self.directory / "keyfob.toml"
        path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")
        position = len(self.log())
        os.kill(self.pid("guard"), signal.SIGHUP)
        said = re.compile(
            r"^guard +\| (read keyfob\.toml again|the old configuration stays).*", re.M
        )
        found: re.Match[str] = until("it is read", lambda: said.search(self.log()[position:]))
        return found[0]

    def close_clients(self) -> None:
        while self.clients:
            self.clients.pop().close()

    def stop(self) -> None:
        self.close_clients()
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)


@contextlib.contextmanager
def installation(
    directory: Path,
    *,
    plain: bool = False,
    mosquitto: Sequence[str] = (),
    issuers: Sequence[str] = (),
    guard: Sequence[str] = (),
    program: str = MOSQUITTO,
    configured: Callable[[Path], object] = lambda _: None,
) -> Iterator[Installation]:
    """Run `keyfob up`.

    `mosquitto` and `guard` are lines for those sections of keyfob.toml, `issuers` those of more
    sections; `configured` may change what is in the folder before anything starts.
    The broker is `program`: the installed one, unless the environment's KEYFOB_TEST_MOSQUITTO says.
    """
    options = ["--port", "0", "--mqtt-port", "0", *(("--plain-port", "0") if plain else ())]
    made = subprocess.run(
        [*KEYFOB, "init", "--dir", str(directory), *options],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    path = directory / "keyfob.toml"
    lines = [f"program = {json.dumps(program)}", *mosquitto, *issuers]
    text = path.read_text(encoding="utf-8").replace("[guard]\n", "\n".join(["[guard]", *guard, ""]))
    path.write_text("\n".join([text.rstrip(), *lines, ""]), encoding="utf-8")
    configured(directory)
    settings = load(path)
    log_file = directory / "up.log"
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [*KEYFOB, "up", "--dir", str(directory)], stdout=log, stderr=subprocess.STDOUT
        )
    running = Installation(directory, process, log_file, settings)
    try:
        until(
            "keyfob up is running",
            lambda: "running; Ctrl-C" in running.log() or process.poll() is not None,
            START_TIMEOUT,
        )
        assert process.poll() is None, running.log()
        yield running
    finally:
        running.stop()


class Client:
    """A paho client that remembers what happened to it."""

    def __init__(
        self,
        running: Installation,
        client_id: str,
        *,
        v5: bool = True,
        clean: bool = True,
        session_expiry: int = 3600,
        tls: bool = True,
        websockets: bool = False,
    ) -> None:
        self.running = running
        ports = running.settings.mosquitto
        self.port = ports.port if tls else ports.plain_port
        if websockets:
            self.port = ports.websockets_port
        self.v5 = v5
        self.clean = clean
        self.session_expiry = session_expiry
        self.messages: list[tuple[str, bytes]] = []
        self.connects: list[int] = []
        self.session_present: list[bool] = []
        self.disconnects: list[int] = []
        self.acknowledged: dict[int, int] = {}
        self.subscribed: dict[int, list[int]] = {}
        extra: dict[str, Any] = {} if v5 else {"clean_session": clean}
        self.paho = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=mqtt.MQTTv5 if v5 else mqtt.MQTTv311,
            reconnect_on_failure=False,
            transport="websockets" if websockets else "tcp",
            **extra,
        )
        if tls:
            self.paho.tls_set(running.ca)
        self.paho.on_connect = self._on_connect
        self.paho.on_message = lambda _c, _u, m: self.messages.append((m.topic, bytes(m.payload)))
        self.paho.on_disconnect = lambda _c, _u, _f, code, _p: self.disconnects.append(code.value)
        self.paho.on_publish = lambda _c, _u, mid, code, _p: self.acknowledged.update(
            {mid: code.value}
        )
        self.paho.on_subscribe = lambda _c, _u, mid, codes, _p: self.subscribed.update(
            {mid: [code.value for code in codes]}
        )

    def _on_connect(self, _c: Any, _u: Any, flags: Any, code: Any, _p: Any) -> None:
        self.session_present.append(flags.session_present)
        self.connects.append(code.value)

    def try_connect(self, username: str | None, password: str | None = None) -> int | None:
        """Connect; the CONNACK's code (3.1.1 codes as paho translates them), None without one."""
        self._stop_loop()
        self.paho.username_pw_set(username, password)
        options: dict[str, Any] = {}
        if self.v5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.SessionExpiryInterval = 0 if self.clean else self.session_expiry
            options = {"clean_start": self.clean, "properties": properties}
        before, ended = len(self.connects), len(self.disconnects)
        self.paho.connect("localhost", self.port, 60, **options)
        self.paho.loop_start()
        until(
            "an answer to CONNECT",
            lambda: len(self.connects) > before or len(self.disconnects) > ended,
        )
        return self.connects[-1] if len(self.connects) > before else None

    def connect(self, token: str) -> Client:
        """Connect with the token in the password; it must be let in."""
        code = self.try_connect(self.paho._client_id.decode() or "device", token)
        assert code == 0, f"refused with {code}: {self.running.log()[-2000:]}"
        return self

    def subscribe(self, topic: str, qos: int = 1) -> int:
        """Subscribe; the SUBACK's reason code."""
        _, mid = self.paho.subscribe(topic, qos)
        assert mid is not None
        code: int = until(f"SUBACK for {topic}", lambda: self.subscribed.get(mid))[0]
        return code

    def publish(self, topic: str, payload: str = "x", qos: int = 1, retain: bool = False) -> int:
        """Publish with QoS 1 or 2 and return the acknowledgement's reason code."""
        info = self.paho.publish(topic, payload, qos=qos, retain=retain)
        until(f"PUBACK for {topic}", lambda: info.mid in self.acknowledged)
        return self.acknowledged[info.mid]

    def until_message(self, topic: str, payload: str) -> None:
        until(f"{payload} on {topic}", lambda: (topic, payload.encode()) in self.messages)

    def until_disconnected(self, times: int = 1) -> int:
        until("the connection ends", lambda: len(self.disconnects) >= times)
        return self.disconnects[-1]

    def close(self) -> None:
        self.paho.disconnect()
        self._stop_loop()

    def _stop_loop(self) -> None:
        self.paho.loop_stop()
        # paho leaves its wake-up sockets to the garbage collector.
        self.paho._reset_sockets(sockpair_only=True)

    def drop(self) -> None:
        """Lose the connection without DISCONNECT, as a cable that is pulled."""
        socket = self.paho.socket()
        self.paho.loop_stop()
        if socket is not None:
            with contextlib.suppress(OSError):
                socket.close()


def reasons(log: str) -> set[str]:
    """The reason codes that refusals in `keyfob up`'s output name."""
    return set(re.findall(r"\(([a-z_]+)\)", log))
