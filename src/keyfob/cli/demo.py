# SPDX-License-Identifier: Apache-2.0
"""The demonstration: devices get tokens with curl and use them with mosquitto_pub and _sub.

Everything runs as a person would run it; only tokens and secrets are left out when a command is
shown. What does not behave as it must is an error.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shlex
import shutil
import signal
import time
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final

from keyfob.cli.installation import Installation
from keyfob.cli.local_registers import open_register
from keyfob.cli.output import here
from keyfob.cli.supervisor import end_with_parent, send
from keyfob.errors import ConflictError, UpstreamError
from keyfob.server.wishes import DeviceWish, Rights

__all__ = ["demonstrate"]

Show = Callable[[str], None]
_SENSOR: Final = "demo-sensor"
_DISPLAY: Final = "demo-display"
_SLEEPER: Final = "demo-sleeper"
_TIMEOUT: Final = 20.0
_END_TIMEOUT: Final = 0.5
_SHORT_LIFETIME: Final = 5
_TOOLS: Final = ("curl", "mosquitto_pub", "mosquitto_sub", "stdbuf")
_ALL: Final = "devices/+/temperature"


async def demonstrate(installation: Installation, show: Show) -> None:
    """Show what devices may do, what they may not, and when it ends.

    Raises:
        UpstreamError: Something did not behave as it must; the message says what.
    """
    missing = [tool for tool in _TOOLS if not shutil.which(tool)]
    if missing:
        show(f"demo       | skipped: {', '.join(missing)} not installed")
        return
    demo = _Demonstration(installation, show)
    token = await demo.allowed()
    await demo.refused(token)
    await demo.expired(token)
    await demo.disabled()
    demo.tell("all of it behaved as it must")


class _Demonstration:
    """The acts, in their order, and what they are made of."""

    def __init__(self, installation: Installation, show: Show) -> None:
        self._installation = installation
        self._show = show
        self._ca = here(installation.directory / "ca.pem")
        self._port = str(installation.settings.mosquitto.port)

    def tell(self, line: str) -> None:
        self._show(f"demo       | {line}")

    # The acts

    async def allowed(self) -> str:
        self.tell(f"# {_SENSOR} asks for a token with its own secret")
        own = f"devices/{_SENSOR}/#"
        token = await self._new_token(_SENSOR, publish=[own], subscribe=[own])
        self.tell(f"# {_DISPLAY} gets one, too, and listens to every temperature")
        display = await self._new_token(_DISPLAY, subscribe=[_ALL])
        async with self._listening(_DISPLAY, display, _ALL) as listener:
            self.tell(f"# {_SENSOR} publishes where its token allows it")
            await self._publish(_SENSOR, token, f"devices/{_SENSOR}/temperature", "21.5")
            self.tell("accepted")
            await _until(listener, "21.5", f"{_DISPLAY} did not receive the message")
            self.tell(f"{_DISPLAY} received 21.5")
        return token

    async def refused(self, token: str) -> None:
        self.tell("# ... and where it does not")
        output = await self._publish(
            _SENSOR, token, f"devices/{_DISPLAY}/temperature", "99", allowed=False
        )
        self.tell(f"refused: {_first_line(output)}")
        self.tell("# somebody else shows the same token")
        output = await self._publish("intruder", token, "devices/x/temperature", "9", allowed=False)
        self.tell(f"refused: {_first_line(output)}")

    async def expired(self, sensor: str) -> None:
        self.tell(
            f"# {_SLEEPER} has a token for {_SHORT_LIFETIME} seconds: so long it is connected"
        )
        secret = self._registered(_SLEEPER, subscribe=[_ALL], lifetime=_SHORT_LIFETIME)
        token = await self._token(_SLEEPER, secret)
        keep = ("-c", "-x", "3600")
        async with self._listening(_SLEEPER, token, _ALL, *keep) as listener:
            await _until(listener, "DISCONNECT", "an expired token kept its connection")
        self.tell("the token ended, and the connection with it")
        self.tell("# a message comes while it is away")
        await self._publish(_SENSOR, sensor, f"devices/{_SENSOR}/temperature", "22.0")
        self.tell("# it comes back to its session with a new token")
        token = await self._token(_SLEEPER, secret)
        async with self._listening(_SLEEPER, token, _ALL, *keep, until="22.0"):
            pass  # what is owed comes first
        self.tell(f"{_SLEEPER} received 22.0: nothing was lost")

    async def disabled(self) -> None:
        self.tell(f"# {_SENSOR} is connected when its owner disables it")
        own = f"devices/{_SENSOR}/#"
        token = await self._new_token(_SENSOR, publish=[own], subscribe=[own])
        async with self._listening(_SENSOR, token, own) as listener:
            self.tell(f"$ keyfob device disable {_SENSOR}{self._installation.option}")
            began = time.monotonic()
            with open_register(self._installation) as register:
                register.disable_device(_SENSOR)
            await _until(listener, "DISCONNECT", "a disabled device stayed connected")
            elapsed = time.monotonic() - began
        self.tell(f"its connection ended after {elapsed * 1000:.0f} ms")

    # What they are made of

    async def _new_token(
        self, device: str, *, publish: Sequence[str] = (), subscribe: Sequence[str] = ()
    ) -> str:
        return await self._token(device, self._registered(device, publish, subscribe))

    def _registered(
        self,
        device: str,
        publish: Sequence[str] = (),
        subscribe: Sequence[str] = (),
        lifetime: int | None = None,
    ) -> str:
        """Register a device, or enable that of an earlier run; return its secret."""
        with open_register(self._installation) as register:
            with suppress(ConflictError):
                rights = Rights(publish=publish, subscribe=subscribe)
                wish = DeviceWish(device, rights=rights, lifetime=lifetime)
                return register.add_device(wish).secret
            register.enable_device(device)
            return register.rotate_secret(device).secret

    async def _token(self, device: str, secret: str) -> str:
        url = f"{self._installation.settings.server.issuer}/oauth2/token"
        command = ["curl", "-sS", "--cacert", self._ca, "-X", "POST", url]
        form = ["grant_type=client_credentials", f"client_id={device}", f"client_secret={secret}"]
        command += [word for field in form for word in ("-d", field)]
        self._tell_command(command, secret)
        _, output = await _run(command)
        try:
            answer = json.loads(output)
            token = str(answer["access_token"])
        except (ValueError, KeyError, TypeError):
            raise UpstreamError(f"the token endpoint gave {device} no token") from None
        shown = {**answer, "access_token": f"{token[:6]}…"}
        self.tell(json.dumps(shown, ensure_ascii=False))
        return token

    async def _publish(
        self, device: str, token: str, topic: str, payload: str, *, allowed: bool = True
    ) -> str:
        command = self._client("mosquitto_pub", device, token, topic, "-m", payload)
        self._tell_command(command, token)
        status, output = await _run(command)
        refused = "not authori" in output.lower()
        if refused == allowed or (allowed and status != 0):
            raise UpstreamError(f"publishing to {topic} as {device} went wrong: {output.strip()}")
        return output

    @asynccontextmanager
    async def _listening(
        self, device: str, token: str, topic: str, *options: str, until: str = "SUBACK"
    ) -> AsyncIterator[Process]:
        command = self._client("mosquitto_sub", device, token, topic, *options, "-d")
        self._tell_command(command, token, " &")
        # -d prints the packets; line by line, although nobody's terminal listens.
        async with _started(["stdbuf", "-oL", *command]) as listener:
            await _until(listener, until, f"{device} waited for {until} on {topic} in vain")
            yield listener

    def _client(
        self, program: str, device: str, token: str, topic: str, *options: str
    ) -> list[str]:
        where = ["-h", self._installation.name, "-p", self._port, "--cafile", self._ca]
        who = ["-i", device, "-u", device, "-P", token]
        return [program, "-V", "mqttv5", *where, *who, "-q", "1", "-t", topic, *options]

    def _tell_command(self, command: Sequence[str], secret: str, end: str = "") -> None:
        self.tell(f"$ {shlex.join(command).replace(secret, '…')}{end}")


@asynccontextmanager
async def _started(command: Sequence[str]) -> AsyncIterator[Process]:
    """Run a program as long as the block lasts; it never outlives it."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=STDOUT,
        start_new_session=True,
        preexec_fn=end_with_parent(),
    )
    try:
        yield process
    finally:
        send(process, signal.SIGTERM)
        # A mosquitto_sub without a connection does not listen to that.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), _END_TIMEOUT)
        send(process, signal.SIGKILL)
        await process.wait()


async def _run(command: Sequence[str]) -> tuple[int, str]:
    async with _started(command) as process:
        try:
            output, _ = await asyncio.wait_for(process.communicate(), _TIMEOUT)
        except TimeoutError:
            raise UpstreamError(f"{command[0]} did not end within {_TIMEOUT:.0f} s") from None
        return process.returncode or 0, output.decode("utf-8", "replace")


async def _until(listener: Process, text: str, otherwise: str) -> None:
    """Read what a program prints until a line holds the text."""
    if listener.stdout is None:
        return
    with suppress(TimeoutError):
        async with asyncio.timeout(_TIMEOUT):
            async for line in listener.stdout:
                if text in line.decode("utf-8", "replace"):
                    return
    raise UpstreamError(otherwise)


def _first_line(output: str) -> str:
    return output.strip().partition("\n")[0]
