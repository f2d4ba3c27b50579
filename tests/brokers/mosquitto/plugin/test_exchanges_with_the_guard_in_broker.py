# SPDX-License-Identifier: Apache-2.0
"""Enhanced authentication with plugin, broker and guard all real: certificates, and restarts."""

from __future__ import annotations

import asyncio
import base64
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from keyfob.brokers.mosquitto.link import LinkServer
from keyfob.guard.guard import Guard
from keyfob.guard.session import Session, SessionState
from keyfob.guard.sessions import SessionStore
from tests import mqtt5
from tests.brokers.mosquitto.linking import issuers, token
from tests.brokers.mosquitto.plugin.broker import (
    NOT_AUTHORIZED,
    TAKEN,
    Broker,
    Plugin,
    free_port,
)
from tests.brokers.mosquitto.plugin.certificates import Authority, Issued, tls_listener
from tests.brokers.mosquitto.plugin.fake_guard import PATIENCE, until
from tests.transports import Dial

METHOD = "OAUTH2-JWT"


def fresh(name: str = "dev1", **claims: Any) -> bytes:
    now = int(time.time())
    return token(name, **{"iat": now - 10, "exp": now + 600, **claims})


class RealGuard:
    """A guard in a thread that has an event loop."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sessions = SessionStore()
        self._start()

    def _start(self) -> None:
        self._listening = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),))
        self._thread.start()
        assert self._listening.wait(PATIENCE)

    def stop(self) -> None:
        """Stop it."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE)
        self._loop.close()

    def lost(self) -> None:
        """Start it anew; it knows of no session and no exchange."""
        self.stop()
        self.sessions = SessionStore()
        self._start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def live(self, client_id: str = "dev1") -> Session | None:
        """Its session, if it is connected."""
        found = self.sessions.get("mosquitto", client_id)
        return found if found is not None and found.state is SessionState.ONLINE else None

    async def _serve(self) -> None:
        keeper = Guard(issuers(), sessions=self.sessions, authentication_methods=(METHOD,))
        async with keeper, LinkServer(keeper, self.path):
            self._listening.set()
            await self._stop.wait()


@pytest.fixture
def keeper(directory: Path) -> Iterator[RealGuard]:
    with RealGuard(directory / "guard.sock") as started:
        yield started


@pytest.fixture
def broker(
    directory: Path, plugin: Plugin, keeper: RealGuard, any_program: str
) -> Iterator[Broker]:
    with Broker(directory, plugin, keeper.path, program=any_program) as started:
        yield started


def is_asked(answer: mqtt5.Packet | None) -> bool:
    return answer is not None and (answer.kind, answer.reason) == (mqtt5.AUTH, mqtt5.CONTINUE)


def is_in(answer: mqtt5.Packet | None) -> bool:
    return answer is not None and (answer.kind, answer.reason) == (mqtt5.CONNACK, 0)


def goes_on(answer: mqtt5.Packet | None) -> bool:
    return answer is not None and (answer.kind, answer.reason) == (mqtt5.AUTH, 0)


def comes_in(port: int) -> bool:
    """Whether the guard decides again: it has to be linked to."""
    with mqtt5.Client(port, "dev2") as device:
        return is_in(device.connect(fresh("dev2")))


# Restarts


