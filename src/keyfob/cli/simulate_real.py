# SPDX-License-Identifier: Apache-2.0
"""``keyfob simulate --real``: devices of the SDK get tokens, connect and publish."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import secrets
import signal
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from keyfob.cli.output import Exit, answer, finish
from keyfob.cli.selecting import seconds_of
from keyfob.cli.simulate_here import Place, temporary
from keyfob.cli.token_asking import no_word_of_a_next_try, refused
from keyfob.device import TokenSource
from keyfob.device.carrying import Carry, Field
from keyfob.device.driving import tls_context
from keyfob.device.watching import Asked
from keyfob.errors import ConfigError, TokenRequestError, UpstreamError
from keyfob.loopback import is_loopback
from keyfob.simulation.bounds import LONGEST, MOST_DEVICES, need_descriptors, refuse_far
from keyfob.simulation.credentials import read_credentials
from keyfob.simulation.figures import Figures, What
from keyfob.simulation.plan import PLACEHOLDER, Credential, Plan

if find_spec("aiomqtt") is None:  # an extra
    raise ConfigError("--real needs aiomqtt: pip install 'keyfob[aiomqtt]'")

from keyfob.cli.simulate_report import Outcome, faults_of, picture_of, report_data, report_text
from keyfob.simulation.crew import run_fleet

__all__ = ["Wish", "run_for_real"]

_SHORTEST_LIFETIME: Final = 5
_BOOT: Final = 60
_LEAST_SHARE: Final = 200
"""Devices that are worth a process."""
_PATIENCE: Final = 10.0
_PORTS: Final = {"mqtt": 1883, "mqtts": 8883}
_TOPIC: Final = re.compile(r"[^+#\0]{1,1000}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What was typed; see ``keyfob.cli.simulate`` for each."""

    devices: int
    lifetime: str | None
    boot: str | None
    duration: str
    publish_every: str
    qos: int
    topic: str
    carry: str
    renew: str
    issuer: str
    broker: str
    credentials: Path | None
    ca: Path | None
    allow_remote: bool
    seed: int
    picture: Path | None
    processes: int

    @property
    def is_named(self) -> bool:
        """Whether a server and a broker are named; else they are made."""
        return bool(self.issuer or self.broker or self.credentials)

    @property
    def boots_within(self) -> int:
        """Seconds in which all boot: a minute, or half of a shorter run, unless it was said.

        Raises:
            ConfigError: What was said is no time.
        """
        if self.boot is not None:
            return seconds_of(self.boot)
        return min(_BOOT, seconds_of(self.duration) // 2)


def run_for_real(wish: Wish, *, as_json: bool) -> None:
    """Run a fleet and tell what came of it; ends with 1 where a promise was not kept.

    Raises:
        ConfigError: The options do not fit together, or ask for too much.
        UpstreamError: The server or the broker is away.
    """
    _check(wish)
    processes = wish.processes or min(os.cpu_count() or 1, -(-wish.devices // _LEAST_SHARE))
    need_descriptors(wish.devices, min(processes, wish.devices))
    try:
        outcome = asyncio.run(_run(wish, min(processes, wish.devices)))
    except TokenRequestError as error:
        refused(error, as_json=as_json)
    if wish.picture is not None:
        wish.picture.write_text(picture_of(outcome), encoding="utf-8")
    answer(report_data(outcome), report_text(outcome), as_json=as_json)
    if faults_of(outcome):
        finish(Exit.REFUSED)


def _check(wish: Wish) -> None:
    if wish.devices > MOST_DEVICES:
        said = f"--real takes {MOST_DEVICES:,} devices at most: beyond, a machine measures itself"
        raise ConfigError(f"{said}; without --real, the schedule alone takes 100 million")
    duration, boot = seconds_of(wish.duration), wish.boots_within
    if not 1 <= duration <= LONGEST:
        raise ConfigError("--duration is from 1s to 1h")
    if boot >= duration:
        raise ConfigError("--boot is shorter than --duration")
    if PLACEHOLDER not in wish.topic or not _TOPIC.fullmatch(wish.topic):
        raise ConfigError(f"--topic has {PLACEHOLDER} in it, and no wildcard")
    if Carry.parse(wish.carry).field is Field.HEADER:
        raise ConfigError("--carry is password, username or auth:METHOD")
    if not wish.is_named:
        if wish.ca is not None or wish.allow_remote:
            raise ConfigError("--ca and --allow-remote go with --issuer, --broker, --credentials")
        lifetime = seconds_of(wish.lifetime or "1m")
        if not _SHORTEST_LIFETIME <= lifetime <= 86_400:
            raise ConfigError("--lifetime is from 5s to 1d")
        return
    if not (wish.issuer and wish.broker and wish.credentials):
        raise ConfigError("name all three: --issuer, --broker and --credentials; or none")
    if wish.lifetime is not None:
        raise ConfigError("--lifetime is the server's to say, where --issuer names one")


async def _run(wish: Wish, processes: int) -> Outcome:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    duration = seconds_of(wish.duration)
    async with _place(wish, stop) as place:
        plan = _plan(wish, place)
        lifetime = await asyncio.to_thread(_try, place, plan, wish)
        with _progress(duration, wish.devices) as told:
            figures, seconds = await run_fleet(
                plan, place.devices, processes=processes, stop=stop, told=told
            )
    return Outcome(
        plan=plan,
        broker=place.broker,
        devices=wish.devices,
        lifetime=lifetime,
        seconds=seconds,
        interrupted=stop.is_set(),
        figures=figures,
    )


@asynccontextmanager
async def _place(wish: Wish, stop: asyncio.Event) -> AsyncIterator[Place]:
    if wish.credentials is None:
        lifetime = seconds_of(wish.lifetime or "1m")
        async with temporary(wish.devices, lifetime, wish.topic, stop) as place:
            yield place
        return
    refuse_far(urlsplit(wish.issuer).hostname or "", "the issuer", allowed=wish.allow_remote)
    refuse_far(_broker(wish.broker)[0], "the broker", allowed=wish.allow_remote)
    yield Place(
        issuer=wish.issuer,
        broker=wish.broker,
        ca=wish.ca,
        devices=read_credentials(wish.credentials, wish.devices),
    )


def _plan(wish: Wish, place: Place) -> Plan:
    host, port, tls = _broker(place.broker)
    return Plan(
        issuer=place.issuer,
        ca=None if place.ca is None else str(place.ca),
        host=host,
        port=port,
        tls=tls,
        carry=wish.carry,
        renew=wish.renew,
        topic=wish.topic,
        qos=wish.qos,
        publish_every=float(seconds_of(wish.publish_every)),
        boot=float(wish.boots_within),
        duration=float(seconds_of(wish.duration)),
        run=secrets.token_hex(8),
        seed=wish.seed,
    )


def _broker(url: str) -> tuple[str, int, bool]:
    """Read a broker's URL.

    Raises:
        ConfigError: It is none, or would send tokens in the clear to another machine.
    """
    said = f"--broker {url!r} is not mqtts://HOST[:PORT] or mqtt://HOST[:PORT]"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ConfigError(said) from None
    more = parts.path.strip("/") or parts.query or parts.fragment or parts.username is not None
    if parts.scheme not in _PORTS or not host or more:
        raise ConfigError(said)
    if parts.scheme == "mqtt" and not is_loopback(host):
        raise ConfigError("--broker mqtt:// sends tokens in the clear: mqtts:// to another machine")
    return host, port or _PORTS[parts.scheme], parts.scheme == "mqtts"


def _try(place: Place, plan: Plan, wish: Wish) -> float:
    """Have the first device get a token, and find the broker, before thousands do.

    Returns:
        Seconds that a token lives.

    Raises:
        TokenRequestError: It is refused.
        UpstreamError: The server or the broker is away.
        ConfigError: The issuer sends the devices to another machine.
    """
    asked: list[Asked] = []
    first: Credential = place.devices[0]
    source = TokenSource(
        plan.issuer,
        client_id=first.client_id,
        client_secret=first.secret,
        ca=place.ca,
        watch=asked.append,
    )
    try:
        with no_word_of_a_next_try():
            token = source.get()
    finally:  # what it said may be somebody else's, where it was not this machine's
        for host in {urlsplit(each.url).hostname or "" for each in asked}:
            refuse_far(host, "the token endpoint", allowed=wish.allow_remote)
    _find_broker(plan)
    return token.lifetime


def _find_broker(plan: Plan) -> None:
    where = f"the broker, {plan.host} port {plan.port}"
    try:
        with socket.create_connection((plan.host, plan.port), _PATIENCE) as plain:
            if plan.tls:
                context = tls_context(plan.ca, None)
                with contextlib.closing(context.wrap_socket(plain, server_hostname=plan.host)):
                    pass
    except ssl.SSLCertVerificationError as error:
        said = f"{where}: its certificate is not trusted ({error.verify_message})"
        raise UpstreamError(said) from None
    except OSError as error:
        said = os.strerror(error.errno) if error.errno and error.errno > 0 else type(error).__name__
        raise UpstreamError(f"{where}: no connection ({said})") from None


@contextmanager
def _progress(duration: int, devices: int) -> Iterator[Callable[[float, Figures], None]]:
    """Show on a terminal how far it is, and what is counted by now."""
    bar = Progress(
        BarColumn(bar_width=20),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
        console=Console(file=sys.stderr),
        disable=not sys.stderr.isatty(),
        transient=True,
    )
    with bar:
        task = bar.add_task("starting", total=duration)

        def told(seconds: float, figures: Figures) -> None:
            other = figures.total(What.ANSWER) - figures.of(What.ANSWER).get("200", 0)
            bar.update(
                task,
                completed=min(seconds, duration),
                description=f"{figures.connected:,} of {devices:,} connected,"
                f" {figures.requests.total():,} token requests ({other:,} failed),"
                f" {figures.total(What.RECEIVED):,} messages",
            )

        yield told
