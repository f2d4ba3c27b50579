# SPDX-License-Identifier: Apache-2.0
"""aiomqtt with `auth=`: renewals do not end its context, and lost connections come back."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from typing import Any

import aiomqtt
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from keyfob.cli.server_database import server_database
from keyfob.device import TokenSource
from keyfob.device.aiomqtt import Client
from keyfob.server.register import Register
from keyfob.server.wishes import DeviceWish, Rights
from tests.running import PATIENCE, Installation
from tests.running import until as awaited
from tests.soak.cable import cable

pytestmark = pytest.mark.filterwarnings(
    # aiomqtt leaves paho's wake-up sockets to the garbage collector.
    "ignore::pytest.PytestUnraisableExceptionWarning"
)


def source_of(running: Installation, device: str) -> TokenSource:
    with Register.open(server_database(running.settings)) as register:
        rights = Rights(publish=("d/{device}/#",), subscribe=("d/{device}/#",))
        secret = register.add_device(DeviceWish(device, rights=rights)).secret
    issuer = f"https://localhost:{running.settings.server.port}"
    return TokenSource(issuer, client_id=device, client_secret=secret, ca=running.ca)


def client_of(source: TokenSource, device: str, port: int, **options: Any) -> Client:
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = 60
    return Client(
        "127.0.0.1", port, auth=source, identifier=device,
        protocol=aiomqtt.ProtocolVersion.V5, clean_start=False, properties=properties, **options,
    )  # fmt: skip


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def listen(client: Client, came: list[int]) -> None:
    async for message in client.messages:
        came.append(int(message.payload))  # noqa: PERF401 - it is looked at meanwhile


@pytest.mark.parametrize("carry", ["password", "auth:OAUTH2-JWT"])
def test_renewals_end_no_context_and_lose_nothing(running: Installation, carry: str) -> None:
    device = f"aio-{carry[:4]}"
    port = running.settings.mosquitto.plain_port
    source = source_of(running, device)
    came: list[int] = []

    async def live() -> int:
        sent = 0
        async with client_of(source, device, port, carry=carry) as client:
            await client.subscribe(f"d/{device}/x", qos=1)
            listening = asyncio.create_task(listen(client, came))
            for _ in range(2):
                before = client.session.token
                client.session.refresh()
                while client.session.token == before or not client.session.connected:
                    await client.publish(f"d/{device}/x", str(sent), qos=1)
                    sent += 1
                    await asyncio.sleep(0.005)
            await until(lambda: set(came) >= set(range(sent)))
            listening.cancel()
        return sent

    sent = asyncio.run(live())
    assert sorted(set(came)) == list(range(sent))
    again = "allowed" if carry == "password" else "reauthenticated"
    expected = [("allowed", ""), (again, ""), (again, "")]
    awaited(f"{expected} in the audit", lambda: running.told(device) == expected)


def test_a_connection_that_is_lost_comes_back(
    running: Installation,
) -> None:
    source = source_of(running, "aio-lost")
    came: list[int] = []

    async def live() -> None:
        with cable(running.settings.mosquitto.plain_port) as between:
            client = client_of(source, "aio-lost", between.port)
            visits = 0
            async for visit in client.reconnecting():
                visits += 1
                async with visit:
                    await visit.subscribe("d/aio-lost/x", qos=1)
                    listening = asyncio.create_task(listen(visit, came))
                    await visit.publish("d/aio-lost/x", str(visits), qos=1)
                    await until(lambda: visits in came)  # noqa: B023
                    if visits < 3:
                        between.cut()
                        between.mend()
                        await listening
                    listening.cancel()
                if visits == 3:
                    break

    asyncio.run(live())
    # The broker itself sends again what this end had not acknowledged when the cable was cut.
    assert sorted(set(came)) == [1, 2, 3]


def test_a_server_that_is_away_is_an_error_that_aiomqtt_knows_and_locks_nothing() -> None:
    async def live() -> None:
        away = TokenSource(token_endpoint="http://127.0.0.1:9/token", client_id="dev1")
        client = Client("127.0.0.1", 9, auth=away, identifier="dev1")
        for _ in range(2):
            with pytest.raises(aiomqtt.MqttError, match="no connection"):
                async with client:
                    pass

    asyncio.run(live())


def test_a_socket_that_is_closed_by_then_is_not_watched(running: Installation) -> None:
    port = running.settings.mosquitto.plain_port
    source = source_of(running, "aio-closed")

    async def live() -> None:
        loop = asyncio.get_running_loop()
        async with client_of(source, "aio-closed", port) as client:
            ended, other = socket.socketpair()
            with other:
                number = ended.fileno()
                client._on_socket_register_write(client._client, None, ended)
                ended.close()
                with socket.create_server(("127.0.0.1", 0)) as another:
                    assert another.fileno() == number  # somebody else has its number
                    await asyncio.sleep(0.01)
                    assert not loop.remove_writer(another)
            await client.publish("d/aio-closed/x", "1", qos=1)  # its own is written still

    asyncio.run(live())


def test_nothing_watches_a_socket_any_more_that_a_planned_reconnect_closes(
    running: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = running.settings.mosquitto.plain_port
    source = source_of(running, "aio-watched")
    watched: list[bool] = []

    async def live() -> None:
        loop = asyncio.get_running_loop()
        async with client_of(source, "aio-watched", port) as client:
            sock = client._client.socket()
            assert sock is not None
            number, reconnect, remove = sock.fileno(), client.session.reconnect, loop.remove_reader

            def reads_on(fd: Any) -> bool:
                if fd == number:  # what was read last is answered, as a message of QoS 1 is
                    client._on_socket_register_write(client._client, None, sock)
                return remove(fd)

            def observed() -> Any:
                watched.append(number in loop._selector.get_map())  # type: ignore[attr-defined]
                return reconnect()

            monkeypatch.setattr(loop, "remove_reader", reads_on)
            monkeypatch.setattr(client.session, "reconnect", observed)
            before = client.session.token
            client.session.refresh()
            await until(lambda: client.session.token != before and client.session.connected)

    asyncio.run(live())
    assert watched == [False]


def test_a_connection_whose_answer_comes_too_late_is_closed(running: Installation) -> None:
    """It must not come to life behind aiomqtt's back: two threads would use one paho client."""
    source = source_of(running, "aio-late")
    with socket.create_server(("127.0.0.1", 0)) as mute:

        async def live() -> None:
            client = client_of(source, "aio-late", mute.getsockname()[1], timeout=0.2)
            with pytest.raises(aiomqtt.MqttError, match="timed out"):
                await client.__aenter__()
            assert client._client.socket() is None
            assert not client.session.connected
            assert client.session.wait > 0
            connection, _ = mute.accept()
            with connection:
                connection.settimeout(PATIENCE)
                while connection.recv(65_536):  # its CONNECT, and then the end
                    pass

        asyncio.run(live())


@pytest.mark.parametrize("events", ["reader", "writer", "both"])
def test_a_client_hears_also_where_another_left_its_number_in_the_loop(
    running: Installation, events: str
) -> None:
    port = running.settings.mosquitto.plain_port
    source = source_of(running, f"aio-{events}")
    came: list[int] = []

    async def live() -> None:
        loop = asyncio.get_running_loop()
        await source.aget()
        client = client_of(source, f"aio-{events}", port)
        # Its thread closes what it had open: then the next socket has the lowest number.
        await until(lambda: "keyfob-renewal" not in {each.name for each in threading.enumerate()})
        gone, other = socket.socketpair()
        if events != "writer":
            loop.add_reader(gone, print)
        if events != "reader":
            loop.add_writer(gone, print)
        number = gone.fileno()
        gone.close()
        with other:
            async with client:
                sock = client._client.socket()
                assert sock is not None
                assert sock.fileno() == number
                await client.subscribe(f"d/aio-{events}/x", qos=1)
                listening = asyncio.create_task(listen(client, came))
                await client.publish(f"d/aio-{events}/x", "1", qos=1)
                await until(lambda: came == [1])
                listening.cancel()

    asyncio.run(live())
