# SPDX-License-Identifier: Apache-2.0
"""What ends a link, what does not, and what is never told: peers, garbage, silence, secrets."""

from __future__ import annotations

import asyncio
import logging
import os
import pwd
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from keyfob.authorization.decision import Decision
from keyfob.brokers.mosquitto import frames, plugin_link, wire
from keyfob.brokers.mosquitto.connects import milliseconds
from keyfob.brokers.mosquitto.outbox import Outbox
from keyfob.errors import ConfigError
from keyfob.guard.guard import Guard
from keyfob.guard.session import EndCause, Replacement, Session
from keyfob.guard.sessions import SessionStore
from tests.brokers.mosquitto.linking import (
    FIRST_RUN,
    PATIENCE,
    Plugin,
    connect,
    hello,
    house,
    stored,
)

pytestmark = pytest.mark.anyio

END = wire.encode(frames.RecordsEnd())


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", id="another protocol"),
        pytest.param((wire.MAX_PAYLOAD + 1).to_bytes(4, "big") + b"\x01" + bytes(7), id="oversize"),
        pytest.param(END, id="no HELLO"),
        pytest.param(wire.encode(connect(), 1), id="CONNECT before HELLO"),
        pytest.param(wire.encode(hello()) * 2, id="HELLO twice"),
        pytest.param(wire.encode(hello()) + wire.encode(connect(), 1), id="CONNECT before the end"),
        pytest.param(wire.encode(hello()) + END + END, id="records twice"),
        pytest.param(
            wire.encode(hello()) + END + wire.encode(frames.Decision(epoch=1, reason=0x87), 1),
            id="a frame of the guard's own",
        ),
        pytest.param(
            wire.encode(hello())
            + wire.encode(frames.Continue(epoch=1, client_id="dev1", data=b"", wait_ms=9), 1),
            id="CONTINUE before the end",
        ),
        pytest.param(wire.encode(hello()) + END + b"\0" * 12, id="garbage later"),
    ],
)
async def test_a_plugin_that_breaks_the_protocol_loses_its_link_and_no_other(
    tmp_path: Path, data: bytes
) -> None:
    async with house(tmp_path) as here:
        good, _ = await here.plugin(name="good")
        bad = await here.link()
        bad.writer.write(data)
        await bad.closed()
        await good.settled()
        assert [status.name for status in here.server.brokers()] == ["good"]


async def test_a_plugin_that_says_nothing_loses_its_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugin_link, "OPENING_TIMEOUT", 0.05)
    async with house(tmp_path) as here:
        plugin = await here.link()
        plugin.say(hello())
        await plugin.closed()


async def test_an_open_link_may_be_silent_for_as_long_as_it_likes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugin_link, "OPENING_TIMEOUT", 0.05)
    async with house(tmp_path) as here:
        plugin, _ = await here.plugin()
        await asyncio.sleep(0.15)
        await plugin.settled()


async def ask_without_listening(plugin: Plugin) -> None:
    question = wire.encode(connect(password=None), 1)
    async with asyncio.timeout(PATIENCE):
        while True:
            plugin.writer.write(question * 1000)
            await plugin.writer.drain()


