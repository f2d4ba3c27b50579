# SPDX-License-Identifier: Apache-2.0
"""A guard and a plugin's link: enhanced authentication and re-authentication with real tokens."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from keyfob.authorization.policy import Policy
from keyfob.brokers.mosquitto import frames
from keyfob.guard.guard import Guard, IssuerBinding
from keyfob.guard.key_sources import StaticKeySource
from keyfob.guard.revocations import Revocation
from keyfob.guard.session import EndCause, SessionState
from keyfob.mqtt.reason_codes import ReasonCode
from keyfob.tokens.issuers import TrustedIssuer
from keyfob.tokens.keys import KeySet
from tests.brokers.mosquitto.linking import (
    FIRST_RUN,
    ISSUER,
    KEY,
    NOW,
    House,
    Plugin,
    connect,
    house,
    issuers,
    token,
)

pytestmark = pytest.mark.anyio

METHOD = "OAUTH2-JWT"
WAIT = 200


class Known(Guard):
    """A guard that knows two methods."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options, authentication_methods=(METHOD, "JWT"))


@contextlib.asynccontextmanager
async def linked(directory: Path, **options: Any) -> AsyncIterator[tuple[House, Plugin]]:
    async with house(directory, guard=Known, **options) as here:
        plugin, _ = await here.plugin()
        yield here, plugin


def asks(data: bytes, device: str = "dev1", epoch: int = 1, **changes: Any) -> frames.Connect:
    return connect(device, epoch, **{"password": None, "method": METHOD, "data": data, **changes})


def renews(data: bytes, device: str = "dev1", epoch: int = 1, **changes: Any) -> frames.Frame:
    values: dict[str, Any] = {
        "method": METHOD,
        "peer": "192.0.2.1",
        "certificate_thumbprint": b"",
        "wait_ms": WAIT,
    }
    return frames.Reauthenticate(epoch=epoch, client_id=device, data=data, **{**values, **changes})


def says(data: bytes, device: str = "dev1", epoch: int = 1) -> frames.Continue:
    return frames.Continue(epoch=epoch, client_id=device, data=data, wait_ms=WAIT)


async def decided(plugin: Plugin, said: frames.Frame) -> frames.Decision:
    plugin.say(said)
    answer = await plugin.hear()
    assert isinstance(answer, frames.Decision)
    return answer


def narrower(**changes: Any) -> bytes:
    return token(**{"scope": "mqtt.connect mqtt.subscribe:dev1/a", "jti": "next", **changes})


async def begin(plugin: Plugin, **changes: Any) -> None:
    """Bring dev1 in by its method."""
    plugin.say(asks(token(**changes)))
    answer = await plugin.hear()
    assert isinstance(answer, frames.Decision)
    assert answer.reason == 0
    plugin.say(frames.Admitted(epoch=1, client_id="dev1"))
    await plugin.settled()


# Coming in


async def test_a_token_in_the_data_lets_in(tmp_path: Path) -> None:
    async with linked(tmp_path) as (here, plugin):
        await begin(plugin)
        session = here.session()
        assert session is not None
        assert (session.principal, session.token_id) == ("dev1", "id-dev1")


async def test_without_data_the_client_is_asked(tmp_path: Path) -> None:
    async with linked(tmp_path) as (_, plugin):
        asked = await decided(plugin, asks(b""))
        assert asked == frames.Decision(epoch=1, reason=ReasonCode.CONTINUE_AUTHENTICATION)
        assert (await decided(plugin, says(token()))).reason == 0


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (asks(token(), method="K-TOKEN"), ReasonCode.BAD_AUTHENTICATION_METHOD),
        (asks(token(), method=""), ReasonCode.BAD_AUTHENTICATION_METHOD),
        (asks(b"garbage"), ReasonCode.BAD_USERNAME_OR_PASSWORD),
        (asks(token(exp=int(NOW) - 1)), ReasonCode.NOT_AUTHORIZED),
        (asks(token("dev2")), ReasonCode.CLIENT_IDENTIFIER_NOT_VALID),
    ],
)
async def test_what_is_wrong_is_refused_as_in_a_password(
    tmp_path: Path, asked: frames.Connect, reason: ReasonCode
) -> None:
    async with linked(tmp_path) as (_, plugin):
        assert await decided(plugin, asked) == frames.Decision(epoch=1, reason=reason)


