# SPDX-License-Identifier: Apache-2.0
"""Packets that are kept back come in their order, whoever sends them from where."""

from __future__ import annotations

import threading
from typing import Any

import paho.mqtt.client as mqtt
from hypothesis import given
from hypothesis import strategies as st

from keyfob.device.exchange_queue import ExchangeQueue
from tests.running import until

PUBLISH, AUTH, DISCONNECT = 0x30, 0xF0, 0xE0


def test_only_auth_and_disconnect_pass_and_disconnect_takes_the_others_along() -> None:
    sent: list[tuple[Any, ...]] = []
    queue_ = ExchangeQueue(lambda *packet: sent.append(packet))
    queue_.packet(PUBLISH, 1)
    assert queue_.begin()
    for packet in ((PUBLISH, 2), (AUTH, 3), (0xC0, 4), (DISCONNECT, 5)):
        queue_.packet(*packet)
    assert sent == [(PUBLISH, 1), (AUTH, 3), (PUBLISH, 2), (0xC0, 4), (DISCONNECT, 5)]


def test_behind_a_bar_only_connect_passes_and_the_others_are_told() -> None:
    sent: list[tuple[Any, ...]] = []
    queue_ = ExchangeQueue(lambda *packet: sent.append(packet))
    queue_.bar()
    assert queue_.packet(PUBLISH, 1) == mqtt.MQTT_ERR_NO_CONN
    queue_.packet(0x10, 2)
    queue_.unbar()
    queue_.packet(PUBLISH, 3)
    assert sent == [(0x10, 2), (PUBLISH, 3)]


def test_after_connect_with_a_method_all_others_wait_and_disconnect_takes_none_along() -> None:
    """Before CONNACK a client with a method sends AUTH and DISCONNECT (MQTT 5.0, 3.1.2.11.9)."""
    sent: list[tuple[Any, ...]] = []
    queue_ = ExchangeQueue(lambda *packet: sent.append(packet))
    queue_.bar()
    queue_.ask()
    for packet in ((PUBLISH, 1), (0x10, 2), (AUTH, 3), (0x80, 4), (DISCONNECT, 5)):
        assert queue_.packet(*packet) != mqtt.MQTT_ERR_NO_CONN
    queue_.unbar()
    assert sent == [(0x10, 2), (AUTH, 3), (DISCONNECT, 5)]
    queue_.end()
    queue_.packet(PUBLISH, 6)
    assert sent[3:] == [(PUBLISH, 1), (0x80, 4), (PUBLISH, 6)]


def test_who_sends_faster_than_we_do_keeps_nobody_at_it_for_ever() -> None:
    over = threading.Event()
    queue_ = ExchangeQueue(lambda *_: over.wait(0.001))

    def send() -> None:
        while not over.is_set():
            queue_.packet(PUBLISH)
            over.wait(0.0002)

    assert queue_.begin()
    sending = threading.Thread(target=send)
    ending = threading.Thread(target=queue_.end)
    sending.start()
    until("something is kept", lambda: queue_._held)
    ending.start()
    ending.join(10)
    ended = not ending.is_alive()
    over.set()
    sending.join(10)
    assert ended


@given(st.lists(st.sampled_from(["packet", "begin", "end"]), max_size=30))
def test_nothing_is_lost_doubled_or_overtaken(steps: list[str]) -> None:
    sent: list[int] = []
    queue_ = ExchangeQueue(lambda _, number: sent.append(number))
    for number, step in enumerate(steps):
        if step == "packet":
            queue_.packet(PUBLISH, number)
        elif step == "begin":
            assert queue_.begin()
        else:
            queue_.end()
    queue_.end()
    assert sent == [number for number, step in enumerate(steps) if step == "packet"]


def test_nothing_is_kept_back_while_somebody_is_just_sending() -> None:
    """Its packet might come behind the AUTH that everything is kept back for."""
    inside, go_on = threading.Event(), threading.Event()

    def queue(*_: Any) -> None:
        inside.set()
        go_on.wait(10)

    queue_ = ExchangeQueue(queue)
    thread = threading.Thread(target=queue_.packet, args=(PUBLISH, 1))
    thread.start()
    inside.wait(10)
    assert not queue_.begin()
    go_on.set()
    thread.join(10)
    assert queue_.begin()


def test_who_is_called_while_a_packet_is_sent_may_send() -> None:
    sent: list[int] = []

    def queue(_: int, number: int) -> None:
        sent.append(number)
        if number == 1:
            queue_.packet(PUBLISH, 2)  # on_publish of QoS 0

    queue_ = ExchangeQueue(queue)
    assert queue_.begin()
    queue_.packet(PUBLISH, 1)
    queue_.end()
    assert sent == [1, 2]