async def test_a_plugin_that_does_not_read_loses_its_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It never takes more memory than the limit, however long it goes on asking."""
    monkeypatch.setattr(plugin_link, "Outbox", partial(Outbox, limit=10_000))
    async with house(tmp_path) as here:
        plugin, _ = await here.plugin()
        with pytest.raises(ConnectionError):
            await ask_without_listening(plugin)


class Failing(Guard):
    """A guard with a bug that a token can reach."""

    def answer(self, request: Any, **_: Any) -> Decision:
        raise RuntimeError(f"cannot parse {request.password!r}")


class Boundless(Guard):
    """A guard that lets in somebody whose name fits into no frame."""

    def answer(self, request: Any, **_: Any) -> Decision:
        decision = self.decide(request)
        return Decision.allow(
            principal="x" * 70_000,
            issuer=decision.issuer,
            subject=decision.subject,
            permissions=decision.permissions,
            expires_at=decision.expires_at,
        )


@pytest.mark.parametrize(("guard", "reason"), [(Failing, 0x88), (Boundless, 0x87)])
async def test_a_connect_that_cannot_be_decided_is_refused_and_the_link_lives(
    tmp_path: Path, guard: type[Guard], reason: int
) -> None:
    async with house(tmp_path, guard=guard) as here:
        plugin, _ = await here.plugin()
        plugin.say(connect())
        assert await plugin.hear() == frames.Decision(epoch=1, reason=reason)
        plugin.say(connect(epoch=2))
        assert await plugin.hear() == frames.Decision(epoch=2, reason=reason)


class Generous(Guard):
    """A guard whose grant just fits into a DECISION."""

    def answer(self, request: Any, **_: Any) -> Decision:
        decision = self.decide(request)
        return Decision.allow(
            principal="x" * 65_000,
            issuer="x" * 65_000,
            subject="x" * 65_000,
            token_id="x" * 65_000,
            permissions=decision.permissions,
            expires_at=decision.expires_at,
        )


async def test_a_grant_that_no_record_could_tell_of_is_refused(tmp_path: Path) -> None:
    """Else the plugin would never be given the session again, and a link end it."""
    async with house(tmp_path, guard=Generous) as here:
        plugin, _ = await here.plugin()
        plugin.say(connect("d"))
        allowed = await plugin.hear()
        assert isinstance(allowed, frames.Decision)
        assert allowed.reason == 0
        long = "d" * 2_500
        plugin.say(connect(long, 2))
        assert await plugin.hear() == frames.Decision(epoch=2, reason=0x87)


async def test_a_peer_address_that_is_no_text_ends_no_link(tmp_path: Path) -> None:
    async with house(tmp_path) as here:
        plugin, _ = await here.plugin()
        good = wire.encode(connect(peer="?"), 101)
        plugin.writer.write(good[:-3] + b"\xff" + good[-2:])
        decision = await plugin.hear()
        assert isinstance(decision, frames.Decision)
        assert decision.reason == 0


async def test_no_credential_is_ever_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    secret = b"very-secret-token"
    caplog.set_level(logging.DEBUG)
    async with house(tmp_path, guard=Failing) as here:
        plugin, _ = await here.plugin()
        plugin.say(connect(password=secret, username=secret))
        await plugin.hear()
        spoilt = wire.encode(connect("x", password=secret), 1)
        at = wire.HEADER_SIZE + 12
        plugin.writer.write(spoilt[:at] + b"\xff" + spoilt[at + 1 :])
        await plugin.closed()
    assert "RuntimeError" in caplog.text
    assert "secret" not in caplog.text


async def test_a_guard_that_stops_says_what_it_has_to_say_and_removes_its_socket(
    tmp_path: Path,
) -> None:
    async with house(tmp_path) as here:
        plugin, _ = await here.plugin()
        plugin.say(connect())
        assert isinstance(await plugin.hear(), frames.Decision)
        await here.server.close()
        await plugin.closed()
        assert not here.path.exists()
        assert here.server.brokers() == ()


async def test_a_guard_that_stops_does_not_wait_for_a_plugin_that_does_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keyfob.brokers.mosquitto.link.CLOSE_TIMEOUT", 0.05)
    sessions = SessionStore()
    for number in range(3000):
        sessions.put(stored(f"dev{number}"))
    async with house(tmp_path, sessions=sessions) as here:
        plugin = await here.link()
        plugin.say(hello(), frames.RecordsEnd())
        assert isinstance(await plugin.hear(), frames.Welcome)
        await here.server.close()
        await asyncio.sleep(0.05)
        assert here.server._links == set()


# Who may open a link


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that other users can look into, as /run/keyfob is."""
    with tempfile.TemporaryDirectory(prefix="keyfob-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")


async def link_as(user: int, path: Path) -> Plugin:
    """Open a link whose peer credentials are those of another user."""
    connection = socket.socket(socket.AF_UNIX)
    os.seteuid(user)
    try:
        connection.connect(str(path))
    finally:
        os.seteuid(0)
    connection.setblocking(False)
    return Plugin(*await asyncio.open_unix_connection(sock=connection))


@as_root
async def test_a_process_of_another_user_gets_no_link(
    open_directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    nobody = pwd.getpwnam("nobody").pw_uid
    async with house(open_directory) as here:
        here.path.chmod(0o666)
        plugin = await link_as(nobody, here.path)
        here.plugins.append(plugin)
        plugin.say(hello())
        await plugin.closed()
        assert plugin.heard == []
        assert here.server.brokers() == ()
    assert f"user {nobody} may not" in caplog.text


@as_root
async def test_a_process_of_a_configured_user_gets_a_link(open_directory: Path) -> None:
    async with house(open_directory, users=["nobody"]) as here:
        here.path.chmod(0o666)
        plugin = await link_as(pwd.getpwnam("nobody").pw_uid, here.path)
        here.plugins.append(plugin)
        plugin.say(hello(FIRST_RUN), frames.RecordsEnd())
        assert await plugin.hear_records() == []


async def test_a_user_that_does_not_exist_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no-such-user"):
        async with house(tmp_path, users=["no-such-user"]):
            pass


async def test_a_change_that_no_record_could_tell_of_ends_the_session(tmp_path: Path) -> None:
    """A RECORD is a little longer than a REPLACE: what just fits into the one must not be kept."""
    session = replace(stored("dev1"), token_id="", principal="", issuer="", subject="")
    room = wire.MAX_PAYLOAD + wire.HEADER_SIZE - len(_replace_frame(session))
    names = ("token_id", "principal", "issuer", "subject")
    lengths = [min(room - i * 65_535, 65_535) for i in range(len(names))]
    fits = replace(session, **{n: "x" * size for n, size in zip(names, lengths, strict=True)})  # type: ignore[arg-type]
    assert len(_replace_frame(fits)) == wire.MAX_PAYLOAD + wire.HEADER_SIZE
    async with house(tmp_path) as here:
        plugin, _ = await here.plugin()
        here.server._push(Replacement(session=session))
        assert isinstance(await plugin.hear(), frames.Replace)
        here.server._push(Replacement(session=fits))
        assert await plugin.hear() == frames.End(epoch=3, cause=EndCause.REVOKED, client_id="dev1")


def _replace_frame(session: Session) -> bytes:
    grant = frames.Grant(
        expires_at=milliseconds(session.expires_at),
        principal=session.principal,
        issuer=session.issuer,
        subject=session.subject,
        token_id=session.token_id,
        client=session.client,
        bound=session.bound,
        permissions=session.permissions,
    )
    return wire.encode(
        frames.Replace(epoch=session.epoch, client_id=session.client_id, grant=grant)
    )
