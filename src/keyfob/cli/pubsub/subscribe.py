# SPDX-License-Identifier: Apache-2.0
"""``keyfob sub``: subscribe and print, as mosquitto_sub does, for as long as it is wanted."""

from __future__ import annotations

import os
from dataclasses import dataclass
from queue import Empty
from typing import Annotated, Final

import typer

from keyfob.cli.pubsub.broker_options import BrokerOptions, read_url, wish_of
from keyfob.cli.pubsub.interrupts import on_interrupt
from keyfob.cli.pubsub.message_format import Format, parse_format, payload_only, verbose
from keyfob.cli.pubsub.option_groups import grouped
from keyfob.cli.pubsub.printing import Printer
from keyfob.cli.pubsub.receiving import Receiving, Selection
from keyfob.cli.pubsub.running import running
from keyfob.cli.pubsub.subscriber import End, Subscriber, Subscribing
from keyfob.cli.pubsub.token_options import TokenOptions, token_of
from keyfob.errors import ConfigError
from keyfob.mqtt.topics import TopicFilter

__all__ = ["sub"]

TIMED_OUT: Final = 27
"""What mosquitto_sub ends with when -W is over."""


@dataclass(frozen=True, kw_only=True)
class SubscribeOptions:
    """What is printed, and how."""

    topic: Annotated[
        list[str] | None,
        typer.Option(
            "-t", "--topic", metavar="FILTER", help="What to subscribe to; more than one."
        ),
    ] = None
    url: Annotated[
        str, typer.Option("-L", "--url", metavar="URL", help="mqtt(s)://HOST[:PORT]/FILTER")
    ] = ""
    qos: Annotated[int, typer.Option("-q", "--qos", min=0, max=2, help="Quality of service.")] = 0
    count: Annotated[int, typer.Option("-C", min=0, metavar="N", help="End after so many.")] = 0
    exit_after_sub: Annotated[bool, typer.Option("-E", help="End once it is subscribed.")] = False
    timeout: Annotated[
        int, typer.Option("-W", min=0, metavar="SECONDS", help="End after so long, with code 27.")
    ] = 0
    form: Annotated[
        str | None, typer.Option("-F", metavar="FORMAT", help="How to print; see mosquitto_sub(1).")
    ] = None
    pretty: Annotated[bool, typer.Option("--pretty", help="JSON on many lines.")] = False
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="The topic before each.")] = False
    no_newline: Annotated[bool, typer.Option("-N", help="No end of line behind each.")] = False
    no_retained: Annotated[bool, typer.Option("-R", help="None that was retained.")] = False
    retained_only: Annotated[
        bool, typer.Option("--retained-only", help="Only retained ones; the first other ends it.")
    ] = False
    remove_retained: Annotated[
        bool, typer.Option("--remove-retained", help="Clear what was retained and came.")
    ] = False
    retain_as_published: Annotated[
        bool, typer.Option("--retain-as-published", help="Leave the retain flag as it was sent.")
    ] = False
    random_filter: Annotated[
        float, typer.Option(min=0.1, max=100.0, metavar="PERCENT", help="So many of a hundred.")
    ] = 100.0
    filter_out: Annotated[
        list[str] | None,
        typer.Option("-T", "--filter-out", metavar="FILTER", help="None of these topics."),
    ] = None
    unsubscribe: Annotated[
        list[str] | None,
        typer.Option("-U", "--unsubscribe", metavar="FILTER", help="Unsubscribe from it."),
    ] = None

    def printed_as(self) -> Format | None:
        """Return the format; None: the payload, or with its topic.

        Raises:
            ConfigError: It is none.
        """
        if self.form is None:
            return None
        return parse_format(os.fsencode(self.form), pretty=self.pretty)

    def selection(self) -> Selection:
        """Return which messages are wanted.

        Raises:
            ConfigError: None could be.
        """
        if self.no_retained and self.retained_only:
            raise ConfigError("-R and --retained-only together leave nothing")
        return Selection(
            no_retained=self.no_retained,
            retained_only=self.retained_only,
            without=tuple(map(TopicFilter.parse, self.filter_out or ())),
            count=self.count,
            share=self.random_filter,
        )


@grouped
def sub(token: TokenOptions, broker: BrokerOptions, what: SubscribeOptions) -> None:
    """Subscribe, and print what comes, as mosquitto_sub does.

    The flags are mosquitto_sub's. In the place of -u and -P there is a token, of a profile
    (`keyfob login`) or of --client-id, whose secret is in the environment
    (KEYFOB_CLIENT_SECRET). It is renewed for as long as this runs, and no message is lost by it.

    Exit codes: 0 done, 1 no token, 2 misuse or no connection, 27 -W is over; where the broker
    refuses the connection or every subscription, its reason code.
    """
    selection, form = what.selection(), what.printed_as()
    address, url_topic = read_url(what.url)
    topics = [*(what.topic or ()), *([url_topic] if url_topic else ())]
    if not topics and not what.unsubscribe:
        raise ConfigError("-t says what to subscribe to")
    profile, source = token_of(token)
    commands = ("connect", "subscribe", "unsubscribe", "disconnect", "will")
    wish = wish_of(broker, profile, address, identifier=profile.device_name, commands=commands)
    how = Subscribing(
        topics=tuple(str(TopicFilter.parse(one)) for one in topics),
        without=tuple(str(TopicFilter.parse(one)) for one in what.unsubscribe or ()),
        qos=what.qos,
        retain_as_published=what.retain_as_published,
        remove_retained=what.remove_retained,
        once=what.exit_after_sub,
    )
    link = Subscriber(wish, source, how, Receiving(selection))
    usual = verbose if what.verbose else payload_only
    link.printed = Printer(form or usual, newline=not what.no_newline, told=link.tell)
    interrupts = on_interrupt(lambda _: link.events.put(End.INTERRUPTED))
    with running(source, quiet=wish.quiet), interrupts:
        code = _run(link, what.timeout)
    raise typer.Exit(code)


def _run(link: Subscriber, timeout: int) -> int:
    interrupted = True
    try:
        link.open()
        end = link.until_the_end(float(timeout))
        interrupted = end is End.INTERRUPTED
    except Empty:
        link.tell("timed out")
        return TIMED_OUT
    finally:
        link.close(interrupted=interrupted)
    return 0
