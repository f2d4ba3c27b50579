# SPDX-License-Identifier: Apache-2.0
"""However a visit at the broker is ended, aiomqtt's client serves again, and nothing is left."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from typing import Any

import aiomqtt
import paho.mqtt.client as mqtt
import pytest

from keyfob.device import TokenSource
from keyfob.device.aiomqtt import Client
from keyfob.errors import TokenRequestError
from tests.device.parties import AUTH, Broker, Ticking, auth, broker, connack, tokens
from tests.device.test_paho import METHOD, Asked
from tests.device.world import Rogue, SetClock, good, rogue, sends

pytestmark = pytest.mark.filterwarnings(
    # aiomqtt leaves paho's wake-up sockets to the garbage collector.
    "ignore::pytest.PytestUnraisableExceptionWarning"
)

MANY = 8


def yes(_made: Broker, kind: int, _body: bytes) -> bytes:
    return connack(0) if kind == 0x10 else b""


async def client_of(source: TokenSource, port: int) -> Client:
    return Client(
        "127.0.0.1", port, auth=source, identifier="dev1",
        protocol=aiomqtt.ProtocolVersion.V5, timeout=10,
    )  # fmt: skip


async def visit(client: Client, *, again_and_again: bool) -> None:
    """Come in, begin a planned reconnect, and leave in the middle of it."""
    if not again_and_again:
        async with client:
            client._begin_reconnect()
        return
    async for each in client.reconnecting():
        async with each:
            client._begin_reconnect()
        break


@pytest.mark.parametrize("again_and_again", [False, True], ids=["once", "reconnecting"])
def test_whenever_it_is_cancelled_the_client_comes_in_again(again_and_again: bool) -> None:
    async def cancelled_after(turns: int, client: Client) -> bool:
        task = asyncio.create_task(visit(client, again_and_again=again_and_again))
        for _ in range(turns):
            await asyncio.sleep(0)
        early = task.cancel()
        await asyncio.wait({task}, timeout=20)
        assert task.done(), f"it hangs when it is cancelled after {turns} turns of the loop"
        async with asyncio.timeout(20), client:
            assert client.session.connected
        left = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.wait(left, timeout=20) if left else None
        assert all(each.done() for each in left)
        return early

    async def ever_later(source: TokenSource, port: int, complaints: list[Any]) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, what: complaints.append(what))
        turns = 0
        while await cancelled_after(turns, await client_of(source, port)):
            turns = turns + 1 if turns < MANY else turns * 2

    complaints: list[Any] = []
    with tokens(Ticking()) as (source, _), broker(yes) as made:
        source.get()
        asyncio.run(ever_later(source, made.port, complaints))
        gc.collect()
    assert complaints == []


@pytest.mark.parametrize("again_and_again", [False, True], ids=["once", "reconnecting"])
def test_a_second_visit_at_once_is_refused_and_leaves_the_first_one_alone(
    again_and_again: bool,
) -> None:
    def echo(_made: Broker, kind: int, body: bytes) -> bytes:
        if kind == 0x10:
            return connack(0)
        return bytes((kind, len(body))) + body if kind == 0x30 else b""

    async def others_are_refused(client: Client) -> None:
        with pytest.raises(aiomqtt.MqttReentrantError):
            async with client:
                pass
        with pytest.raises(aiomqtt.MqttReentrantError):
            async for _ in client.reconnecting():
                pass
        assert client.session.connected
        await client.publish("x", "y", qos=0)
        assert (await anext(aiter(client.messages))).payload == b"y"

    async def live(source: TokenSource, port: int) -> None:
        client = await client_of(source, port)
        async with asyncio.timeout(20):
            if again_and_again:
                async for each in client.reconnecting():
                    async with each:
                        await others_are_refused(client)
                    break
            else:
                async with client:
                    await others_are_refused(client)

    with tokens(Ticking()) as (source, _), broker(echo) as made:
        asyncio.run(live(source, made.port))
    assert made.ends == ["DISCONNECT"]


def test_of_two_visits_that_begin_at_once_one_is_refused() -> None:
    async def live(source: TokenSource, port: int) -> None:
        client = await client_of(source, port)
        async with asyncio.timeout(20):
            told = await asyncio.gather(
                client.__aenter__(), client.__aenter__(), return_exceptions=True
            )
            assert {type(each) for each in told} == {Client, aiomqtt.MqttReentrantError}
            assert client.session.connected
            await client.__aexit__(None, None, None)

    with tokens(Ticking()) as (source, _), broker(yes) as made:
        asyncio.run(live(source, made.port))
    assert made.ends == ["DISCONNECT"]


def test_what_a_user_raises_before_connecting_locks_nothing_and_ends_a_planned_reconnect() -> None:
    raising: list[bool] = [True]

    def before(_client: mqtt.Client, _userdata: Any) -> None:
        if raising:
            raise ZeroDivisionError

    async def lost(client: Client) -> None:
        async with asyncio.timeout(20), client:
            raising.append(True)
            client._begin_reconnect()
            async for _ in client.messages:
                pass

    async def live(source: TokenSource, port: int) -> None:
        client = await client_of(source, port)
        client._client.on_pre_connect = before
        with pytest.raises(ZeroDivisionError):
            async with client:
                pass
        raising.clear()
        with pytest.raises(aiomqtt.MqttError, match="Disconnected"):
            await lost(client)
        raising.clear()
        async with asyncio.timeout(20), client:
            assert client.session.connected

    with tokens(Ticking()) as (source, _), broker(yes) as made:
        source.get()
        asyncio.run(live(source, made.port))


def test_what_tasks_publish_while_it_comes_in_waits_for_connack() -> None:
    """MQTT 5.0 section 3.1.2.11.9, of whoever names an authentication method."""
    early: list[int] = []

    def answer(made: Broker, kind: int, _body: bytes) -> bytes:
        if kind == 0x10:
            return auth(0x18, METHOD, b"who?")
        if kind == AUTH:
            return connack(0, METHOD)
        early.extend([kind] if len(made.auths) < len(made.connects) else [])
        return b""

    async def publish_for_ever(client: Client) -> None:
        while True:
            with contextlib.suppress(aiomqtt.MqttError):  # it is away
                await client.publish("x", "y")
            await asyncio.sleep(0)

    async def live(source: TokenSource, port: int) -> None:
        client = Client(
            "127.0.0.1", port, auth=source, identifier="dev1", carry=f"auth:{METHOD}",
            method=Asked, renew="reconnect", protocol=aiomqtt.ProtocolVersion.V5, timeout=10,
        )  # fmt: skip
        publishing = asyncio.create_task(publish_for_ever(client))
        for _ in range(2):
            async with asyncio.timeout(20), client:
                client._begin_reconnect()
                await client.publish("x", "last")
        publishing.cancel()

    with tokens(Ticking()) as (source, _), broker(answer) as made:
        asyncio.run(live(source, made.port))
    assert len(made.connects) == 4
    assert early == []


def test_a_server_that_refuses_for_a_while_ends_no_reconnecting() -> None:
    clock = SetClock()

    async def somebody_enables_it_again(source: TokenSource, server: Rogue) -> None:
        while source.renewal_in() <= 0:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        server.token = good()
        clock.pass_by(2 * source.renewal_in())

    async def live(source: TokenSource, server: Rogue, port: int) -> None:
        client = await client_of(source, port)
        client.session._presenting.first = 0.1
        with pytest.raises(TokenRequestError):
            async with client:
                pass
        enabling = asyncio.create_task(somebody_enables_it_again(source, server))
        async with asyncio.timeout(20):
            async for each in client.reconnecting():
                async with each:
                    assert each.session.connected
                break
        await enabling

    refusing = sends({"error": "invalid_client"}, "401 Unauthorized")
    with rogue(refusing) as server, broker(yes) as made:
        source = TokenSource(server.url, client_id="dev1", client_secret="s", clock=clock)
        asyncio.run(live(source, server, made.port))
    assert server.asked == 2