async def test_who_is_asked_and_says_nothing_again_is_refused(tmp_path: Path) -> None:
    async with linked(tmp_path) as (_, plugin):
        await decided(plugin, asks(b""))
        answer = await decided(plugin, says(b""))
        assert answer.reason == ReasonCode.BAD_USERNAME_OR_PASSWORD
        assert (await decided(plugin, says(token()))).reason == ReasonCode.SERVER_UNAVAILABLE


async def test_an_answer_of_another_connection_or_client_is_none(tmp_path: Path) -> None:
    async with linked(tmp_path) as (_, plugin):
        for wrong in (says(token(), epoch=2), says(token("dev2"), "dev2")):
            await decided(plugin, asks(b""))
            assert (await decided(plugin, wrong)).reason == ReasonCode.SERVER_UNAVAILABLE
        # The second of them has spoilt it for the first, too.
        assert (await decided(plugin, says(token()))).reason == ReasonCode.SERVER_UNAVAILABLE


async def test_a_connection_that_is_gone_has_asked_nothing(tmp_path: Path) -> None:
    async with linked(tmp_path) as (_, plugin):
        await decided(plugin, asks(b""))
        plugin.say(frames.Offline(epoch=1, client_id="dev1", kept=False))
        assert (await decided(plugin, says(token()))).reason == ReasonCode.SERVER_UNAVAILABLE


async def test_no_method_is_known_unless_it_is_configured(tmp_path: Path) -> None:
    async with house(tmp_path) as here:
        plugin, _ = await here.plugin()
        answer = await decided(plugin, asks(token()))
        assert answer.reason == ReasonCode.BAD_AUTHENTICATION_METHOD


# Going on


async def test_the_next_token_counts_once_the_broker_took_it(tmp_path: Path) -> None:
    async with linked(tmp_path) as (here, plugin):
        await begin(plugin)
        before = here.session()
        answer = await decided(plugin, renews(narrower(exp=int(NOW) + 900)))
        assert answer.grant is not None
        assert answer.grant.expires_at == (int(NOW) + 900) * 1000
        await plugin.settled()
        assert here.session() == before
        plugin.say(frames.Admitted(epoch=1, client_id="dev1"))
        await plugin.settled()
        session = here.session()
        assert session is not None
        assert session.token_id == "next"
        assert session.expires_at == NOW + 900
        assert [str(rule.filter) for rule in session.permissions.rules] == ["dev1/a"]
        assert (session.epoch, session.clean) == (1, False)
        assert b'"next"' in session.payload


async def test_an_assigned_identifier_goes_on_too(tmp_path: Path) -> None:
    async with linked(tmp_path) as (here, plugin):
        name = "auto-1"
        await decided(plugin, asks(token(), name, assigned=True, clean=True))
        plugin.say(frames.Admitted(epoch=1, client_id=name))
        assert (await decided(plugin, renews(narrower(), name))).reason == 0
        plugin.say(frames.Admitted(epoch=1, client_id=name))
        await plugin.settled()
        session = here.session(name)
        assert session is not None
        assert (session.assigned, session.clean, session.token_id) == (True, True, "next")


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (renews(token(client_id="app")), ReasonCode.NOT_AUTHORIZED),
        (renews(token("dev2")), ReasonCode.CLIENT_IDENTIFIER_NOT_VALID),
        (renews(token(exp=int(NOW) - 1)), ReasonCode.NOT_AUTHORIZED),
        (renews(token(), epoch=2), ReasonCode.NOT_AUTHORIZED),
        (renews(token("dev2"), "dev2"), ReasonCode.NOT_AUTHORIZED),
        (renews(token(), method="nobody's"), ReasonCode.BAD_AUTHENTICATION_METHOD),
        (renews(b"garbage"), ReasonCode.BAD_USERNAME_OR_PASSWORD),
    ],
)
async def test_a_refused_one_changes_nothing(
    tmp_path: Path, asked: frames.Frame, reason: ReasonCode
) -> None:
    async with linked(tmp_path) as (here, plugin):
        await begin(plugin)
        before = here.session()
        assert (await decided(plugin, asked)).reason == reason
        await plugin.settled()
        assert here.session() == before
        plugin.say(frames.Offline(epoch=1, client_id="dev1", kept=True))
        await plugin.settled()
        session = here.session()
        assert session is not None
        assert (session.state, session.token_id) == (SessionState.OFFLINE, "id-dev1")


