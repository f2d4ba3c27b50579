# SPDX-License-Identifier: Apache-2.0
"""A device with AWS's client (awscrt) over WebSocket: what it shows is fixed when it is made.

So each token gets a client of its own; the session at the broker is the same, and goes on. The
client's own reconnecting would show the same token again, also after its end: it is stopped first.
``CARRY=header`` shows the token in the handshake's ``Authorization`` header, for brokers and fronts
that read it there, in the place of CONNECT's password.
"""

import contextlib
import os
import queue
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from awscrt import io, mqtt5

from keyfob.device import TokenSource
from keyfob.device.presenting import Credentials, Presenting


@dataclass(frozen=True)
class Broker:
    """Where the broker is, and the authority's certificate that it is trusted by."""

    host: str
    port: int
    ca: str


def made(
    name: str, broker: Broker, shown: Credentials, told: Callable[[Any], None]
) -> mqtt5.Client:
    """Return a client that shows these credentials, and tells of its life."""
    trusting = io.TlsContextOptions()
    trusting.override_default_trust_store_from_path(None, broker.ca)

    def handshake(transform_args: mqtt5.WebsocketHandshakeTransformArgs) -> None:
        for field, value in shown.headers.items():
            transform_args.http_request.headers.set(field, value)
        transform_args.set_done()

    return mqtt5.Client(
        mqtt5.ClientOptions(
            host_name=broker.host,
            port=broker.port,
            tls_ctx=io.ClientTlsContext(trusting),
            websocket_handshake_transform=handshake,
            session_behavior=mqtt5.ClientSessionBehaviorType.REJOIN_ALWAYS,
            connect_options=mqtt5.ConnectPacket(
                client_id=name,
                username=shown.username,
                password=shown.password,
                keep_alive_interval_sec=30,
                session_expiry_interval_sec=3600,
            ),
            on_lifecycle_event_connection_success_fn=told,
            on_lifecycle_event_connection_failure_fn=told,
            on_lifecycle_event_disconnection_fn=told,
            on_lifecycle_event_stopped_fn=told,
        )
    )


class Device:
    """One device, with one client after the other."""

    def __init__(self, source: TokenSource, name: str, broker: Broker) -> None:
        self.presenting = Presenting(source, carry=os.environ.get("CARRY", "password"))
        self.name, self.broker = name, broker
        self.life: queue.Queue[Any] = queue.Queue()
        self.unacknowledged: mqtt5.PublishPacket | None = None

    def run(self) -> None:
        """Stay connected, for ever."""
        while True:
            try:
                shown = self.presenting.credentials(client_id=self.name)
            except OSError as error:  # no token
                print(error)
                time.sleep(self.presenting.failed())
                continue
            client = made(self.name, self.broker, shown, self.life.put)
            client.start()
            wait = self.lived(client)
            client.stop(mqtt5.DisconnectPacket())  # no will fires
            while not isinstance(self.life.get(), mqtt5.LifecycleStoppedData):
                pass
            time.sleep(wait)

    def lived(self, client: mqtt5.Client) -> float:
        """Live through one connection; return how long to wait before the next."""
        event = self.life.get()
        if isinstance(event, mqtt5.LifecycleConnectFailureData):
            print(event.exception)
            refusal = event.connack_packet
            return (
                self.presenting.refused(refusal.reason_code)
                if refusal
                else self.presenting.failed()
            )
        self.presenting.accepted()
        print("connected")
        while self.presenting.successor() is None:
            self.publish(client)
            try:
                event = self.life.get(timeout=1)
            except queue.Empty:
                continue
            end = event.disconnect_packet
            return self.presenting.ended(end.reason_code if end else None)
        return 0.0  # planned

    def publish(self, client: mqtt5.Client) -> None:
        """Publish; what the broker has not acknowledged is for the next client to publish again."""
        packet = self.unacknowledged or mqtt5.PublishPacket(
            topic=f"devices/{self.name}/temperature", payload=b"21.5", qos=mqtt5.QoS.AT_LEAST_ONCE
        )
        self.unacknowledged = packet
        with contextlib.suppress(Exception):  # each kind of end, of which `life` tells, too
            client.publish(packet).result(timeout=10)
            self.unacknowledged = None


def main() -> None:
    """Take the secret from the environment: others can read a command line."""
    host, port, issuer, name, ca = sys.argv[1:]
    secret = os.environ["KEYFOB_CLIENT_SECRET"]
    source = TokenSource(issuer, client_id=name, client_secret=secret, ca=ca)
    Device(source, name, Broker(host, int(port), ca)).run()


if __name__ == "__main__":
    main()
