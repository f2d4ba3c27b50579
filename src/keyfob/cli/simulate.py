# SPDX-License-Identifier: Apache-2.0
"""``keyfob simulate``: what a fleet asks of its server, by the schedule alone or for real."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal

import typer

from keyfob.cli import simulate_schedule
from keyfob.cli.output import Json
from keyfob.errors import ConfigError

__all__ = ["simulate"]

_REAL: Final = "For real: "
_TOPIC: Final = "devices/{device}/simulated"


def simulate(
    devices: Annotated[int, typer.Option(metavar="N", help="How many devices.", min=1)],
    lifetime: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="How long a token lives.  [default: 1h; for real: 1m]"),
    ] = None,
    lifetimes: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="For how many lifetimes to watch.  [default: 4]", min=1, max=100
        ),
    ] = None,
    boot: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Within which time all of them boot."
            "  [default: 0; for real: 1m, or half of a shorter run]",
        ),
    ] = None,
    interval: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Over which time a peak is taken.  [default: 1s]"),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Other random numbers.")] = 0,
    picture: Annotated[
        Path | None, typer.Option("--svg", metavar="FILE", help="Draw the curve into this file.")
    ] = None,
    processes: Annotated[
        int,
        typer.Option(metavar="N", help="How many processes work; 0: one a core.", min=0, max=64),
    ] = 0,
    real: Annotated[
        bool,
        typer.Option(
            "--real",
            help="Send: real token requests, real MQTT. Without --issuer, --broker and"
            " --credentials, to a server and a broker that are made for it and removed.",
        ),
    ] = False,
    issuer: Annotated[
        str, typer.Option(metavar="URL", help=f"{_REAL}whom tokens are asked for.")
    ] = "",
    broker: Annotated[
        str, typer.Option(metavar="URL", help=f"{_REAL}mqtts://HOST[:PORT], or mqtt://.")
    ] = "",
    credentials: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help=f"{_REAL}names and secrets, as `keyfob device import --secrets-out` writes them.",
        ),
    ] = None,
    ca: Annotated[
        Path | None, typer.Option(metavar="FILE", help=f"{_REAL}certificates to trust both by.")
    ] = None,
    duration: Annotated[
        str | None,
        typer.Option(metavar="TIME", help=f"{_REAL}for how long.  [default: 5m]"),
    ] = None,
    publish_every: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help=f"{_REAL}how often a device publishes; 0: never.  [default: 10s]"
        ),
    ] = None,
    qos: Annotated[
        int | None, typer.Option(metavar="N", help=f"{_REAL}0, 1 or 2.  [default: 1]", min=0, max=2)
    ] = None,
    topic: Annotated[
        str | None,
        typer.Option(metavar="TOPIC", help=f"{_REAL}where to publish.  [default: {_TOPIC}]"),
    ] = None,
    carry: Annotated[
        str | None,
        typer.Option(
            metavar="WHERE", help=f"{_REAL}password, username or auth:METHOD.  [default: password]"
        ),
    ] = None,
    renew: Annotated[
        Literal["auto", "reauthenticate", "reconnect", "expire"] | None,
        typer.Option(help=f"{_REAL}how the next token is shown.  [default: auto]"),
    ] = None,
    allow_remote: Annotated[
        bool,
        typer.Option("--allow-remote", help=f"{_REAL}also load hosts that are not this machine."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Tell what a fleet that boots together asks of its authorization server.

    By the schedule of keyfob.device alone, nothing is sent; the first minute is left out, in which
    all of them boot. Small fleets are uneven: --interval 1m evens them out. With --real, devices
    of the SDK get tokens, connect and publish, 5,000 at most.
    """
    only_real = {
        "--issuer": issuer,
        "--broker": broker,
        "--credentials": credentials,
        "--ca": ca,
        "--duration": duration,
        "--publish-every": publish_every,
        "--qos": qos,
        "--topic": topic,
        "--carry": carry,
        "--renew": renew,
        "--allow-remote": allow_remote or None,
    }
    if not real:
        _refuse(only_real, "goes with --real: without it nothing is sent")
        wish = simulate_schedule.Wish(
            devices=devices,
            lifetime="1h" if lifetime is None else lifetime,
            lifetimes=4 if lifetimes is None else lifetimes,
            boot="0" if boot is None else boot,
            interval="1s" if interval is None else interval,
            seed=seed,
            picture=picture,
            processes=processes,
        )
        simulate_schedule.show_schedule(wish, as_json=as_json)
        return
    _refuse({"--lifetimes": lifetimes, "--interval": interval}, "goes with the schedule alone")
    # Here and not above: nobody else needs the MQTT clients, and what they import.
    from keyfob.cli import simulate_real  # noqa: PLC0415

    simulate_real.run_for_real(
        simulate_real.Wish(
            devices=devices,
            lifetime=lifetime,
            boot=boot,
            duration="5m" if duration is None else duration,
            publish_every="10s" if publish_every is None else publish_every,
            qos=1 if qos is None else qos,
            topic=topic or _TOPIC,
            carry=carry or "password",
            renew=renew or "auto",
            issuer=issuer,
            broker=broker,
            credentials=credentials,
            ca=ca,
            allow_remote=allow_remote,
            seed=seed,
            picture=picture,
            processes=processes,
        ),
        as_json=as_json,
    )


def _refuse(options: Mapping[str, object], why: str) -> None:
    for option, value in options.items():
        if value not in {None, ""}:
            raise ConfigError(f"{option} {why}")
