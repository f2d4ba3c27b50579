# SPDX-License-Identifier: Apache-2.0
"""Whether a broker enforces what a token allows: no more, and no less."""

from __future__ import annotations

import secrets
from typing import Final

from keyfob.authorization.permissions import Operation
from keyfob.cli.broker_target import V5
from keyfob.cli.doctor.broker_ways import Tried, Wanted
from keyfob.cli.doctor.finding import Section, found
from keyfob.cli.doctor.probe import Answer, Connection, Outcome
from keyfob.cli.doctor.rights import Allowed
from keyfob.cli.doctor.trying import Trying
from keyfob.cli.shown import shown
from keyfob.mqtt.topics import TopicFilter, TopicName

__all__ = ["check_rights"]

_PAYLOAD: Final = b"keyfob doctor"


def check_rights(trying: Trying, tried: Tried, wanted: Wanted) -> Section:
    """Try what the token allows, and what it does not."""
    with trying.connection(tried.taken[0], version=tried.version) as connection:
        answer = connection.connect()
        if answer.outcome is not Outcome.TAKEN:
            return Section(facts={"rights_tried": f"no: {answer}"})
        section = _check_foreign(connection, wanted.allowed)
        if not trying.identifier:  # else the device's own subscription would be changed
            section |= _check_granted(connection, wanted.allowed)
        if wanted.publish:
            if answer.properties.get("MaximumQoS") == 0:
                return section | Section(facts={"published": "not tried: the broker has no QoS 1"})
            section |= _check_publish(connection, wanted, tried.version)
        return section


def _check_foreign(connection: Connection, allowed: Allowed) -> Section:
    """Subscribe to what nobody was granted."""
    text = f"keyfob-doctor/{secrets.token_hex(8)}"  # no wildcard: not every broker has them
    known = allowed.knows_nothing_of(TopicFilter.parse(text))
    if allowed.permissions is not None and not known:
        return Section(facts={"foreign_subscription": "not tried: the token allows every topic"})
    answer = connection.subscribe(text)
    section = Section(facts={"foreign_subscription": str(answer)})
    if answer.outcome is not Outcome.TAKEN:
        return section
    connection.unsubscribe(text)
    if not known:
        return section  # a token that says nothing of topics may allow it elsewhere
    return section | found(
        "rights_unenforced",
        "the broker takes a subscription to topics that the token does not allow: what a token"
        " allows is not enforced, or the broker allows more by rules of its own",
        "have the broker enforce it (Mosquitto: Keyfob's plugin, without an acl_file that allows"
        " more); look at the guard's policies",
    )


def _check_granted(connection: Connection, allowed: Allowed) -> Section:
    rules = [rule for rule in allowed.granted(Operation.SUBSCRIBE) if not rule.literal]
    if not rules:
        return Section()
    wanted = str(rules[0].filter)
    qos = next(qos for qos in (0, 1, 2) if rules[0].qos & 1 << qos)
    answer = connection.subscribe(wanted, qos)
    section = Section(facts={"granted_subscription": f"{shown(wanted)}: {answer}"})
    if answer.outcome is Outcome.TAKEN:
        return section
    return section | _refused("subscribe to", wanted, answer)


def _check_publish(connection: Connection, wanted: Wanted, version: int) -> Section:
    topic = TopicName.parse(wanted.publish)
    answer = connection.publish(wanted.publish, _PAYLOAD)
    said = str(answer) if version == V5 else f"{answer} (MQTT 3.1.1 cannot say no)"
    section = Section(facts={"published": f"{shown(wanted.publish)}: {said}"})
    permissions = wanted.allowed.permissions
    if permissions is None or version != V5:
        return section
    may = permissions.publish(topic, 1).allowed
    if may and answer.outcome is not Outcome.TAKEN:
        return section | _refused("publish to", wanted.publish, answer)
    if not may and answer.outcome is Outcome.TAKEN:
        return section | found(
            "rights_unenforced",
            f"the broker takes a message to {shown(wanted.publish)}, which the token does not"
            " allow: it is not enforced, or the broker allows more by rules of its own",
            "have the broker enforce it; look at the guard's policies",
        )
    return section


def _refused(what: str, topic: str, answer: Answer) -> Section:
    return found(
        "right_refused",
        f"the token lets the device {what} {shown(topic)}, the broker does not ({answer})",
        "see that the guard reads what the token says so by (rights of its [[issuer]]; keyfob"
        " explain shows every step)",
    )
