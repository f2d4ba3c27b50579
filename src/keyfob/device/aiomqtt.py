# SPDX-License-Identifier: Apache-2.0
"""aiomqtt's client, kept in tokens: ``Client(…, auth=source)`` instead of ``aiomqtt.Client(…)``.

    async for client in Client("broker.example", 8883, auth=source).reconnecting():
        async with client:
            await client.subscribe("cmd/#", qos=1)
            async for message in client.messages:
                ...

Theory of operation. Within aiomqtt there is a paho client, which ``paho_session`` keeps in tokens
as any other. aiomqtt takes every end of a connection for the end of its context; a planned
reconnect is hidden from it, and happens in a thread, so the event loop goes on. Who publishes or
subscribes meanwhile waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator
from types import TracebackType
from typing import Any, Self

import aiomqtt
import paho.mqtt.client as mqtt
from aiomqtt.exceptions import MqttConnectError, MqttReentrantError

from keyfob.device.methods import Method, bearer
from keyfob.device.paho import attach
from keyfob.device.paho_session import Session
from keyfob.device.source import TokenSource
from keyfob.errors import ConfigError, TokenRequestError, TokenUnavailableError

__all__ = ["Client"]

_log = logging.getLogger("keyfob.device")


class Client(aiomqtt.Client):
    """An ``aiomqtt.Client`` that shows good tokens, and outlives each of them.

    Args:
        hostname: As aiomqtt's.
        port: As aiomqtt's.
        auth: Where the tokens come from.
        carry: As for ``keyfob.device.paho.attach``; empty: the password.
        renew: As for ``attach``.
        method: As for ``attach``.
        options: What else ``aiomqtt.Client`` takes.

    Raises:
        ConfigError: These do not fit together.
    """

    def __init__(
        self,
        hostname: str,
        port: int = 1883,
        *,
        auth: TokenSource,
        carry: str = "",
        renew: str = "auto",
        method: Method = bearer,
        **options: Any,
    ) -> None:
        super().__init__(hostname, port, **options)
        self._auth = auth
        session = attach(self._client, auth, carry=carry, renew=renew, method=method)
        if not isinstance(session, Session):
            raise ConfigError("this paho is not known inside: use paho-mqtt 2.0 to 2.2")
        self.session = session
        session.by_other_hands = self._begin_reconnect
        session.shadow("publish", self._publish)
        self._settled = asyncio.Event()
        self._settled.set()
        self._reconnect: asyncio.Task[None] | None = None
        self._offered = False  # by reconnecting(), and not entered yet
        self._forgiving = False  # a visit that reconnecting() has offered
        self._abandoned: asyncio.Task[None] | None = None

    # What the application does

    async def publish(self, *arguments: Any, **named: Any) -> None:
        """Publish; as aiomqtt's.

        With QoS 1 or 2 the message is kept from the moment that this is called, also where it ends
        with an error: it is sent with the next connection of this client. Do not publish it again.
        """
        await self._settled.wait()
        await super().publish(*arguments, **named)

    async def subscribe(self, *arguments: Any, **named: Any) -> Any:
        """Subscribe; as aiomqtt's."""
        await self._settled.wait()
        return await super().subscribe(*arguments, **named)

    async def unsubscribe(self, *arguments: Any, **named: Any) -> None:
        """Unsubscribe; as aiomqtt's."""
        await self._settled.wait()
        await super().unsubscribe(*arguments, **named)

    async def reconnecting(self) -> AsyncGenerator[Self, None]:
        """Yield this client, connected, again each time that its connection was lost; for ever.

        An authorization server that refuses the token is waited for as one that is away: somebody
        may enable the device again.

        Enter what is yielded by ``async with``: leaving that because of a lost connection
        (``aiomqtt.MqttError``) is no error.

        Raises:
            aiomqtt.MqttReentrantError: This client is connected already.
        """
        while True:
            try:
                await self._enter()
            except MqttReentrantError:
                raise
            except (aiomqtt.MqttError, TokenRequestError) as error:
                _log.warning("no connection: %s", error)
                await asyncio.sleep(self.session.wait)
                continue
            self._offered = True
            try:
                yield self
            finally:
                if self._offered:  # nobody has entered
                    self._offered = False
                    await super().__aexit__(None, None, None)
            await asyncio.sleep(self.session.wait)

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            aiomqtt.MqttError: There is no connection, or no token, now.
            aiomqtt.MqttReentrantError: There is one: a client is entered once at a time.
            TokenRequestError: The authorization server refuses the token.
        """
        if self._offered:
            self._offered, self._forgiving = False, True
        else:
            await self._enter()
        return self

    async def __aexit__(  # type: ignore[override]
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> bool | None:
        """Disconnect."""
        forgiving, self._forgiving = self._forgiving, False
        leaving = asyncio.create_task(self._leave(exc_type, exc, tb))
        try:
            await asyncio.shield(leaving)
        except aiomqtt.MqttError:
            if not forgiving:
                raise
        except asyncio.CancelledError:
            self._abandoned = asyncio.create_task(self._abandon(leaving))
            raise
        return forgiving and isinstance(exc, aiomqtt.MqttError)

    async def _leave(self, *why: Any) -> None:
        if self._reconnect is not None:
            await asyncio.wait({self._reconnect})
        try:
            await super().__aexit__(*why)
        except aiomqtt.MqttError:
            self.session.failed()
            if self._lock.locked():  # aiomqtt goes before it has released it
                self._lock.release()
            raise
        finally:
            self._close_socket()
            if self._disconnected.done() and not self._disconnected.cancelled():
                self._disconnected.exception()  # else the loop would tell that nobody looked

    async def _enter(self) -> None:
        if self._abandoned is not None:
            await asyncio.wait({self._abandoned})
        self._refuse_another()  # whose failure would be taken for the first one's
        try:
            await self._auth.aget()
        except TokenRequestError:
            self.session.failed()
            raise
        except TokenUnavailableError as error:
            self.session.failed()
            raise aiomqtt.MqttError(error.message) from error
        self._refuse_another()
        if self._connected.done():  # of a connection that was lost
            self._connected = asyncio.Future()
        entering = asyncio.create_task(super().__aenter__())
        try:
            await asyncio.shield(entering)
        except (MqttConnectError, MqttReentrantError):
            raise
        except aiomqtt.MqttError:
            self._give_up()
            raise
        except asyncio.CancelledError:
            self._abandoned = asyncio.create_task(self._abandon(entering, then_leave=True))
            raise
        except Exception:
            if self._lock.locked():  # aiomqtt would hold it for ever
                self._lock.release()
            raise

    def _refuse_another(self) -> None:
        if self._lock.locked():
            raise MqttReentrantError("the client is connected already: use another one")

    async def _abandon(self, task: asyncio.Task[Any], *, then_leave: bool = False) -> None:
        """Bring to its end what nobody waits for any more; aiomqtt would hold its lock for ever."""
        with contextlib.suppress(aiomqtt.MqttError):
            await task
            if then_leave:
                await self._leave(None, None, None)

    # Within

    def _publish(
        self, topic: str, payload: Any = None, qos: int = 0, *rest: Any, **named: Any
    ) -> Any:
        """Say that a message is taken which paho keeps and sends later.

        It says that there is no connection, and sends it nevertheless; whoever believes that and
        publishes again has it delivered twice.
        """
        info = self.session.publish(topic, payload, qos, *rest, **named)
        if qos > 0 and info.rc == mqtt.MQTT_ERR_NO_CONN:
            info.rc = mqtt.MQTT_ERR_SUCCESS
        return info

    def _begin_reconnect(self) -> None:
        """The next token is there, and the connection is to be made anew."""
        if self._reconnect is None:
            self._settled.clear()
            self._reconnect = self._loop.create_task(self._renew_connection())

    async def _renew_connection(self) -> None:
        try:
            await asyncio.sleep(0)  # what was asked of the event loop before is done first
            sock = self._client.socket()
            if sock is None:
                return
            # From here on nothing is read, so nothing more will want to be written.
            self._loop.remove_reader(sock.fileno())
            if self._misc_task is not None:
                self._misc_task.cancel()
            await asyncio.sleep(0)  # what was read last may have been answered (`_write_soon`)
            if self._client.socket() is not sock:  # the broker was faster
                return
            # From here on the socket is the thread's.
            self._loop.remove_writer(sock.fileno())
            done = await self._loop.run_in_executor(None, self.session.reconnect)
            if done != mqtt.MQTT_ERR_SUCCESS:
                self._lost("the planned reconnect failed")
                return
            async with asyncio.timeout(self.timeout):
                # paho tells aiomqtt of a second CONNACK nothing that one could wait for.
                while not self.session.connected and not self._disconnected.done():  # noqa: ASYNC110
                    await asyncio.sleep(0.005)
        except TimeoutError:
            self._give_up()
            self._lost("no answer to the planned reconnect's CONNECT")
        except Exception as error:  # noqa: BLE001 - such as of the user's on_pre_connect
            # Not what it says: the token may be in it.
            self._lost(f"the planned reconnect failed: {type(error).__name__}")
        finally:
            self._reconnect = None
            self._settled.set()

    def _give_up(self) -> None:
        self.session.failed()
        self._close_socket()

    def _close_socket(self) -> None:
        """Close what aiomqtt leaves open when it has waited for too long, or lost the connection.

        A late answer would bring a connection to life that nobody knows of: it would renew itself,
        while another thread makes the next one with the same paho client.
        """
        if self._client.socket() is not None:
            self._client._sock_close()

    def _lost(self, why: str) -> None:
        if not self._disconnected.done():
            self._disconnected.set_exception(aiomqtt.MqttError(why))

    def _on_socket_open(self, client: Any, userdata: Any, sock: Any) -> None:
        self._loop.call_soon_threadsafe(self._forget, sock.fileno())
        super()._on_socket_open(client, userdata, sock)

    def _forget(self, number: int) -> None:
        """Have the loop forget who had this number: he is closed, and may not have said so.

        Else the loop would believe that it watches ours already, and this client were deaf.
        """
        for remove in (self._loop.remove_reader, self._loop.remove_writer):
            with contextlib.suppress(OSError):  # the kernel has forgotten him already
                remove(number)

    def _write_soon(self, sock: Any) -> None:
        """Have the loop say when a socket can be written, if that still is our socket.

        By now it may be closed, and its number another client's: the loop would take that one's
        events for ours, and lose it when it asks for them itself.
        """
        number: int = sock.fileno()
        if sock is self._client.socket() and number >= 0 and not self.session.closing:
            self._loop.add_writer(number, self._write)

    def _write(self) -> None:
        try:
            self._client.loop_write()
        except Exception as error:  # noqa: BLE001 - as aiomqtt: the connection is broken
            if not self._disconnected.done():
                self._disconnected.set_exception(error)

    # What aiomqtt does at paho's calls, but for a planned reconnect

    def _on_disconnect(self, *arguments: Any, **named: Any) -> None:
        # A wait for CONNACK that is being given up is cancelled; aiomqtt does not expect that.
        if not self.session.closing and not self._connected.cancelled():
            super()._on_disconnect(*arguments, **named)

    def _on_socket_close(self, *arguments: Any, **named: Any) -> None:
        if not self.session.closing:
            super()._on_socket_close(*arguments, **named)

    def _on_socket_register_write(self, _client: Any, _userdata: Any, sock: Any) -> None:
        if not self.session.closing:
            self._loop.call_soon_threadsafe(self._write_soon, sock)

    def _on_socket_unregister_write(self, *arguments: Any, **named: Any) -> None:
        if not self.session.closing:
            super()._on_socket_unregister_write(*arguments, **named)
