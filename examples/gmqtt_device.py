# SPDX-License-Identifier: Apache-2.0
"""A device with gmqtt, or any client that knows nothing of tokens: it is told what to show."""

# ruff: noqa: D102

import asyncio
import sys

import gmqtt

from keyfob.device import TokenSource
from keyfob.device.presenting import Presenting


class Device:
    """One gmqtt client, connected again with the next token each time that it has to be."""

    def __init__(self, source: TokenSource, name: str) -> None:
        self.presenting = Presenting(source, carry="password")
        self.name = name
        self.client = gmqtt.Client(name, clean_session=False, session_expiry_interval=3600)
        # One of two has to connect again; 0 would still let gmqtt try once, and -1 for ever.
        self.client.set_config({"reconnect_retries": -2})
        self.client.on_connect = self.on_connect
        self.client.on_disconnect = self.on_disconnect
        self.ended = asyncio.Event()
        self.planned = False
        self.wait = 0.0

    def on_connect(self, _client: object, _flags: int, code: int, _properties: object) -> None:
        if code == 0:
            self.presenting.accepted()

    def on_disconnect(self, _client: object, *_: object) -> None:
        if not self.planned and not self.ended.is_set():
            self.wait = self.presenting.ended()
        self.ended.set()

    async def run(self, host: str, port: int) -> None:
        """Stay connected, for ever."""
        while True:
            await asyncio.sleep(self.wait)
            self.wait, self.planned = 0.0, False
            self.ended.clear()
            try:
                shown = await self.presenting.acredentials(client_id=self.name)
                self.client.set_auth_credentials(shown.username, shown.password)
                await self.client.connect(host, port)
            except gmqtt.mqtt.handler.MQTTConnectError as refused:
                self.wait = self.presenting.refused(refused.args[0])
                continue
            except OSError as error:  # no token, or no broker
                print(error)
                self.wait = self.presenting.failed()
                continue
            await self.connected()

    async def connected(self) -> None:
        """Return when the connection has ended, or the next token is there."""
        while not self.ended.is_set():
            if self.presenting.successor() is not None:
                self.planned = True
                await self.client.disconnect()
                return
            await asyncio.sleep(0.25)


async def main() -> None:
    """Publish once a second."""
    host, port, issuer, name, secret, ca = sys.argv[1:]
    device = Device(TokenSource(issuer, client_id=name, client_secret=secret, ca=ca), name)
    running = asyncio.create_task(device.run(host, int(port)))
    while not running.done():
        await asyncio.sleep(1)
        if device.client.is_connected:
            device.client.publish(f"devices/{name}/temperature", "21.5", qos=1)
    await running


if __name__ == "__main__":
    asyncio.run(main())
