# SPDX-License-Identifier: Apache-2.0
"""Which messages `keyfob sub` prints, and when it is enough."""

from __future__ import annotations

from keyfob.cli.pubsub.message import Message
from keyfob.cli.pubsub.receiving import Receiving, Selection, What
from keyfob.mqtt.topics import TopicFilter

FRESH, RETAINED = Message(topic="a/b", payload=b""), Message(topic="a/b", payload=b"", retain=True)


def judged(selection: Selection, *messages: Message, chance: float = 0.0) -> list[What]:
    receiving = Receiving(selection, chance=lambda: chance)
    return [receiving.judge(one) for one in messages]


def test_everything_is_printed_where_nothing_is_said() -> None:
    assert judged(Selection(), FRESH, RETAINED) == [What.PRINT] * 2


def test_retained_ones_alone_or_none_of_them() -> None:
    assert judged(Selection(no_retained=True), RETAINED, FRESH) == [What.NOTHING, What.PRINT]
    only = judged(Selection(retained_only=True), RETAINED, FRESH, RETAINED)
    assert only == [What.PRINT, What.STOP, What.NOTHING]


def test_a_topic_that_is_filtered_out_does_not_count() -> None:
    selection = Selection(without=(TopicFilter.parse("a/+"),), count=1)
    other = Message(topic="a", payload=b"")
    assert judged(selection, FRESH, other, other) == [What.NOTHING, What.PRINT, What.NOTHING]


def test_a_share_is_drawn_for_each() -> None:
    assert judged(Selection(share=50.0), FRESH, chance=0.49) == [What.PRINT]
    assert judged(Selection(share=50.0), FRESH, chance=0.51) == [What.NOTHING]
    assert judged(Selection(share=100.0), FRESH, chance=0.9999) == [What.PRINT]
