# SPDX-License-Identifier: Apache-2.0
"""Where the plugin's lines stand in mosquitto.conf, before or behind other ways in.

With each Mosquitto that this machine has, and what the doctor says of the same file.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from keyfob.brokers.mosquitto.doctor.broker_conf import interpret
from keyfob.brokers.mosquitto.doctor.conf_checks import check_conf
from keyfob.brokers.mosquitto.doctor.conf_lines import read_lines
from tests.brokers.mosquitto.plugin import frames
from tests.brokers.mosquitto.plugin.beside import JWT, PASSWORD, Beside, lines_for
from tests.brokers.mosquitto.plugin.broker import TAKEN, Broker, Device, Plugin, build_plugin
from tests.brokers.mosquitto.plugin.fake_guard import FakeGuard, Question, allow

Make = Callable[[Beside], Broker]


class Behind(Broker):
    """A broker whose other lines stand before those of the plugin."""

    def _configuration(self) -> str:
        lines = super()._configuration().splitlines()
        scope, own = lines[0], lines[1 : len(lines) - len(self.lines)]
        return "\n".join([scope, *self.lines, *own, ""])


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Plugin:
    """As it is built for users: what is asked here is what the brokers do."""
    return build_plugin(tmp_path_factory.mktemp("plugin"), "plain")


@pytest.fixture(params=[Broker, Behind], ids=["first", "behind"])
def make(
    request: pytest.FixtureRequest,
    directory: Path,
    plugin: Plugin,
    guard: FakeGuard,
    any_program: str,
) -> Make:
    """Return what makes a broker with other ways in, in the mode exclusive."""
    guard.decide = by_token

    def made(beside: Beside) -> Broker:
        lines = lines_for(beside, directory, any_program)
        broker: Broker = request.param(
            directory, plugin, guard.path, lines=lines, program=any_program
        )
        return broker

    return made


def by_token(question: Question, request: int) -> bytes:
    """Let in who shows the token, and nobody else."""
    if getattr(question, "password", None) != JWT.encode():
        return frames.decision(request, question.epoch, reason=0x86)
    answer = allow()(question, request)
    assert answer is not None
    return answer


def comes_in(broker: Broker, client_id: str, username: str | None, password: str) -> bool:
    device = Device(broker.port, client_id, username=username, token=password)
    answer = device.connect()
    device.stop()
    return answer == 0


def findings(broker: Broker) -> list[tuple[str, str]]:
    """What the doctor says of others in the broker's own file."""
    conf = broker.directory / "mosquitto.conf"
    found = check_conf(interpret(conf, read_lines(conf, Path.read_text, os.listdir)), (2, 0, 11))
    return [(each.code, each.what) for each in found if each.code.startswith("other_")]


def test_a_file_of_passwords_is_asked_nothing_wherever_its_line_stands(
    make: Make, guard: FakeGuard
) -> None:
    """Mosquitto asks its plugins first in any case."""
    with make("password_file") as broker:
        assert not comes_in(broker, "mower1", "mower", PASSWORD)
        assert comes_in(broker, "dev1", None, JWT)
        assert len(guard.connects) == 2
        assert {code for code, _ in findings(broker)} == {"other_file"}


def test_another_plugin_is_asked_first_where_it_stands_first_and_never_behind(
    make: Make, guard: FakeGuard
) -> None:
    """Whom it lets in the guard hears nothing of, with a token or without, and it sees tokens."""
    with make("another plugin") as broker:
        first = isinstance(broker, Behind)
        assert comes_in(broker, "mower1", "mower", PASSWORD) is first
        assert comes_in(broker, "mower2", "token", JWT)
        assert ("another: asked about token" in broker.log) is first
        assert [asked.client_id for asked in guard.connects] == (
            [] if first else ["mower1", "mower2"]
        )
        with Device(broker.port, "dev1", token=JWT) as device:
            assert device.publish("dev1/x") in TAKEN
        assert guard.connects[-1].client_id == "dev1"
        [(code, what)] = findings(broker)
        assert code == "other_plugin"
        assert ("is asked first" in what) is first
