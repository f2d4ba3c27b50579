# SPDX-License-Identifier: Apache-2.0
"""The guard's end of an open link: CONNECTs decided, clients admitted, gone, revoked."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from keyfob.authorization.permissions import Operation, Permissions, Rule
from keyfob.brokers.mosquitto import connects, frames
from keyfob.guard.key_sources import StaticKeySource
from keyfob.guard.session import EndCause, SessionState
from keyfob.mqtt.topics import TopicFilter
from keyfob.tokens.keys import KeySet
from tests.brokers.mosquitto.linking import (
    FIRST_RUN,
    ISSUER,
    NOW,
    PATIENCE,
    connect,
    hello,
    house,
    issuers,
    token,
)

pytestmark = pytest.mark.anyio


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    """The product runs on uvloop where it is installed, else on asyncio."""
    return ("asyncio", {"use_uvloop": request.param})


# Opening a link


async def test_a_plugin_is_welcomed_and_told_that_the_guard_knows_nothing(tmp_path: Path) -> None:
    async with house(tmp_path) as here:
        plugin = await here.link()
        plugin.say(hello(), frames.RecordsEnd())
        welcome = await plugin.hear()
        assert isinstance(welcome, frames.Welcome)
        assert welcome.version == 4
        assert len(welcome.guard_instance) == 16
        assert (welcome.worker, welcome.workers) == (0, 1)
        assert await plugin.hear() == frames.RecordsEnd()


async def test_the_highest_common_version_is_chosen_and_none_ends_the_link(tmp_path: Path) -> None:
    async with house(tmp_path) as here:
        plugin = await here.link()
        plugin.say(hello(highest=9))
        welcome = await plugin.hear()
        assert isinstance(welcome, frames.Welcome)
        assert welcome.version == 4
        plugin = await here.link()
        plugin.say(hello(lowest=5, highest=9))
        await plugin.closed()


async def test_health_names_the_brokers_that_have_a_link(tmp_path: Path) -> None:
    async with house(tmp_path) as here:
        plugin, _ = await here.plugin(name="site-7")
        (status,) = here.server.brokers()
        assert (status.name, status.version, status.synchronised) == ("site-7", "2.0.11", True)
        assert status.instance == FIRST_RUN.hex()
        await plugin.leave()
        async with asyncio.timeout(PATIENCE):
            while here.server.brokers():  # noqa: ASYNC110 - health is asked, it does not tell
                await asyncio.sleep(0.01)


# CONNECT


async def test_a_good_token_is_answered_with_what_it_is_worth(tmp_path: Path) -> None:
    async with house(tmp_path) as here:
        plugin, _ = await here.plugin()
        plugin.say(connect())
        decision = await plugin.hear()
        assert isinstance(decision, frames.Decision)
        assert (decision.epoch, decision.reason) == (1, 0)
        assert decision.grant == frames.Grant(
            expires_at=int(NOW + 600) * 1000,
            principal="dev1",
            issuer=ISSUER,
            subject="dev1",
            token_id="id-dev1",
            client="dev1",
            bound="",
            permissions=Permissions.allow_only(
                [
                    Rule(operations=Operation.PUBLISH, filter=TopicFilter.parse("dev1/up")),
                    Rule(operations=Operation.SUBSCRIBE, filter=TopicFilter.parse("dev1/#")),
                ]
            ),
        )


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"password": None}, 0x86),
        ({"password": b"garbage"}, 0x86),
        ({"password": b"\xff" * 65_535, "username": b"\x00" * 65_535}, 0x86),
        ({"password": token(exp=int(NOW))}, 0x87),
        ({"password": token("dev2")}, 0x85),
    ],
    ids=["none", "garbage", "longest", "expired", "another device's"],
)
async def test_a_refusal_carries_its_reason_code(
    tmp_path: Path, changes: dict[str, Any], reason: int
) -> None:
    async with house(tmp_path) as here:
        plugin, _ = await here.plugin()
        plugin.say(connect(**changes))
        assert await plugin.hear() == frames.Decision(epoch=1, reason=reason)
        await plugin.settled()


class NoKeysYet(StaticKeySource):
    """An issuer that did not answer yet."""

    def lacks(self, kid: str | None) -> bool:  # noqa: ARG002 - whichever it is
        return False


async def test_without_keys_the_answer_comes_at_once_and_is_unavailable(tmp_path: Path) -> None:
    """It must not look like a bad token."""
    keys = NoKeysYet(KeySet.from_jwks({"keys": []}))
    async with house(tmp_path, issuers=issuers(keys)) as here:
        plugin, _ = await here.plugin()
        plugin.say(connect())
        assert await plugin.hear() == frames.Decision(epoch=1, reason=0x88)


async def test_pipelined_connects_are_answered_in_order(tmp_path: Path) -> None:
    async with house(tmp_path) as here:
        plugin, _ = await here.plugin()
        plugin.say(*(connect(f"d{n}", n) for n in range(1, 51)))
        heard = [await plugin.hear() for _ in range(50)]
        assert [frame.epoch for frame in heard if isinstance(frame, frames.Decision)] == [
            *range(1, 51)
        ]


# Sessions


async def test_only_an_admitted_client_has_a_session(tmp_path: Path) -> None:
    async with house(tmp_path) as here:
        plugin, _ = await here.plugin()
        plugin.say(connect())
        await plugin.hear()
        await plugin.settled()
        assert here.session() is None
        plugin.say(frames.Admitted(epoch=1, client_id="dev1"))
        await plugin.settled()
        session = here.session()
        assert session
        assert (session.epoch, session.state) == (1, SessionState.ONLINE)


@pytest.mark.parametrize("kept", [False, True])
async def test_a_client_that_went_is_stored_or_gone(tmp_path: Path, kept: bool) -> None:
    async with house(tmp_path) as here:
        plugin, _ = await here.plugin()
        await plugin.admit()
        plugin.say(frames.Offline(epoch=1, client_id="dev1", kept=kept))
        await plugin.settled()
        session = here.session()
        assert (session and session.state) == (SessionState.OFFLINE if kept else None)


async def test_a_revocation_between_decision_and_admission_ends_the_client(tmp_path: Path) -> None:
    async with house(tmp_path) as here:
        plugin, _ = await here.plugin()
        plugin.say(connect())
        assert isinstance(await plugin.hear(), frames.Decision)
        await here.revoke("dev1")
        plugin.say(frames.Admitted(epoch=1, client_id="dev1"))
        assert await plugin.hear() == frames.End(epoch=1, cause=EndCause.REVOKED, client_id="dev1")


async def test_a_revocation_ends_a_live_client_and_no_other(tmp_path: Path) -> None:
    async with house(tmp_path) as here:
        plugin, _ = await here.plugin()
        await plugin.admit("dev1", 1)
        await plugin.admit("dev2", 2)
        await here.revoke("dev2")
        assert await plugin.hear() == frames.End(epoch=2, cause=EndCause.REVOKED, client_id="dev2")
        await plugin.settled()


async def test_a_client_that_nobody_decided_on_is_ended(tmp_path: Path) -> None:
    async with house(tmp_path) as here:
        plugin, _ = await here.plugin()
        plugin.say(frames.Admitted(epoch=7, client_id="dev1"))
        assert await plugin.hear() == frames.End(
            epoch=7, cause=EndCause.FORGOTTEN, client_id="dev1"
        )
        assert here.session() is None


async def test_a_decision_admits_only_the_client_that_it_is_about(tmp_path: Path) -> None:
    async with house(tmp_path) as here:
        plugin, _ = await here.plugin()
        plugin.say(connect("dev1", 1))
        await plugin.hear()
        plugin.say(frames.Admitted(epoch=1, client_id="dev2"))
        assert isinstance(await plugin.hear(), frames.End)
        assert here.session("dev2") is None


async def test_decisions_that_were_given_up_on_do_not_gather(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connects, "MAX_PENDING", 2)
    async with house(tmp_path) as here:
        plugin, _ = await here.plugin()
        for epoch in (1, 2, 3):
            plugin.say(connect(f"dev{epoch}", epoch))
            await plugin.hear()
        plugin.say(*(frames.Admitted(epoch=n, client_id=f"dev{n}") for n in (1, 2, 3)))
        assert await plugin.hear() == frames.End(
            epoch=1, cause=EndCause.FORGOTTEN, client_id="dev1"
        )
        await plugin.settled()
        assert here.session("dev2")
        assert here.session("dev3")