async def test_the_principal_stays(tmp_path: Path) -> None:
    """It is the broker's username, whatever the configuration would call the client now."""
    async with linked(tmp_path) as (here, plugin):
        await begin(plugin)
        more = issuers()[ISSUER]
        other = IssuerBinding(
            trusted=TrustedIssuer(
                name="away",
                issuer="https://away.example",
                audiences=frozenset({"mqtt"}),
                algorithms=frozenset({"ES256"}),
            ),
            keys=StaticKeySource(KeySet.from_jwks({"keys": [KEY.public_jwk()]})),
            policy=Policy(),
        )
        await here.guard.reload({ISSUER: more, "https://away.example": other})
        answer = await decided(plugin, renews(narrower()))
        assert answer.grant is not None
        assert answer.grant.principal == "dev1"


async def test_a_revoked_token_does_not_renew(tmp_path: Path) -> None:
    async with linked(tmp_path) as (here, plugin):
        await begin(plugin)
        await here.guard.revoke(Revocation(issuer=ISSUER, token_id="next", until=NOW + 3600))
        assert (await decided(plugin, renews(narrower()))).reason == ReasonCode.NOT_AUTHORIZED


async def test_a_renewed_session_is_ended_by_its_new_tokens_revocation(tmp_path: Path) -> None:
    async with linked(tmp_path) as (here, plugin):
        await begin(plugin)
        await decided(plugin, renews(narrower()))
        plugin.say(frames.Admitted(epoch=1, client_id="dev1"))
        await plugin.settled()
        await here.guard.revoke(Revocation(issuer=ISSUER, token_id="id-dev1", until=NOW + 3600))
        session = here.session()
        assert session is not None
        assert session.state is SessionState.ONLINE
        await here.guard.revoke(Revocation(issuer=ISSUER, token_id="next", until=NOW + 3600))
        end = frames.End(epoch=1, cause=EndCause.REVOKED, client_id="dev1")
        assert await plugin.hear() == end


@pytest.mark.parametrize("revoked", ["id-dev1", "next"])
async def test_a_revocation_before_the_broker_took_it_ends_it(tmp_path: Path, revoked: str) -> None:
    """Of the old token: the plugin was told of the end after it was told to go on."""
    async with linked(tmp_path) as (here, plugin):
        await begin(plugin)
        await decided(plugin, renews(narrower()))
        await here.guard.revoke(Revocation(issuer=ISSUER, token_id=revoked, until=NOW + 3600))
        plugin.say(frames.Admitted(epoch=1, client_id="dev1"))
        end = frames.End(epoch=1, cause=EndCause.REVOKED, client_id="dev1")
        assert await plugin.hear() == end
        await plugin.settled()
        session = here.session()
        assert session is not None
        assert session.state is SessionState.REVOKED


async def test_a_policy_that_changes_before_the_broker_took_it_counts_for_both(
    tmp_path: Path,
) -> None:
    """The old token's rights are told behind the new one's: those are told again."""
    async with linked(tmp_path) as (here, plugin):
        await begin(plugin)
        await decided(plugin, renews(narrower()))
        binding = issuers()[ISSUER]
        narrow = IssuerBinding(trusted=binding.trusted, keys=binding.keys, policy=Policy(rights=()))
        await here.guard.reload({ISSUER: narrow})
        assert isinstance(await plugin.hear(), frames.Replace)  # by the old token
        plugin.say(frames.Admitted(epoch=1, client_id="dev1"))
        told = [await plugin.hear(), await plugin.hear()]
        assert isinstance(told[-1], frames.Replace)
        assert told[-1].grant.token_id == "next"
        assert told[-1].grant.permissions.rules == ()
        session = here.session()
        assert session is not None
        assert (session.token_id, session.permissions.rules) == ("next", ())


