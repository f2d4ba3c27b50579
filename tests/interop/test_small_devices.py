# SPDX-License-Identifier: Apache-2.0
"""The examples for small devices live through their tokens: MicroPython, and C."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import itertools
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import tarfile
import textwrap
import threading
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import pytest

from tests.interop.fetched import ROOT, CannotHaveError, fetched
from tests.running import KEYFOB, Installation, installation, until
from tests.soak.test_sdk_soak import token_lifetime

EXAMPLES: Final = ROOT / "examples" / "small_devices"
UMQTT: Final = "micropython-umqtt.simple"
UMQTT_FILE: Final = f"{UMQTT}-1.3.4.tar.gz"
UMQTT_SHA256: Final = "b6a2520239e3992c63a7de9370ee9b3d9d27819a90359c521f1c0f7ccab8d12f"
SHORT_TOKENS: Final = functools.partial(token_lifetime, 8)
C_HEADERS: Final = ("mosquitto.h", "cjson/cJSON.h", "curl/curl.h")


@contextlib.contextmanager
def device(
    log: Path, command: Sequence[str], folder: Path, environment: Mapping[str, str]
) -> Iterator[None]:
    """Run an example for as long as the context lasts."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=os.environ | environment, stdout=output, stderr=output
        )
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)


def test_the_docs_say_the_policy_that_is_tested() -> None:
    text = (ROOT / "docs/small-devices.md").read_text(encoding="utf-8")
    assert textwrap.indent(POLICY.strip(), "   ") in text


def accepted(running: Installation) -> int:
    return running.told("dev1").count(("allowed", ""))


def lives_through_tokens_and_a_restarted_broker(running: Installation, log: Path) -> None:
    try:
        until("it has renewed twice", lambda: accepted(running) > 2, 40)
        running.wait_restarted("mosquitto", running.kill("mosquitto"))
        before = accepted(running)
        until("it is back, and has renewed", lambda: accepted(running) > before + 1, 60)
    except AssertionError as error:
        raise AssertionError(log.read_text(encoding="utf-8")) from error
    assert set(running.told("dev1")) == {("allowed", "")}


POLICY: Final = """
[[issuer.policy]]
scope = "mqtt.connect"
publish = ["devices/{device}/#"]
subscribe = ["commands/{device}/#"]
"""


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Installation]:
    """Rights by policy: so the devices' tokens are short, as docs/small-devices.md advises."""
    with installation(tmp_path / "data", issuers=[POLICY], configured=SHORT_TOKENS) as up:
        yield up


def registered(running: Installation) -> str:
    secret = running.add_device("dev1")
    assert len(running.token("dev1", secret)) < 512
    return secret


def umqtt(folder: Path) -> None:
    """Put umqtt.simple there; as current versions do, it takes an ``SSLContext``.

    No installer knows this form of archive. So it is looked up where pip looks, and taken by its
    digest alone.
    """
    from pip._internal.models.index import PyPI

    page = urllib.request.urlopen(f"{PyPI.simple_url}/{UMQTT}/", timeout=30).read().decode()
    link = re.search(rf'href="([^"#]*/{re.escape(UMQTT_FILE)})[#"]', page)
    assert link, "the index does not have it"
    archive = urllib.request.urlopen(link[1], timeout=30).read()
    assert hashlib.sha256(archive).hexdigest() == UMQTT_SHA256
    with tarfile.open(fileobj=io.BytesIO(archive)) as packed:
        [name] = [each for each in packed.getnames() if each.endswith("umqtt/simple.py")]
        module = packed.extractfile(name)
        assert module is not None
        source = module.read().decode()
    old = r"import ussl\s+self.sock = ussl.wrap_socket\(self.sock, \*\*self.ssl_params\)"
    new = "self.sock = self.ssl.wrap_socket(self.sock, server_hostname=self.server)"
    text, count = re.subn(old, new, source)
    assert count == 1
    (folder / "umqtt").mkdir()
    (folder / "umqtt/simple.py").write_text(text, encoding="utf-8")


@pytest.fixture
def micropython(tmp_path: Path) -> str:
    """The program; the example and umqtt.simple lie in tmp_path/device then."""
    folder = tmp_path / "device"
    folder.mkdir()
    try:
        program = fetched(ROOT / "scripts/newer-micropython", "trixie", show=print)
        umqtt(folder)
    except (CannotHaveError, OSError) as error:
        pytest.skip(f"NOT TESTED with MicroPython: {error}")
    for name in ("keyfob_token.py", "micropython_device.py"):
        shutil.copy(EXAMPLES / name, folder)
    return program


def configure(running: Installation, folder: Path, ca: str, **changed: object) -> None:
    said: dict[str, object] = {
        "server": "localhost",
        "server_port": running.settings.server.port,
        "broker": "localhost",
        "port": running.port,
        "name": "dev1",
        "secret": registered(running),
    } | changed
    (folder / "config.json").write_text(json.dumps(said))
    (folder / "ca.der").write_bytes(ssl.PEM_cert_to_DER_cert(Path(ca).read_text()))


@pytest.mark.interop
def test_a_micropython_device_lives_through_its_tokens(
    running: Installation, tmp_path: Path, micropython: str
) -> None:
    folder, log = tmp_path / "device", tmp_path / "device.log"
    configure(running, folder, running.ca)
    with device(log, [micropython, "micropython_device.py"], folder, {}):
        lives_through_tokens_and_a_restarted_broker(running, log)


