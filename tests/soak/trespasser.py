# SPDX-License-Identifier: Apache-2.0
"""A device that takes what is not its own, again and again, and must never get it."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable

import httpx

from tests.soak.fleet import Fleet
from tests.soak.mqtt5 import Connection, RefusedError

__all__ = ["trespass"]

NAME = "trespasser"


async def trespass(
    fleet: Fleet, secret: str, victims: tuple[str, ...], chance: random.Random
) -> None:
    """Try until the fleet closes: foreign identifiers, foreign topics, everything."""
    while not fleet.closing:
        await asyncio.sleep(chance.uniform(0.2, 1))
        try:
            answer = await fleet.http.post(
                fleet.token_url, data={"grant_type": "client_credentials"}, auth=(NAME, secret)
            )
        except httpx.TransportError:
            continue
        token = answer.raise_for_status().json()["access_token"]
        victim = chance.choice(victims)
        await _once(fleet, victim, token, _caught(fleet), clean=chance.random() < 0.5)
        connection = await _once(fleet, NAME, token, _caught(fleet), clean=True)
        if connection is not None:
            await _reach(fleet, connection, victim)
            await connection.disconnect()


def _caught(fleet: Fleet) -> Callable[[str, bytes], None]:
    return lambda topic, payload: fleet.ledger.trespasses.append(f"{NAME} got {payload!r}: {topic}")


async def _once(
    fleet: Fleet, name: str, token: str, on_message: Callable[[str, bytes], None], *, clean: bool
) -> Connection | None:
    try:
        connection = await Connection.open(
            fleet.addresses[0], name, (name, token), on_message, clean_start=clean
        )
    except RefusedError:
        fleet.counts["trespassers turned away"] += name != NAME
        return None
    except OSError:
        return None
    if name != NAME:
        fleet.ledger.trespasses.append(f"{NAME} came in as {name}")
        connection.drop()
        return None
    return connection


async def _reach(fleet: Fleet, connection: Connection, victim: str) -> None:
    codes = await connection.subscribe("#", "s/#", f"s/{victim}/+", f"$share/g/s/{victim}/d")
    text = fleet.ledger.sent(NAME, time.time())
    codes += (await connection.publish(f"s/{victim}/d", text.encode()),)
    if any(code is not None and code < 0x80 for code in codes):
        fleet.ledger.trespasses.append(f"{NAME} was not refused: {codes}")
    fleet.counts["trespasses refused"] += sum(code is not None for code in codes)
