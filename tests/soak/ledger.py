# SPDX-License-Identifier: Apache-2.0
"""What was promised, and what came: every message, every session, every delivery.

A message is *owed* to a device if its publisher was told that it is taken (PUBACK), and the
device's session was subscribed to it all the while from its sending to its acknowledgement, and
was not given up later.

What the broker itself cannot promise. Mosquitto acknowledges a message when it has read it, and
saves its state when it has gone round its sockets once (``autosave_on_changes``), some milliseconds
later; what is acknowledged in between and then killed (SIGKILL) is in no file. So of each such
death the file as it was is kept: a message that is missing for want of being in it is the broker's
own loss. Nothing else is excused.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

__all__ = ["WINDOW", "Death", "Ledger", "Loss", "Period"]

WINDOW = 1.0
"""Seconds before a death in which the broker may not have saved: ten of its rounds, at leisure."""


@dataclass(slots=True)
class Message:
    """One publish; a time is None where it did not happen."""

    publisher: str
    sent_at: float
    acknowledged_at: float | None = None


@dataclass(slots=True)
class Period:
    """A time in which a device's session was there and subscribed."""

    since: float
    until: float | None = None
    given_up: bool = False


@dataclass(frozen=True)
class Death:
    """The broker killed at once, and what it had saved by then."""

    at: float
    saved: bytes = field(repr=False)


@dataclass(frozen=True)
class Loss:
    """A message that was owed and never came."""

    device: str
    message: str
    sent_at: float
    death: Death | None
    """What explains it, if anything does."""


class Ledger:
    """The account of one run.

    Args:
        sources: Whose messages each device is owed, by device.
    """

    def __init__(self, sources: Mapping[str, tuple[str, ...]]) -> None:
        self.sources = sources
        self.messages: dict[str, Message] = {}
        self.received: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.periods: defaultdict[str, list[Period]] = defaultdict(list)
        self.subscribed_at: defaultdict[str, list[float]] = defaultdict(list)
        self.given_up_at: dict[str, float] = {}
        self.deaths: list[Death] = []
        self.trespasses: list[str] = []
        self.faults: list[str] = []
        self.history: defaultdict[str, list[tuple[float, str]]] = defaultdict(list)
        self.lost_sessions: list[tuple[str, float]] = []

    def happened(self, device: str, now: float, what: str) -> None:
        """Enter what may help to understand a loss."""
        self.history[device].append((now, what))

    def sent(self, publisher: str, now: float) -> str:
        """Enter a message that is about to be published; return what it says."""
        text = f"<{publisher}:{len(self.messages)}>"
        self.messages[text] = Message(publisher, now)
        return text

    def acknowledged(self, text: str, now: float) -> None:
        """Enter that the publisher was told that its message is taken."""
        self.messages[text].acknowledged_at = now

    def subscribed(self, device: str, now: float) -> None:
        """Enter that a session is subscribed to all that its device wants."""
        self.subscribed_at[device].append(now)
        if not self._open(device):
            self.periods[device].append(Period(now))

    def gives_up(self, device: str, now: float) -> None:
        """Enter that a device is about to give up its session: what waits there is lost with it."""
        if self._open(device):
            self.periods[device][-1] = Period(self.periods[device][-1].since, now, given_up=True)

    def gave_up(self, device: str, now: float) -> None:
        """Enter that a session is given up: nothing that waited there may come any more."""
        self.given_up_at[device] = now

    def found_no_session(self, device: str, now: float) -> None:
        """Enter that a device came back to no session: right or wrong, it is over."""
        if self._open(device):
            self.lost_sessions.append((device, now))
            self.periods[device][-1].until = now

    def delivered(self, device: str, topic: str, text: str, allowed: tuple[str, ...]) -> None:
        """Enter a message that has come, over a connection that is allowed these sources."""
        self.received[device][text] += 1
        message = self.messages.get(text)
        publisher = topic.split("/")[1]
        if message is None or message.publisher != publisher or publisher not in allowed:
            self.trespasses.append(f"{device} got {text} on {topic}")
        elif (message.acknowledged_at or math.inf) < self.given_up_at.get(device, 0):
            self.trespasses.append(f"{device} got {text} of a session that it had given up")

    def refused(self, device: str, what: str, seconds_left: float) -> None:
        """Enter that a device was refused what its token allows; at its very end that is right."""
        if seconds_left > 0:
            self.faults.append(f"{device} was refused {what}, {seconds_left:.1f} s before its end")

    def owed(self) -> Iterator[tuple[str, str, Message]]:
        """Give every message that is owed to somebody: the device, the message."""
        audience = defaultdict(list)
        for device, publishers in self.sources.items():
            for publisher in publishers:
                audience[publisher].append(device)
        for text, message in self.messages.items():
            if message.acknowledged_at is None:
                continue
            for device in audience[message.publisher]:
                if self._was_subscribed(device, message.sent_at, message.acknowledged_at):
                    yield device, text, message

    def losses(self) -> list[Loss]:
        """Give every message that was owed and never came, each with what explains it."""
        return [
            Loss(device, text, message.sent_at, self._explanation(device, text, message))
            for device, text, message in self.owed()
            if not self.received[device][text]
        ]

    def unexplained_sessions(self) -> list[str]:
        """Give the devices that came back to no session, which the broker had saved."""
        return [
            device
            for device, at in self.lost_sessions
            if not any(
                death.at < at and self._unsaved(death, device, publisher)
                for death in self.deaths
                for publisher in self.sources[device]
            )
        ]

    def story(self, loss: Loss) -> str:
        """Tell what became of a device around the time of a message that it never got."""
        message = self.messages[loss.message]
        acknowledged_at = message.acknowledged_at or message.sent_at
        lines = [f"{loss.device} never got {loss.message}, sent at {message.sent_at:.3f}"]
        lines.append(f"  acknowledged {(acknowledged_at - message.sent_at) * 1000:.0f} ms later")
        lines += [
            f"  {at - message.sent_at:+8.3f} s: {what}"
            for at, what in sorted(self.history[loss.device] + self.history[""])
            if -12 < at - message.sent_at < 12
        ]
        return "\n".join(lines)

    def _open(self, device: str) -> bool:
        return bool(self.periods[device]) and self.periods[device][-1].until is None

    def _was_subscribed(self, device: str, start: float, end: float) -> bool:
        return any(
            period.since <= start
            and (period.until is None or end < period.until)
            and not period.given_up
            for period in self.periods[device]
        )

    def _explanation(self, device: str, text: str, message: Message) -> Death | None:
        for death in self.deaths:
            acknowledged_at = message.acknowledged_at or message.sent_at
            in_window = message.sent_at < death.at < acknowledged_at + WINDOW
            if in_window and text.encode() not in death.saved:
                return death
            # A SUBSCRIBE is no change that Mosquitto saves for: the next one saves it too.
            again = any(death.at < at <= message.sent_at for at in self.subscribed_at[device])
            afterwards = death.at - WINDOW < message.sent_at and not again
            if afterwards and self._unsaved(death, device, message.publisher):
                return death
        return None

    def _unsaved(self, death: Death, device: str, publisher: str) -> bool:
        # A subscription is saved as the client's identifier and the filter behind it.
        return f"{device}s/{publisher}/+".encode() not in death.saved
