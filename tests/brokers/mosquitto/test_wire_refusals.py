# SPDX-License-Identifier: Apache-2.0
"""What no frame of the guard link can say: it is an error on the way out, or ends the link."""

from __future__ import annotations

from typing import Any

import pytest

from keyfob.authorization.permissions import Operation, Permissions, Rule
from keyfob.brokers.mosquitto import wire
from keyfob.brokers.mosquitto.frames import (
    Continue,
    Decision,
    Frame,
    Grant,
    RecordsEnd,
    Replace,
    Welcome,
)
from keyfob.errors import ProtocolError
from keyfob.mqtt.topics import TopicFilter


def grant(**changes: Any) -> Grant:
    usual = {"expires_at": 0, "principal": "p", "issuer": "i", "subject": "s", "token_id": ""}
    token = {"client": "c", "bound": ""}
    return Grant(**{"permissions": Permissions.allow_only(), **usual, **token, **changes})


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(Decision(epoch=1, reason=0, grant=grant(token_id="a\0b")), id="NUL"),
        pytest.param(Decision(epoch=1, reason=0, grant=grant(subject="\ud800")), id="surrogate"),
        pytest.param(Decision(epoch=1, reason=0, grant=grant(issuer="i" * 65_536)), id="long"),
        pytest.param(Decision(epoch=1, reason=0, grant=grant(client="c" * 65_536)), id="client"),
        pytest.param(Decision(epoch=1, reason=0, grant=grant(bound="jku")), id="bound"),
        pytest.param(Decision(epoch=1, reason=0, grant=grant(expires_at=2**63)), id="time"),
        pytest.param(Decision(epoch=2**64, reason=0x87), id="epoch"),
        pytest.param(Decision(epoch=1, reason=0), id="no grant"),
        pytest.param(Decision(epoch=1, reason=0x87, grant=grant()), id="grant of a refusal"),
        pytest.param(
            Decision(
                epoch=1,
                reason=0,
                grant=grant(
                    **dict.fromkeys(("principal", "issuer", "subject", "token_id"), "x" * 65_535)
                ),
            ),
            id="frame too long",
        ),
    ],
)
def test_a_value_that_no_frame_can_hold_is_an_error_and_not_a_broken_frame(frame: Frame) -> None:
    with pytest.raises(ProtocolError):
        wire.encode(frame, 1)


@pytest.mark.parametrize(("worker", "workers"), [(0, 0), (1, 1), (0, 256)])
def test_a_worker_that_there_is_not_cannot_be_named(worker: int, workers: int) -> None:
    with pytest.raises(ProtocolError):
        wire.encode(Welcome(version=1, guard_instance=b"g" * 16, worker=worker, workers=workers), 0)


@pytest.mark.parametrize(
    ("frame", "request_"),
    [
        (RecordsEnd(), 1),
        (Decision(epoch=1, reason=0x87), 0),
        (Continue(epoch=1, client_id="dev1", data=b"", wait_ms=200), 0),
        (Replace(epoch=1, client_id="dev1", grant=grant()), 1),
    ],
)
def test_a_request_number_is_where_it_belongs_and_nowhere_else(frame: Frame, request_: int) -> None:
    with pytest.raises(ProtocolError):
        wire.encode(frame, request_)


@pytest.mark.parametrize("topic_filter", ["", "a/#/b", "a+", "$share//a"])
def test_a_rule_with_a_filter_that_mqtt_does_not_allow_ends_the_link(topic_filter: str) -> None:
    rule = Rule(
        operations=Operation.PUBLISH, filter=TopicFilter.parse("x" * len(topic_filter) or "x")
    )
    good = wire.encode(
        Decision(epoch=1, reason=0, grant=grant(permissions=Permissions.allow_only([rule]))), 1
    )
    raw = topic_filter.encode()
    body = good[12 : len(good) - len(rule.filter.value) - 2]
    payload = body + len(raw).to_bytes(2, "big") + raw
    with pytest.raises(ProtocolError):
        wire.FrameReader().feed(len(payload).to_bytes(4, "big") + good[4:12] + payload)
