# SPDX-License-Identifier: Apache-2.0
"""No token is in anything that the broker writes: its log with all that it can tell, its database.

With each way of carrying a token, and with each thing that becomes of it.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import pytest

from keyfob.brokers.mosquitto.frames import Connect
from tests.brokers.mosquitto.plugin import frames
from tests.brokers.mosquitto.plugin.beside import JWT
from tests.brokers.mosquitto.plugin.broker import Broker, Plugin, build_plugin
from tests.brokers.mosquitto.plugin.fake_guard import (
    Decide,
    FakeGuard,
    Question,
    allow,
    refuse,
    until,
)
from tests.mqtt5 import CONTINUE, REAUTHENTICATE, Client

SECRET: Final = "c2VjcmV0"
"""Is in everything that a client shows: of a JWT it is the signature."""

PLAIN: Final = ("password", "username", "both", "ace")
WAYS: Final = (*PLAIN, "connect", "continue", "reauthenticate")

SESSION: Final = 3600


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Plugin:
    """As it is built for users."""
    return build_plugin(tmp_path_factory.mktemp("plugin"), "plain")


def observed(
    directory: Path, plugin: Plugin, guard: FakeGuard, program: str, **options: str
) -> Broker:
    """Return a broker that tells and keeps all that it can."""
    lines = ("persistence true", "log_type all", "log_dest stderr", "log_dest topic")
    return Broker(directory, plugin, guard.path, options, lines=lines, program=program)


def shown(way: str) -> str:
    return f"{JWT.rpartition('.')[0]}.{SECRET}{way}"


def show(port: int, way: str) -> Client:
    """Show a token in one way; return who did, without waiting for what comes of it."""
    token = shown(way)
    client = Client(port, f"dev-{way}", None if way in PLAIN else "OAUTH2-JWT")
    how: dict[str, Any] = {"clean": False, "expiry": SESSION, "will": f"dev-{way}/gone"}
    match way:
        case "password":
            how |= {"username": "somebody", "password": token.encode()}
        case "username":
            how |= {"username": token}
        case "ace":
            how |= {"username": f"ace{token}", "password": token.encode()}
        case _:
            how |= {"username": token, "password": token.encode()}
    if way == "continue":
        client.connect(**how)
        client.send_auth(CONTINUE, token.encode())
    elif way == "reauthenticate":
        client.connect(b"the first", **how)
        client.send_auth(REAUTHENTICATE, token.encode())
    else:
        client.send_connect(token.encode() if way == "connect" else None, **how)
    return client


def asking(then: Decide) -> Decide:
    """Return what asks who shows nothing for more, and lets the first token of a renewal in."""

    def decide(question: Question, request: int) -> bytes | None:
        if isinstance(question, Connect) and question.method and not question.data:
            return frames.decision(request, question.epoch, reason=CONTINUE)
        if isinstance(question, Connect) and question.data == b"the first":
            return allow()(question, request)
        return then(question, request)

    return decide


def saved(broker: Broker, directory: Path) -> str:
    """Have the broker save what it keeps; return that."""
    database = directory / "mosquitto.db"

    def version() -> int:
        return database.stat().st_mtime_ns if database.exists() else 0

    def is_saved() -> bool:
        # Mosquitto forgets a signal that comes in the last moment of the save before.
        broker.signal(signal.SIGUSR1)
        return version() > before

    before = version()
    until(is_saved, "a save")
    return database.read_bytes().decode("latin-1")


def reached(guard: FakeGuard, way: str) -> bool:
    """Whether the guard was shown the token that came in this way."""
    fields = ("data", "username", "password")
    said = [getattr(question, field, None) for question in guard.asked for field in fields]
    return any(text and SECRET.encode() in text and text.endswith(way.encode()) for text in said)


def show_all(broker: Broker, guard: FakeGuard, directory: Path, ways: Iterable[str]) -> None:
    """Show a token in each way, and look at what the broker keeps of it."""
    with contextlib.ExitStack() as stack:
        for way in ways:
            stack.enter_context(show(broker.port, way))
            until(lambda w=way: reached(guard, w), "the guard to be asked")  # type: ignore[misc]
            assert SECRET not in saved(broker, directory), way


def nothing_is_left(directory: Path) -> bool:
    texts = (path.read_bytes() for path in directory.iterdir() if path.is_file())
    return not any(SECRET.encode() in text for text in texts)


OUTCOMES: Final = {"allowed": allow(), "refused": refuse(), "unavailable": refuse(0x88)}


@pytest.mark.parametrize("outcome", list(OUTCOMES))
def test_no_token_is_in_the_brokers_log_or_database(
    directory: Path, plugin: Plugin, guard: FakeGuard, any_program: str, outcome: str
) -> None:
    guard.decide = asking(OUTCOMES[outcome])
    with observed(directory, plugin, guard, any_program) as broker:
        show_all(broker, guard, directory, WAYS)
        kept = saved(broker, directory)
        assert ("dev-username" in kept) is ("principal-dev-username" in kept)
        assert ("dev-username" in kept) is (outcome == "allowed")
    assert nothing_is_left(directory)


def test_no_token_is_there_while_its_decision_is_pending(
    directory: Path, plugin: Plugin, guard: FakeGuard, newest: str
) -> None:
    guard.decide = lambda _question, _request: None
    with observed(directory, plugin, guard, newest, decisions="delayed") as broker:
        show_all(broker, guard, directory, PLAIN)
    assert nothing_is_left(directory)