def test_a_guard_that_is_restarted_in_the_middle_of_an_exchange_costs_a_second_try(
    broker: Broker, keeper: RealGuard
) -> None:
    """Its client hears nothing of a bad token: the guard cannot know what it had asked."""
    with mqtt5.Client(broker.port, "dev1") as device:
        assert is_asked(device.connect())
        keeper.lost()
        answer = device.auth(mqtt5.CONTINUE, fresh())
        assert answer is None or (answer.kind, answer.reason) == (mqtt5.DISCONNECT, 0x80)
    until(lambda: comes_in(broker.port), "the plugin's next link")
    with mqtt5.Client(broker.port, "dev1") as device:
        assert is_asked(device.connect())
        assert is_in(device.auth(mqtt5.CONTINUE, fresh()))
        assert device.publish("dev1/up") in TAKEN
        until(keeper.live, "the session")
        assert is_asked(device.auth(mqtt5.REAUTHENTICATE))
        keeper.lost()
        assert goes_on(device.auth(mqtt5.CONTINUE, fresh(jti="next")))
        assert device.publish("dev1/up") in TAKEN
        until(lambda: comes_in(broker.port), "the plugin's next link")
        until(keeper.live, "the session by the plugin's word")
        assert goes_on(device.auth(mqtt5.REAUTHENTICATE, fresh(jti="third")))
        until(lambda: (known := keeper.live()) and known.token_id == "third", "the third token")


def test_an_assigned_identifier_is_renewed_by_a_guard_that_lost_its_file(
    broker: Broker, keeper: RealGuard
) -> None:
    with mqtt5.Client(broker.port, "") as device:
        answer = device.connect(fresh())
        assert answer is not None
        assert is_in(answer)
        until(lambda: keeper.live(answer.assigned), "the session")
        keeper.lost()
        until(lambda: comes_in(broker.port), "the plugin's next link")
        until(lambda: keeper.live(answer.assigned), "the session by the plugin's word")
        assert goes_on(device.auth(mqtt5.REAUTHENTICATE, fresh(jti="next")))
        until(
            lambda: (known := keeper.live(answer.assigned)) and known.token_id == "next",
            "the next token",
        )
        assert device.publish("dev1/up") in TAKEN


# Certificates


def dialed(authority: Authority, shown: Issued) -> Dial:
    """Return what connects over TLS with a certificate."""
    context = ssl.create_default_context(cafile=str(authority.certificate))
    context.load_cert_chain(shown.certificate, shown.key)

    def dial(port: int) -> Any:
        raw = socket.create_connection(("127.0.0.1", port), PATIENCE)
        return context.wrap_socket(raw, server_hostname="localhost")

    return dial


def bound_to(certificate: Issued, **claims: Any) -> bytes:
    """Return a token that is bound to a certificate (RFC 8705 section 3.1)."""
    thumbprint = base64.urlsafe_b64encode(certificate.thumbprint).rstrip(b"=").decode()
    return fresh(cnf={"x5t#S256": thumbprint}, **claims)


def test_a_token_that_is_bound_to_a_certificate_comes_in_and_goes_on_over_its_tls_alone(
    directory: Path, plugin: Plugin, keeper: RealGuard, any_program: str
) -> None:
    authority = Authority(directory)
    server, own, other = (authority.issue(name) for name in ("localhost", "dev1", "dev2"))
    port = free_port()
    lines = tls_listener(port, authority, server)
    with Broker(directory, plugin, keeper.path, lines=lines, program=any_program):
        with mqtt5.Client(port, "dev1", over=dialed(authority, other)) as thief:
            answer = thief.connect(bound_to(own))
            assert answer is not None
            assert (answer.kind, answer.reason) == (mqtt5.CONNACK, NOT_AUTHORIZED)
        for wrong in (bound_to(other), fresh()):
            with mqtt5.Client(port, "dev1", over=dialed(authority, own)) as device:
                assert is_in(device.connect(bound_to(own)))
                assert goes_on(device.auth(mqtt5.REAUTHENTICATE, bound_to(own, jti="next")))
                assert device.publish("dev1/up") in TAKEN
                until(
                    lambda: (known := keeper.live()) and known.token_id == "next", "the next token"
                )
                refused = device.auth(mqtt5.REAUTHENTICATE, wrong)
                assert refused is not None
                assert refused.kind in (mqtt5.DISCONNECT, mqtt5.CONNACK)  # 2.0.11 says CONNACK
                assert refused.reason == NOT_AUTHORIZED
            until(lambda: keeper.live() is None, "its end")
