# SPDX-License-Identifier: Apache-2.0
"""The demonstration: curl gets a token, mosquitto_pub uses it, and what it may not do is refused.

Everything runs as a person would run it; only the tokens are shortened when a command is shown.
"""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from keyfob.cli.installation import Installation
from keyfob.errors import ConflictError, UpstreamError

__all__ = ["demonstrate"]

Show = Callable[[str], None]
_SENSOR: Final = "demo-sensor"
_DISPLAY: Final = "demo-display"
_TIMEOUT: Final = 20.0
_TOOLS: Final = ("curl", "mosquitto_pub", "mosquitto_sub")


def demonstrate(installation: Installation, show: Show) -> None:
    """Show one device that publishes, one that listens, and three refusals.

    Raises:
        UpstreamError: Something did not behave as it must; the message says what.
    """
    missing = [tool for tool in _TOOLS if not shutil.which(tool)]
    if missing:
        show(f"demo       | skipped: {', '.join(missing)} not installed")
        return
    demo = _Demonstration(installation, show)
    own = f"devices/{_SENSOR}"
    sensor = demo.token(_SENSOR, publish=[f"{own}/#"], subscribe=[f"{own}/#"])
    display = demo.token(_DISPLAY, publish=[], subscribe=["devices/+/temperature"])
    listener = demo.listen(_DISPLAY, display, "devices/+/temperature")
    try:
        demo.expect_publish(_SENSOR, sensor, f"{own}/temperature", allowed=True)
        demo.expect_delivery(listener)
    finally:
        listener.terminate()
        listener.wait(_TIMEOUT)
    demo.expect_publish(_SENSOR, sensor, f"devices/{_DISPLAY}/temperature", allowed=False)
    demo.expect_refused_connect("intruder", sensor)
    demo.expect_end_of_disabled()
    show("demo       | all of it behaved as it must")


class _Demonstration:
    def __init__(self, installation: Installation, show: Show) -> None:
        self._installation = installation
        self._show = show
        self._ca = str(installation.directory / "ca.pem")
        self._port = str(installation.settings.mosquitto.port)

    def token(self, device: str, *, publish: Sequence[str], subscribe: Sequence[str]) -> str:
        secret = self._credentials(device, publish, subscribe)
        url = f"https://localhost:{self._installation.settings.server.port}/oauth2/token"
        command = ["curl", "-sS", "--cacert", self._ca, "-X", "POST", url]
        form = ["grant_type=client_credentials", f"client_id={device}", f"client_secret={secret}"]
        command += [word for field in form for word in ("-d", field)]
        self._show_command([word.replace(secret, "…") for word in command])
        result = _run(command)
        try:
            answer = json.loads(result.stdout)
            token = str(answer["access_token"])
        except (ValueError, KeyError, TypeError):
            raise UpstreamError(f"the token endpoint gave no token: {result.stderr}") from None
        shown = {**answer, "access_token": f"{token[:16]}…"}
        self._show("demo       | " + json.dumps(shown, ensure_ascii=False))
        return token

    def listen(self, device: str, token: str, topic: str) -> subprocess.Popen[str]:
        command = self._client("mosquitto_sub", device, token)
        command += ["-q", "1", "-t", topic, "-W", str(int(_TIMEOUT)), "-d"]
        self._show_command([*(word if word != token else "TOKEN" for word in command), "&"])
        # -d prints the packets, by lines although nobody's terminal listens.
        listener = subprocess.Popen(
            ["stdbuf", "-oL", *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        _read_until(listener, "SUBACK", f"{device} could not subscribe to {topic}")
        return listener

    def expect_delivery(self, listener: subprocess.Popen[str]) -> None:
        _read_until(listener, "21.5", f"{_DISPLAY} did not receive the message")
        self._show(f"demo       | {_DISPLAY} received 21.5")

    def expect_publish(self, device: str, token: str, topic: str, *, allowed: bool) -> None:
        command = [*self._client("mosquitto_pub", device, token), "-q", "1", "-t", topic]
        command += ["-m", "21.5"]
        self._show_command([word if word != token else "TOKEN" for word in command])
        result = _run(command)
        refused = "not authori" in (result.stdout + result.stderr).lower()
        if refused == allowed or (allowed and result.returncode != 0):
            raise UpstreamError(f"publishing to {topic} went wrong: {result.stderr}")
        self._show(f"demo       | {'accepted' if allowed else 'refused: Not authorized (0x87)'}")

    def expect_refused_connect(self, client_id: str, token: str) -> None:
        command = [*self._client("mosquitto_pub", client_id, token), "-t", "x", "-m", "x"]
        self._show_command([word if word != token else "TOKEN" for word in command])
        result = _run(command)
        if result.returncode == 0:
            raise UpstreamError("another device's token was accepted")
        self._show(f"demo       | refused: {(result.stdout + result.stderr).strip()}")

    def expect_end_of_disabled(self) -> None:
        own = f"devices/{_SENSOR}/#"
        token = self.token(_SENSOR, publish=[own], subscribe=[own])
        listener = self.listen(_SENSOR, token, own)
        try:
            self._show(f"demo       | $ keyfob device disable {_SENSOR}")
            began = time.monotonic()
            with self._installation.register() as register:
                register.disable_device(_SENSOR)
            _read_until(listener, "DISCONNECT", "a disabled device stayed connected")
            elapsed = time.monotonic() - began
        finally:
            listener.terminate()
            listener.wait(_TIMEOUT)
        self._show(f"demo       | its connection ended after {elapsed * 1000:.0f} ms")

    def _credentials(self, device: str, publish: Sequence[str], subscribe: Sequence[str]) -> str:
        with self._installation.register() as register:
            with suppress(ConflictError):
                return register.add_device(device, publish=publish, subscribe=subscribe).secret
            register.enable_device(device)
            return register.rotate_secret(device).secret

    def _client(self, program: str, client_id: str, token: str) -> list[str]:
        where = ["-h", "localhost", "-p", self._port, "--cafile", self._ca]
        return [program, "-V", "mqttv5", *where, "-i", client_id, "-u", client_id, "-P", token]

    def _show_command(self, command: Sequence[str]) -> None:
        here = Path.cwd()
        words = [word.replace(f"{here}/", "") for word in command]
        self._show("demo       | $ " + " ".join(w if w == "&" else shlex.quote(w) for w in words))


def _read_until(listener: subprocess.Popen[str], text: str, otherwise: str) -> None:
    for line in listener.stdout or ():
        if text in line:
            return
    raise UpstreamError(otherwise)


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT, check=False)
