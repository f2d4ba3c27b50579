# SPDX-License-Identifier: Apache-2.0
"""Opening a link: plugin and guard agree who is there, whichever of them is new."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from keyfob.brokers.mosquitto import frames
from keyfob.guard.session import EndCause, SessionState
from keyfob.guard.sessions import SessionStore
from tests.brokers.mosquitto.linking import (
    FIRST_RUN,
    ISSUER,
    NOW,
    PERMISSIONS,
    SECOND_RUN,
    connect,
    hello,
    house,
    stored,
)

pytestmark = pytest.mark.anyio


def record(
    device: str = "dev1", epoch: int = 1, state: SessionState = SessionState.ONLINE
) -> frames.Record:
    grant = frames.Grant(
        expires_at=int(NOW + 600) * 1000 + 250,
        principal=device,
        issuer=ISSUER,
        subject=device,
        token_id="",
        client=device,
        bound="",
        permissions=PERMISSIONS,
    )
    return frames.Record(
        epoch=epoch, state=state, clean=False, assigned=False, client_id=device, grant=grant
    )


async def test_after_a_broken_link_what_the_plugin_does_not_name_is_gone(tmp_path: Path) -> None:
    async with house(tmp_path) as here:
        plugin, _ = await here.plugin()
        await plugin.admit("dev1", 1)
        await plugin.admit("dev2", 2)
        await plugin.leave()
        _, told = await here.plugin(FIRST_RUN, record("dev2", 2))
        assert told == []
        assert here.session("dev1") is None
        assert here.session("dev2")


async def test_a_link_that_breaks_in_mid_answer_loses_no_stored_session(tmp_path: Path) -> None:
    """OFFLINE is no proof that the plugin has read the answer; a CONNECT is."""
    sessions = SessionStore()
    for device in ("dev1", "dev2"):
        sessions.put(stored(device))
    async with house(tmp_path, sessions=sessions) as here:
        for _ in range(2):
            plugin, told = await here.plugin(SECOND_RUN)
            assert [getattr(frame, "client_id", "") for frame in told] == ["dev1", "dev2"]
            plugin.say(frames.Offline(epoch=9, client_id="nobody", kept=False))
            await plugin.leave()
        assert sessions.instance("mosquitto") is None
        plugin, _ = await here.plugin(SECOND_RUN)
        await plugin.settled()
        assert sessions.instance("mosquitto") == SECOND_RUN
        await plugin.leave()
        _, told = await here.plugin(SECOND_RUN, record("dev2", 0, SessionState.OFFLINE))
        assert told == []
        assert [session.client_id for session in sessions] == ["dev2"]


async def test_admitted_is_proof_that_the_answer_was_read(tmp_path: Path) -> None:
    """Of a client that an earlier link let in: it is told to forget it, and the run is known."""
    async with house(tmp_path) as here:
        plugin, _ = await here.plugin()
        plugin.say(frames.Admitted(epoch=5, client_id="dev1"))
        assert isinstance(await plugin.hear(), frames.End)
        assert here.sessions.instance("mosquitto") == FIRST_RUN


async def test_a_lost_link_ends_no_session(tmp_path: Path) -> None:
    async with house(tmp_path) as here:
        plugin, _ = await here.plugin()
        await plugin.admit()
        await plugin.leave()
        await asyncio.sleep(0.05)
        session = here.session()
        assert session
        assert session.state is SessionState.ONLINE


async def test_a_restarted_broker_is_given_its_stored_sessions_all_offline(tmp_path: Path) -> None:
    async with house(tmp_path) as here:
        plugin, _ = await here.plugin()
        grant = await plugin.admit("dev1", 1)
        await plugin.admit("dev2", 2, clean=True, protocol_level=4)
        await plugin.leave()
        _, told = await here.plugin(SECOND_RUN)
        assert told == [
            frames.Record(
                epoch=0,
                state=SessionState.OFFLINE,
                clean=False,
                assigned=False,
                client_id="dev1",
                grant=grant,
            )
        ]


async def test_a_guard_that_knows_nothing_takes_the_plugins_word(tmp_path: Path) -> None:
    """It was killed, and its file is gone: who is connected goes on, and can be revoked."""
    async with house(tmp_path) as here:
        plugin, told = await here.plugin(FIRST_RUN, record("dev1", 7))
        assert told == []
        session = here.session()
        assert session
        assert (session.epoch, session.expires_at) == (7, NOW + 600.25)
        assert session.permissions == PERMISSIONS
        await here.revoke("dev1")
        assert await plugin.hear() == frames.End(epoch=7, cause=EndCause.REVOKED, client_id="dev1")


async def test_what_was_revoked_while_the_link_was_down_is_ended(tmp_path: Path) -> None:
    async with house(tmp_path) as here:
        plugin, _ = await here.plugin()
        await plugin.admit("dev1", 1)
        await plugin.leave()
        await here.revoke("dev1")
        _, told = await here.plugin(FIRST_RUN, record("dev1", 1))
        assert told == [frames.End(epoch=1, cause=EndCause.REVOKED, client_id="dev1")]


async def test_what_was_revoked_while_the_broker_was_down_comes_as_revoked(tmp_path: Path) -> None:
    async with house(tmp_path) as here:
        plugin, _ = await here.plugin()
        await plugin.admit("dev1", 1)
        await plugin.leave()
        await here.revoke("dev1")
        _, told = await here.plugin(SECOND_RUN)
        assert [type(frame) for frame in told] == [frames.Record, frames.End]
        assert isinstance(told[0], frames.Record)
        assert told[0].state is SessionState.REVOKED


async def test_a_revocation_while_the_plugin_lists_its_clients_is_told_at_the_end(
    tmp_path: Path,
) -> None:
    """Once, and of the clients that the guard knew as of those that it did not."""
    async with house(tmp_path) as here:
        plugin, _ = await here.plugin()
        await plugin.admit("dev1", 1)
        await plugin.leave()
        plugin = await here.link()
        plugin.say(hello(), record("dev1", 1), record("dev2", 7))
        assert isinstance(await plugin.hear(), frames.Welcome)
        await here.revoke("dev1")
        await here.revoke("dev2")
        plugin.say(frames.RecordsEnd())
        assert await plugin.hear() == frames.End(epoch=1, cause=EndCause.REVOKED, client_id="dev1")
        assert await plugin.hear() == frames.End(epoch=7, cause=EndCause.REVOKED, client_id="dev2")
        assert await plugin.hear() == frames.RecordsEnd()


async def test_an_end_never_overtakes_the_record_of_its_session(tmp_path: Path) -> None:
    """More sessions than the socket holds; a revocation while they wait to be read."""
    devices = [f"dev{n}" for n in range(3000)]
    sessions = SessionStore()
    for device in devices:
        sessions.put(stored(device))
    async with house(tmp_path, sessions=sessions) as here:
        plugin = await here.link()
        plugin.say(hello(SECOND_RUN), frames.RecordsEnd())
        assert isinstance(await plugin.hear(), frames.Welcome)
        await here.revoke(devices[-1])
        plugin.say(connect("dev1", 50))
        heard = [await plugin.hear() for _ in range(len(devices) + 3)]
        names = [frame.client_id for frame in heard if isinstance(frame, frames.Record)]
        assert names == devices
        assert heard[len(devices) :] == [
            frames.RecordsEnd(),
            frames.End(epoch=0, cause=EndCause.REVOKED, client_id=devices[-1]),
            replace(heard[-1]),
        ]
        assert isinstance(heard[-1], frames.Decision)


async def test_a_new_link_of_the_same_broker_replaces_the_old_one(tmp_path: Path) -> None:
    async with house(tmp_path) as here:
        old, _ = await here.plugin()
        await old.admit("dev1", 1)
        new, _ = await here.plugin(FIRST_RUN, record("dev1", 1))
        await old.closed()
        assert isinstance(await new.hear(), frames.Replace)  # its record is not what was decided
        await here.revoke("dev1")
        assert isinstance(await new.hear(), frames.End)
        assert [status.name for status in here.server.brokers()] == ["mosquitto"]


async def test_brokers_of_different_names_have_links_and_sessions_of_their_own(
    tmp_path: Path,
) -> None:
    async with house(tmp_path) as here:
        first, _ = await here.plugin(FIRST_RUN, name="first")
        second, _ = await here.plugin(SECOND_RUN, name="second")
        await first.admit("dev1", 1)
        await second.admit("dev1", 1)
        assert {status.name for status in here.server.brokers()} == {"first", "second"}
        second.say(frames.Offline(epoch=1, client_id="dev1", kept=False))
        await second.settled()
        assert here.sessions.get("first", "dev1")
        assert here.sessions.get("second", "dev1") is None