async def test_rights_that_changed_and_changed_back_meanwhile_are_told_again(
    tmp_path: Path,
) -> None:
    """The plugin has the old token's rights by then, and the guard saw nothing change."""
    async with linked(tmp_path) as (here, plugin):
        await begin(plugin)
        await decided(plugin, renews(narrower()))
        binding = issuers()[ISSUER]
        narrow = IssuerBinding(trusted=binding.trusted, keys=binding.keys, policy=Policy(rights=()))
        await here.guard.reload({ISSUER: narrow})
        await here.guard.reload(issuers())
        assert isinstance(await plugin.hear(), frames.Replace)
        assert isinstance(await plugin.hear(), frames.Replace)
        plugin.say(frames.Admitted(epoch=1, client_id="dev1"))
        told = await plugin.hear()
        assert isinstance(told, frames.Replace)
        assert [str(rule.filter) for rule in told.grant.permissions.rules] == ["dev1/a"]


async def test_a_link_that_breaks_the_news_leaves_both_sides_with_the_new_token(
    tmp_path: Path,
) -> None:
    async with linked(tmp_path) as (here, plugin):
        await begin(plugin)
        answer = await decided(plugin, renews(narrower(exp=int(NOW) + 900)))
        assert answer.grant is not None
        await plugin.leave()
        record = frames.Record(
            epoch=1,
            state=SessionState.ONLINE,
            clean=False,
            assigned=False,
            client_id="dev1",
            grant=answer.grant,
        )
        successor, told = await here.plugin(FIRST_RUN, record)
        assert told == []
        session = here.session()
        assert session is not None
        assert (session.token_id, session.expires_at) == ("next", NOW + 900)
        assert session.permissions == answer.grant.permissions
        await successor.settled()  # no REPLACE


def told_by_a_plugin(client_id: str, grant: frames.Grant, *, assigned: bool) -> frames.Record:
    """What it lists of a client that is connected."""
    return frames.Record(
        epoch=1,
        state=SessionState.ONLINE,
        clean=assigned,
        assigned=assigned,
        client_id=client_id,
        grant=grant,
    )


async def test_an_assigned_identifier_goes_on_with_a_guard_that_lost_its_file(
    tmp_path: Path,
) -> None:
    name = "auto-1"
    async with linked(tmp_path) as (_, plugin):
        answer = await decided(plugin, asks(token(), name, assigned=True, clean=True))
        assert answer.grant is not None
    async with house(tmp_path, guard=Known) as here:
        record = told_by_a_plugin(name, answer.grant, assigned=True)
        plugin, _ = await here.plugin(FIRST_RUN, record)
        assert (await decided(plugin, renews(narrower(), name))).reason == 0


@pytest.mark.parametrize(
    ("changes", "next_token", "reason"),
    [
        ({}, token(), 0),
        ({"bound": "jkt"}, token(), ReasonCode.NOT_AUTHORIZED),
        ({"bound": "jwk"}, token(), ReasonCode.NOT_AUTHORIZED),
        ({"bound": "x5t#S256"}, token(), ReasonCode.NOT_AUTHORIZED),
        ({}, token(client_id="another app"), ReasonCode.NOT_AUTHORIZED),
        ({"client": "another app"}, token(client_id="another app"), 0),
    ],
)
async def test_a_guard_that_lost_its_file_holds_the_next_token_to_the_last_one(
    tmp_path: Path, changes: dict[str, Any], next_token: bytes, reason: int
) -> None:
    """Neither a bearer token behind a bound one, nor one of another OAuth client."""
    async with linked(tmp_path) as (_, plugin):
        grant = (await decided(plugin, asks(token()))).grant
        assert grant is not None
        assert (grant.client, grant.bound) == ("dev1", "")
    async with house(tmp_path, guard=Known) as here:
        record = told_by_a_plugin("dev1", replace(grant, **changes), assigned=False)
        plugin, _ = await here.plugin(FIRST_RUN, record)
        assert (await decided(plugin, renews(next_token))).reason == reason


async def test_a_token_shown_when_connected_is_asked_about_nowhere_else(tmp_path: Path) -> None:
    async with linked(tmp_path) as (here, plugin):
        await begin(plugin)
        known = here.guard.recall("mosquitto", "dev1")
        assert known is not None
        await decided(plugin, renews(narrower()))
        plugin.say(frames.Admitted(epoch=1, client_id="dev1"))
        await plugin.settled()
        known = here.guard.recall("mosquitto", "dev1")
        assert known is not None
        session, decision = known
        assert session.token_id == "next"
        assert decision is not None
        assert decision.permissions == session.permissions
