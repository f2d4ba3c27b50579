# SPDX-License-Identifier: Apache-2.0
"""A connection that subscribes, and prints what comes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from queue import Empty
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from keyfob.cli.broker_target import V5
from keyfob.cli.pubsub.broker_options import Wish
from keyfob.cli.pubsub.link import Link, reason_text
from keyfob.cli.pubsub.message import Message, message_of
from keyfob.cli.pubsub.receiving import Receiving, What
from keyfob.device.tokens import Tokens
from keyfob.errors import BrokerRefusalError, TopicError

__all__ = ["End", "Subscriber", "Subscribing"]


class End(Enum):
    """Why a subscriber ends."""

    ENOUGH = auto()
    INTERRUPTED = auto()
    NOBODY_READS = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscribing:
    """What is subscribed to.

    Attributes:
        topics: Topic filters.
        without: Topic filters to unsubscribe from.
        qos: 0 to 2.
        retain_as_published: MQTT 5.0 section 3.8.3.1.
        remove_retained: Whether what was retained and comes is cleared.
        once: Whether it is enough to have subscribed.
    """

    topics: tuple[str, ...]
    without: tuple[str, ...]
    qos: int
    retain_as_published: bool
    remove_retained: bool
    once: bool


class Subscriber(Link):
    """Subscribes and prints.

    Args:
        wish: How the connection is to be.
        source: Where its tokens come from.
        how: What to subscribe to.
        receiving: Says which messages are wanted.
    """

    def __init__(self, wish: Wish, source: Tokens, how: Subscribing, receiving: Receiving) -> None:
        super().__init__(wish, source)
        self.printed: Callable[[Message], None] = lambda _: None
        """Prints a message."""
        self._how = how
        self._receiving = receiving
        self._subscribed = False
        self._clearing: set[int] = set()
        self.client.on_message = self._came
        self.client.on_subscribe = self._granted
        self.client.on_publish = self._cleared

    def until_the_end(self, timeout: float) -> End:
        """Wait until it is over.

        Args:
            timeout: Seconds; 0: no limit.

        Raises:
            KeyfobError: Something ends it.
            Empty: The time is over.
        """
        deadline = time.monotonic() + timeout if timeout else None
        while True:
            left = 3600.0 if deadline is None else deadline - time.monotonic()
            try:
                event = self.check(left) if left > 0 else None
            except Empty:
                event = None
            if isinstance(event, End):
                return event
            if event is None and deadline is not None and time.monotonic() >= deadline:
                raise Empty

    # In paho's thread

    def joined(self, *, present: bool) -> None:
        """Subscribe, unless the broker kept the subscriptions for us."""
        if present and self._subscribed:
            return
        how, version5 = self._how, self.wish.version == V5
        if how.topics:
            options = SubscribeOptions(qos=how.qos, retainAsPublished=how.retain_as_published)
            asked: Any = [(one, options if version5 else how.qos) for one in how.topics]
            self.client.subscribe(asked, properties=self.wish.properties.get("subscribe"))
        if how.without:
            properties = self.wish.properties.get("unsubscribe")
            self.client.unsubscribe(list(how.without), properties)
        if how.once and not how.topics:
            self.put(End.ENOUGH)

    def _granted(
        self, _c: object, _u: object, _mid: int, reasons: list[ReasonCode], _p: object
    ) -> None:
        codes = [one.value for one in reasons]
        refused = [
            (topic, code)
            for topic, code in zip(self._how.topics, codes, strict=False)
            if code >= 0x80
        ]
        told = [f"{topic}: {reason_text(code)}" for topic, code in refused]
        if len(refused) == len(codes):
            said = "the broker refuses every subscription: " + ", ".join(told)
            self.put(BrokerRefusalError(said, reason_code=refused[0][1] if refused else 0x80))
            return
        for one in told:
            self.tell(f"the broker refuses {one}")
        self._subscribed = True
        if self._how.once:
            self.put(End.ENOUGH)

    def _came(self, _c: object, _u: object, received: mqtt.MQTTMessage) -> None:
        try:
            message = message_of(received)
            what = self._receiving.judge(message)
            if what is not What.NOTHING and self._how.remove_retained and message.retain:
                info = self.client.publish(message.topic, b"", 1, retain=True)
                self._clearing.add(info.mid)
            if what is What.PRINT:
                self.printed(message)
        except (UnicodeDecodeError, TopicError):
            self.tell("a message came whose topic is none")
            return
        except BrokenPipeError:
            self.put(End.NOBODY_READS)
            return
        except OSError as error:
            self.put(error)
            return
        self._end_if_enough()

    def _cleared(self, _c: object, _u: object, mid: int, _reason: object, _p: object) -> None:
        self._clearing.discard(mid)
        self._end_if_enough()

    def _end_if_enough(self) -> None:
        if self._receiving.enough and not self._clearing:
            self.put(End.ENOUGH)
