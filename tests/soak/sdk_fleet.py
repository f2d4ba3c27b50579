# SPDX-License-Identifier: Apache-2.0
"""Devices that live by the SDK alone: paho clients with ``attach``, each publishing to the next.

Every message has a number; what was published has to arrive, however the token was renewed in
between and whatever happened to the parts.
"""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from keyfob.cli.server_database import server_database
from keyfob.device import Clock, TokenSource
from keyfob.device.clock import system_clock
from keyfob.device.paho import attach
from keyfob.server.register import Register
from keyfob.server.wishes import DeviceWish, Rights
from tests.running import Installation, until

__all__ = ["SdkFleet", "Way"]

_RUNS = itertools.count(1)
"""Fleets of one installation have no device in common."""


@dataclass(frozen=True)
class Way:
    """How the devices of a fleet show their tokens.

    Attributes:
        carry: As for ``attach``.
        renew: As for ``attach``.
        v5: Whether they speak MQTT 5; 3.1.1 has no will that waits, so they have none there.
    """

    carry: str
    renew: Literal["auto", "reauthenticate", "reconnect", "expire"] = "auto"
    v5: bool = True


@dataclass
class _Device:
    name: str
    client: mqtt.Client
    source: TokenSource
    session: Any
    first: str = field(default="", repr=False)
    sent: int = 0
    came: Counter[int] = field(default_factory=Counter)
    connects: Counter[int] = field(default_factory=Counter)
    numbers: dict[int, int] = field(default_factory=dict)
    refused: set[int] = field(default_factory=set)

    @property
    def told(self) -> set[int]:
        """The messages that were refused, as the application was told (``on_publish``)."""
        return {self.numbers[mid] for mid in self.refused}


