# SPDX-License-Identifier: Apache-2.0
"""Packets that are kept back come in their order, whoever sends them from where."""

from __future__ import annotations

import threading
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from keyfob.device.paho_holding import Holding

PUBLISH, AUTH, DISCONNECT = 0x30, 0xF0, 0xE0


def test_only_auth_and_disconnect_pass_and_disconnect_takes_the_others_along() -> None:
    sent: list[tuple[Any, ...]] = []
    holding = Holding(lambda *packet: sent.append(packet))
    holding.packet(PUBLISH, 1)
    assert holding.begin()
    for packet in ((PUBLISH, 2), (AUTH, 3), (0xC0, 4), (DISCONNECT, 5)):
        holding.packet(*packet)
    assert sent == [(PUBLISH, 1), (AUTH, 3), (PUBLISH, 2), (0xC0, 4), (DISCONNECT, 5)]


@given(st.lists(st.sampled_from(["packet", "begin", "end"]), max_size=30))
def test_nothing_is_lost_doubled_or_overtaken(steps: list[str]) -> None:
    sent: list[int] = []
    holding = Holding(lambda _, number: sent.append(number))
    for number, step in enumerate(steps):
        if step == "packet":
            holding.packet(PUBLISH, number)
        elif step == "begin":
            assert holding.begin()
        else:
            holding.end()
    holding.end()
    assert sent == [number for number, step in enumerate(steps) if step == "packet"]


def test_nothing_is_kept_back_while_somebody_is_just_sending() -> None:
    """Its packet might come behind the AUTH that everything is kept back for."""
    inside, go_on = threading.Event(), threading.Event()

    def queue(*_: Any) -> None:
        inside.set()
        go_on.wait(10)

    holding = Holding(queue)
    thread = threading.Thread(target=holding.packet, args=(PUBLISH, 1))
    thread.start()
    inside.wait(10)
    assert not holding.begin()
    go_on.set()
    thread.join(10)
    assert holding.begin()


def test_who_is_called_while_a_packet_is_sent_may_send() -> None:
    sent: list[int] = []

    def queue(_: int, number: int) -> None:
        sent.append(number)
        if number == 1:
            holding.packet(PUBLISH, 2)  # on_publish of QoS 0

    holding = Holding(queue)
    assert holding.begin()
    holding.packet(PUBLISH, 1)
    holding.end()
    assert sent == [1, 2]
