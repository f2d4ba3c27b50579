# SPDX-License-Identifier: Apache-2.0
"""``keyfob pub``: publish as mosquitto_pub does, with a token that is good all the time."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from keyfob.cli.pubsub.broker_options import BrokerOptions, read_url, wish_of
from keyfob.cli.pubsub.interrupts import Interrupted, raise_on_interrupt
from keyfob.cli.pubsub.link import Link
from keyfob.cli.pubsub.option_groups import grouped
from keyfob.cli.pubsub.payloads import lines, whole_file, whole_stream
from keyfob.cli.pubsub.publishing import Publisher, Publishing
from keyfob.cli.pubsub.running import running
from keyfob.cli.pubsub.token_options import TokenOptions, token_of
from keyfob.errors import ConfigError
from keyfob.mqtt.topics import TopicName

__all__ = ["pub"]


@dataclass(frozen=True, kw_only=True)
class MessageOptions:
    """What is published."""

    topic: Annotated[
        str, typer.Option("-t", "--topic", metavar="TOPIC", help="Where to publish.")
    ] = ""
    url: Annotated[
        str, typer.Option("-L", "--url", metavar="URL", help="mqtt(s)://HOST[:PORT]/TOPIC")
    ] = ""
    message: Annotated[
        str | None, typer.Option("-m", "--message", metavar="TEXT", help="The message.")
    ] = None
    file: Annotated[
        Path | None, typer.Option("-f", "--file", metavar="FILE", help="A file is the message.")
    ] = None
    stdin_line: Annotated[
        bool, typer.Option("-l", "--stdin-line", help="Each line of standard input is one.")
    ] = False
    null_message: Annotated[
        bool, typer.Option("-n", "--null-message", help="The message is empty.")
    ] = False
    stdin_file: Annotated[
        bool, typer.Option("-s", "--stdin-file", help="All of standard input is the message.")
    ] = False
    qos: Annotated[int, typer.Option("-q", "--qos", min=0, max=2, help="Quality of service.")] = 0
    retain: Annotated[
        bool, typer.Option("-r", "--retain", help="The broker keeps it for who comes later.")
    ] = False
    max_inflight: Annotated[
        int, typer.Option("-M", min=1, max=65535, help="With QoS 1 and 2: so many at a time.")
    ] = 20
    repeat: Annotated[int, typer.Option(min=1, help="Publish it so many times.")] = 1
    repeat_delay: Annotated[
        float, typer.Option(min=0.0, metavar="SECONDS", help="Wait in between.")
    ] = 0.0

    def check(self) -> None:
        """See that there is one message, or one stream of them.

        Raises:
            ConfigError: There is none, or more.
        """
        ways = (
            *(self.message is not None, self.file is not None),
            *(self.stdin_line, self.null_message, self.stdin_file),
        )
        if sum(ways) != 1:
            raise ConfigError("one of -m, -f, -l, -n and -s says what to publish")
        if self.stdin_line and (self.repeat > 1 or self.repeat_delay):
            raise ConfigError("--repeat goes with one message: not with -l")

    def single(self) -> bytes:
        """Return the one message.

        Raises:
            OSError: The file cannot be read.
        """
        if self.message is not None:
            return os.fsencode(self.message)
        if self.file is not None:
            return whole_file(self.file)
        return whole_stream(sys.stdin.fileno()) if self.stdin_file else b""


@grouped
def pub(token: TokenOptions, broker: BrokerOptions, what: MessageOptions) -> None:
    """Publish messages, as mosquitto_pub does.

    The flags are mosquitto_pub's. In the place of -u and -P there is a token, of a profile
    (`keyfob login`) or of --client-id, whose secret is in the environment
    (KEYFOB_CLIENT_SECRET). It is renewed for as long as -l has lines to send.

    Exit codes: 0 done, 1 no token, 2 misuse or no connection; where the broker refuses the
    connection or a message, its reason code.
    """
    what.check()
    address, url_topic = read_url(what.url)
    topic = str(TopicName.parse(what.topic or url_topic))
    profile, source = token_of(token)
    commands = ("connect", "publish", "disconnect", "will")
    # The broker assigns an identifier: the device itself may be connected under its own.
    wish = wish_of(
        broker,
        profile,
        address,
        identifier=_identifier(broker, profile.device_name),
        commands=commands,
    )
    single = None if what.stdin_line else what.single()
    how = Publishing(
        topic=topic,
        qos=what.qos,
        retain=what.retain,
        properties=wish.properties.get("publish"),
        endless=what.stdin_line,
    )
    link = Link(wish, source)
    with running(source, quiet=wish.quiet):
        link.client.max_inflight_messages_set(what.max_inflight)
        try:
            with raise_on_interrupt():
                try:
                    link.open()
                    publisher = Publisher(link, how)
                    for payload in _payloads(link, what, single, publisher):
                        publisher.publish(payload)
                    publisher.finish()
                finally:
                    link.close()
        except Interrupted as interrupted:
            raise typer.Exit(interrupted.code) from None


def _identifier(options: BrokerOptions, device: str) -> str:
    return device if options.keep_session else ""


def _payloads(
    link: Link, what: MessageOptions, single: bytes | None, publisher: Publisher
) -> Iterator[bytes]:
    if single is None:
        yield from lines(sys.stdin.fileno(), link.woken, link.go_on)
        return
    for time_around in range(what.repeat):
        if time_around:
            publisher.finish()
            time.sleep(what.repeat_delay)
        yield single