class SdkFleet:
    """A ring of devices, all connected.

    Args:
        running: The installation.
        size: How many devices.
        way: How they show their tokens.
        port: Where they find the broker, in plain text.
        clock: What their token sources believe the time to be.
        will_delay: Seconds that a will waits for its device to come back (MQTT 5.0 section
            3.1.3.2.2). A network that is cut is what wills are for.

    Attributes:
        wills: Whose will has fired, and how often.
    """

    def __init__(
        self,
        running: Installation,
        size: int,
        way: Way,
        *,
        port: int,
        clock: Clock | None = None,
        will_delay: int = 0,
    ) -> None:
        self._running = running
        self._clock = clock or system_clock()
        self._port = port
        self._will_delay = will_delay
        self.wills = Counter[str]()
        self.way = way
        run = next(_RUNS)
        names = [f"sdk-{run}-{way.carry[:4]}-{number:03}" for number in range(size)]
        secrets = self._register(names)
        self.devices = [
            self._device(name, secrets[name], before, way)
            for before, name in zip([names[-1], *names], names, strict=False)
        ]
        self._ended = threading.Event()
        self._publisher: threading.Thread | None = None

    def _register(self, names: list[str]) -> dict[str, str]:
        with Register.open(server_database(self._running.settings)) as register:
            return {
                name: register.add_device(
                    DeviceWish(name, rights=Rights(publish=(f"s/{name}/#",), subscribe=("s/#",)))
                ).secret
                for name in names
            }

    def _device(self, name: str, secret: str, before: str, way: Way) -> _Device:
        source = TokenSource(
            self._running.settings.server.issuer,
            client_id=name,
            client_secret=secret,
            ca=self._running.ca,
            clock=self._clock,
        )
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=name,
            protocol=mqtt.MQTTv5 if way.v5 else mqtt.MQTTv311,
            clean_session=None if way.v5 else False,
        )
        client.reconnect_delay_set(1, 2)
        if way.v5:
            properties = Properties(PacketTypes.WILLMESSAGE)  # type: ignore[no-untyped-call]
            properties.WillDelayInterval = self._will_delay
            client.will_set(f"s/{name}/will", name, qos=1, properties=properties)
        session = attach(client, source, carry=way.carry, renew=way.renew)
        device = _Device(name, client, source, session)

        def on_connect(_c: Any, _u: Any, flags: Any, code: Any, _p: Any) -> None:
            device.connects[code.value] += 1
            if code == 0 and not flags.session_present:
                client.subscribe([(f"s/{before}/d", 1), (f"s/{before}/will", 1)])

        def on_message(_c: Any, _u: Any, message: mqtt.MQTTMessage) -> None:
            if message.topic.endswith("/will"):
                # What was not acknowledged when the broker ended comes again: the same will.
                self.wills[message.payload.decode()] += not message.dup
            else:
                device.came[int(message.payload)] += 1

        def on_publish(_c: Any, _u: Any, mid: int, code: Any, _p: Any) -> None:
            if code.value >= 0x80:
                device.refused.add(mid)

        client.on_publish = on_publish
        client.on_connect = on_connect
        client.on_message = on_message
        return device

    def start(self, interval: float) -> None:
        """Connect all, and let each publish once in about that many seconds."""
        suback = Counter[str]()
        for device in self.devices:
            options: dict[str, Any] = {}
            if self.way.v5:
                properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
                properties.SessionExpiryInterval = 3600
                # Mosquitto saves no session whose connection began with clean start (to 2.1.2).
                options = {"clean_start": False, "properties": properties}
            name = device.name
            # One after the other: paho's select takes no file descriptor beyond 1,023, and a token
            # request holds several.
            device.client.on_subscribe = lambda *_, name=name: suback.update([name])
            device.first = device.source.get().access_token
            device.client.connect_async("127.0.0.1", self._port, 30, **options)
            device.client.loop_start()
        until("all are subscribed", lambda: len(suback) == len(self.devices), 120)
        self._publisher = threading.Thread(target=self._publish, args=(interval,))
        self._publisher.start()

    def _publish(self, interval: float) -> None:
        chance = random.Random(1)
        pause = interval / len(self.devices)
        for device in itertools.cycle(self.devices):
            if self._ended.wait(chance.uniform(0.5, 1.5) * pause):
                return
            info = device.client.publish(f"s/{device.name}/d", str(device.sent), qos=1)
            device.numbers[info.mid] = device.sent
            device.sent += 1

    def renewed(self, events: Sequence[Mapping[str, Any]]) -> int:
        """How often that device was renewed that was least often; by what the guard has audited."""
        outcome = "reauthenticated" if self.way.renew == "reauthenticate" else "allowed"
        seen = Counter(each["client_id"] for each in events if each["outcome"] == outcome)
        first = 0 if self.way.renew == "reauthenticate" else 1
        return min(seen[device.name] for device in self.devices) - first

    def finish(self, patience: float = 240.0) -> None:
        """Publish no more, and wait for what is on its way."""
        self._ended.set()
        if self._publisher is not None:
            self._publisher.join()
        deadline = time.monotonic() + patience
        while self.lost() and time.monotonic() < deadline:
            time.sleep(0.1)

    def close(self) -> None:
        """Disconnect all."""
        self._ended.set()
        for device in self.devices:
            device.client.disconnect()
        for device in self.devices:
            device.client.loop_stop()
            device.client._reset_sockets(sockpair_only=True)
            device.session.close()

    def lost(self) -> dict[str, list[int]]:
        """What was published, was not refused, and has not come; by whom it was for."""
        return {
            device.name: missing
            for before, device in zip([self.devices[-1], *self.devices], self.devices, strict=False)
            if (missing := sorted(set(range(before.sent)) - before.told - set(device.came)))
        }

    @property
    def counts(self) -> dict[str, int]:
        """What happened: messages sent, delivered more than once; CONNACKs by reason code."""
        connacks = sum((device.connects for device in self.devices), Counter[int]())
        return {
            "sent": sum(device.sent for device in self.devices),
            "twice": sum(sum(device.came.values()) - len(device.came) for device in self.devices),
            "refused": sum(len(device.told) for device in self.devices),
            "wills": self.wills.total(),
            **{f"connack {code}": count for code, count in sorted(connacks.items())},
        }