@contextlib.contextmanager
def listener(
    certificate: Path, key: Path, answers: Iterable[bytes] = ()
) -> Iterator[tuple[int, list[bytes]]]:
    """A TLS server of one's own: its port, and what came in clear; it answers as it is told to."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    came, left = list[bytes](), iter(answers)

    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            try:
                with context.wrap_socket(connection, server_side=True) as secure:
                    secure.settimeout(5)
                    came.append(secure.recv(4096))
                    secure.sendall(next(left, b""))
            except OSError:  # it hung up before it said anything
                came.append(b"")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listening.getsockname()[1], came
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join(10)


SET_TICKS: Final = """
import json, keyfob_token, sys
from keyfob_token import TokenError, Tokens

class Ticks:  # those of a port with 32 bits, as they count on through a soft reset
    now = 0
    def ticks_ms(): return Ticks.now % 2**30
    def ticks_diff(end, begin): return (end - begin + 2**29) % 2**30 - 2**29

keyfob_token.time = Ticks

def new():
    with open("ca.der", "rb") as file:
        return Tokens("localhost", "dev1", "s", file.read(), port=int(sys.argv[1]))

def good(tokens):
    try:
        return bool(tokens.get())
    except TokenError:
        return False
"""

GOOD: Final = b'{"access_token":"x","token_type":"Bearer","expires_in":3600}'
ANSWER: Final = b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(GOOD), GOOD)


def told(tmp_path: Path, micropython: str, script: str, answers: Iterable[bytes]) -> object:
    """What a MicroPython says that has set ticks, and asks a server that answers so."""
    folder, other = tmp_path / "device", tmp_path / "other"
    assert subprocess.run([*KEYFOB, "init", "--dir", str(other)], check=False).returncode == 0
    (folder / "ca.der").write_bytes(ssl.PEM_cert_to_DER_cert((other / "ca.pem").read_text()))
    (folder / "script.py").write_text(SET_TICKS + script, encoding="utf-8")
    with listener(other / "server.pem", other / "server.key", answers) as (port, _):
        done = subprocess.run(
            [micropython, "script.py", str(port)],
            cwd=folder, capture_output=True, text=True, timeout=100, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.interop
def test_a_micropython_device_asks_at_once_however_long_it_has_been_on(
    tmp_path: Path, micropython: str
) -> None:
    script = """
came = []
for day in range(13):
    Ticks.now = day * 86400000
    came.append(good(new()))
print(json.dumps(came))
"""
    assert told(tmp_path, micropython, script, itertools.repeat(ANSWER)) == [True] * 13


@pytest.mark.interop
def test_a_micropython_device_leaves_a_server_alone_for_as_long_as_that_says(
    tmp_path: Path, micropython: str
) -> None:
    script = """
waited = []
for _ in range(5):
    tokens = new()
    begun = Ticks.now
    while not good(tokens):
        Ticks.now += 1000
    waited.append((Ticks.now - begun) // 1000)
print(json.dumps(waited))
"""
    said = [b"120", b"1000000", b"soon", b"-5", b"Fri, 31 Dec 2049 23:59:59 GMT"]
    away = b"HTTP/1.0 503 Service Unavailable\r\nretry-after: %s\r\n\r\n"  # a body without a length
    answers = (each for value in said for each in (away % value, ANSWER))
    assert told(tmp_path, micropython, script, answers) == [120, 3600, 1, 1, 1]


@pytest.mark.interop
def test_a_micropython_device_tells_its_secret_to_no_other_server(
    running: Installation, tmp_path: Path, micropython: str
) -> None:
    folder, log, other = tmp_path / "device", tmp_path / "device.log", tmp_path / "other"
    made = subprocess.run([*KEYFOB, "init", "--dir", str(other)], check=False)
    assert made.returncode == 0
    with listener(other / "server.pem", other / "server.key") as (port, came):
        configure(running, folder, running.ca, server_port=port)
        with device(log, [micropython, "micropython_device.py"], folder, {}):
            until("it has come", lambda: came)
            until("it has tried", lambda: "not connected" in log.read_text(encoding="utf-8"))
    assert not any(came)
    assert "no token" in log.read_text(encoding="utf-8")


def built(folder: Path) -> Path:
    """Compile the example in C."""
    missing = [each for each in C_HEADERS if not _has(each)]
    if missing:
        pytest.skip(f"NOT TESTED in C: no {', '.join(missing)}")
    program = folder / "device"
    sources = [str(EXAMPLES / name) for name in ("device.c", "token.c")]
    flags = ["-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-fanalyzer", "-O2"]
    libraries = ["-lmosquitto", "-lcurl", "-lcjson", "-lm"]
    subprocess.run(["cc", *flags, "-o", str(program), *sources, *libraries], check=True)
    return program


def _has(header: str) -> bool:
    looked = subprocess.run(
        ["cc", "-E", "-"], input=f"#include <{header}>", capture_output=True, text=True, check=False
    )
    return looked.returncode == 0


@pytest.mark.interop
def test_a_device_in_c_lives_through_its_tokens(running: Installation, tmp_path: Path) -> None:
    program = built(tmp_path)
    wish = ["dev1", running.token_url, "localhost", str(running.port), running.ca]
    log = tmp_path / "device.log"
    secret = {"KEYFOB_CLIENT_SECRET": registered(running)}
    with device(log, [str(program), *wish], tmp_path, secret):
        lives_through_tokens_and_a_restarted_broker(running, log)
