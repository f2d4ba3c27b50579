# SPDX-License-Identifier: Apache-2.0
"""What a broker takes, refuses and enforces; each is tried with a connection of its own."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from keyfob.authorization.permissions import Operation
from keyfob.cli.broker_target import V5, V311
from keyfob.cli.doctor.finding import Finding, Section, Severity
from keyfob.cli.doctor.probe import Answer, Connection, Outcome
from keyfob.cli.doctor.rights import Allowed
from keyfob.cli.doctor.trying import PROOF_METHODS, Trying, broken
from keyfob.cli.shown import shown
from keyfob.device.verdicts import Verdict, of_connack
from keyfob.errors import TokenUnavailableError
from keyfob.mqtt.reason_codes import ReasonCode
from keyfob.mqtt.topics import TopicFilter, TopicName

__all__ = ["Wanted", "examine_broker"]

_UNSUPPORTED: Final = frozenset({0x01, 0x84})
_PATIENT: Final = 2
"""How often a broker may say nothing before it is not asked any more: each time takes its time."""

_PAYLOAD: Final = b"keyfob doctor"
_WORDS: Final[Mapping[str, str]] = {
    "AssignedClientIdentifier": "assigned_client_identifier",
    "AuthenticationMethod": "authentication_method",
    "MaximumPacketSize": "maximum_packet_size",
    "MaximumQoS": "maximum_qos",
    "ReasonString": "reason_string",
    "ReceiveMaximum": "receive_maximum",
    "RetainAvailable": "retain_available",
    "ServerKeepAlive": "server_keep_alive",
    "ServerReference": "server_reference",
    "SessionExpiryInterval": "session_expiry_interval",
    "SharedSubscriptionAvailable": "shared_subscriptions",
    "SubscriptionIdentifierAvailable": "subscription_identifiers",
    "TopicAliasMaximum": "topic_alias_maximum",
    "WildcardSubscriptionAvailable": "wildcard_subscriptions",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to be tried.

    Attributes:
        ways: Every way to carry the token.
        carry: The device's own one; empty: any that is taken.
        allowed: What the token allows.
        bound: Whether the token needs a proof.
        publish: A topic name to publish to; empty: nothing is published.
    """

    ways: tuple[str, ...]
    carry: str
    allowed: Allowed
    bound: bool
    publish: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tried:
    """What came of every way, in the version of MQTT that the broker speaks best."""

    version: int
    answers: Mapping[str, Answer]

    @property
    def taken(self) -> list[str]:
        return [way for way, answer in self.answers.items() if answer.outcome is Outcome.TAKEN]


def examine_broker(trying: Trying, wanted: Wanted) -> Section:
    """Try everything, one after the other."""
    tried = _try_ways(trying, wanted)
    section = _told_ways(tried) | _check_carry(tried, wanted)
    section |= _check_311(trying, tried)
    section |= _check_anonymous(trying, tried)
    if not tried.taken:
        return section | _no_way_in(trying, tried, wanted)
    section |= _check_broken(trying, tried)
    section |= _check_reauthentication(trying, tried)
    return section | _check_rights(trying, tried, wanted)


# Ways


def _try_ways(trying: Trying, wanted: Wanted) -> _Tried:
    answers: dict[str, Answer] = {}
    for way in wanted.ways:
        answers[way] = _answer(trying, way, V5)
        if answers[way].code in _UNSUPPORTED:
            break
        if [answer.outcome for answer in answers.values()] == [Outcome.SILENT] * _PATIENT:
            return _Tried(version=V5, answers=answers)
    else:
        if not all(map(_cannot_now, answers.values())):
            return _Tried(version=V5, answers=answers)
    # It says that it does not speak it, or closes without a word, as old ones do.
    fields = [way for way in wanted.ways if not way.startswith("auth:")]
    older = {way: _answer(trying, way, V311) for way in fields}
    if all(map(_cannot_now, older.values())) and len(answers) > 1:
        return _Tried(version=V5, answers=answers)
    return _Tried(version=V311, answers=older)


def _answer(trying: Trying, way: str, version: int) -> Answer:
    try:
        with trying.connection(way, version=version) as connection:
            return connection.connect()
    except TokenUnavailableError as error:
        return Answer(outcome=Outcome.FAILED, version=version, detail=error.message)


def _told_ways(tried: _Tried) -> Section:
    tells_unknown = any(
        answer.code == ReasonCode.BAD_AUTHENTICATION_METHOD for answer in tried.answers.values()
    )
    facts: dict[str, object] = {
        "ways": {
            way: _way_words(way, answer, tells_unknown=tells_unknown)
            for way, answer in tried.answers.items()
        }
    }
    if tried.taken:
        facts["connack"] = _properties(tried.answers[tried.taken[0]])
    if tried.version == V5:
        return Section(facts=facts)
    old = Finding(
        "mqtt5_not_spoken",
        "the broker does not speak MQTT 5: it cannot say why it refuses, and no device can"
        " re-authenticate",
        "use a broker or a listener that speaks it, if devices are to renew without a reconnect",
        severity=Severity.NOTE,
    )
    return Section(facts=facts | {"mqtt5": False}, findings=(old,))


def _way_words(way: str, answer: Answer, *, tells_unknown: bool) -> str:
    if way.removeprefix("auth:") not in PROOF_METHODS:
        return shown(str(answer))
    if answer.outcome is Outcome.ASKED:
        return "offered: it asks for the token and a proof"
    if tells_unknown and answer.code == ReasonCode.NOT_AUTHORIZED:
        return "offered: what comes without a proof is refused"
    return shown(str(answer))


def _properties(answer: Answer) -> dict[str, object]:
    told = {_WORDS[name]: value for name, value in answer.properties.items()}
    return {
        name: shown(value) if isinstance(value, str) else value for name, value in told.items()
    } | {"session_present": answer.session_present}


def _check_carry(tried: _Tried, wanted: Wanted) -> Section:
    answer = tried.answers.get(wanted.carry)
    if not wanted.carry or answer is None or answer.outcome is Outcome.TAKEN or not tried.taken:
        return Section()
    return _found(
        "carry_refused",
        f"the broker does not take the token by {wanted.carry} ({answer}), as this device shows it",
        f"let the device carry it by {' or '.join(tried.taken)}, or have the broker take it so",
    )


def _no_way_in(trying: Trying, tried: _Tried, wanted: Wanted) -> Section:
    answers = tried.answers.values()
    if all(map(_cannot_now, answers)):
        return _found(
            "broker_unavailable",
            "the broker lets nobody in now, whatever is shown: it has no reason to say, or says"
            " that it cannot decide",
            "is its guard running? Look into the broker's log (keyfob mosquitto doctor on its"
            " machine)",
        )
    under = (
        f"under the client identifier {shown(trying.identifier)}"
        if trying.identifier
        else "without a client identifier"
    )
    mend = (
        "look into the guard's audit for the reason (on its machine: keyfob explain, and the"
        " lines of the audit with this machine's address)"
    )
    if not trying.identifier:
        mend = (
            "name one that the token may use and no device runs under (--client-identifier), or"
            " stop the device and say --take-over, to try with the one it is bound to; " + mend
        )
    severity = Severity.NOTE if wanted.bound else Severity.WRONG
    proof = ", and the token needs a proof that was not tried" if wanted.bound else ""
    return _found(
        "no_way_in",
        f"the broker takes this token in no way {under}{proof}",
        mend,
        severity,
    )


def _cannot_now(answer: Answer) -> bool:
    if answer.outcome is not Outcome.REFUSED:
        return answer.outcome in {Outcome.CLOSED, Outcome.SILENT, Outcome.FAILED}
    return of_connack(answer.code or 0) is Verdict.UNAVAILABLE


# Versions


def _check_311(trying: Trying, tried: _Tried) -> Section:
    """Ask for MQTT 3.1.1 as nobody's session: by an empty identifier, which it takes when clean."""
    if tried.version == V311:
        return Section(facts={"mqtt311": True})
    way = next((way for way in tried.taken if not way.startswith("auth:")), "")
    anyone = replace(trying, identifier="")
    with anyone.connection(way, version=V311) as connection:
        answer = connection.connect()
    spoken = answer.outcome in {Outcome.TAKEN, Outcome.REFUSED} and answer.code != 0x01
    facts: dict[str, object] = {"mqtt5": True, "mqtt311": spoken}
    if spoken or answer.outcome is not Outcome.REFUSED:
        # Closed without a word is also how a broker refuses that cannot decide.
        return Section(facts=facts if spoken else {"mqtt5": True, "mqtt311": str(answer)})
    return Section(facts=facts) | _found(
        "mqtt311_not_spoken",
        "the broker does not speak MQTT 3.1.1: older and smaller clients cannot use it",
        "nothing, where all devices speak MQTT 5",
        Severity.NOTE,
    )


# What has to be refused


def _check_anonymous(trying: Trying, tried: _Tried) -> Section:
    with trying.connection("", version=tried.version) as connection:
        answer = connection.connect()
    section = Section(facts={"anonymous": str(answer)})
    if answer.outcome is not Outcome.TAKEN:
        return section
    return section | _found(
        "anonymous_allowed",
        "the broker lets in who shows nothing at all: tokens keep nobody out",
        "close it (Mosquitto: allow_anonymous false, for every listener)",
        Severity.GRAVE,
    )


def _check_broken(trying: Trying, tried: _Tried) -> Section:
    try:
        other = broken(trying.token)
    except TokenUnavailableError as error:
        return Section(facts={"broken_token": error.message})
    answers: dict[str, Answer] = {}
    for way in tried.taken:
        with trying.connection(way, version=tried.version, token=other) as connection:
            answers[way] = connection.connect()
    section = Section(facts={"broken_token": {way: str(each) for way, each in answers.items()}})
    unchecked = [way for way, answer in answers.items() if answer.outcome is Outcome.TAKEN]
    if unchecked:
        return section | _found(
            "token_unchecked",
            f"the broker takes a token with a broken signature by {' and '.join(unchecked)}: it"
            " does not check tokens, so anybody can make one",
            "have the broker check them (Mosquitto: load Keyfob's plugin for every listener; see"
            " keyfob mosquitto doctor)",
            Severity.GRAVE,
        )
    silent = [way for way, answer in answers.items() if answer.code is None]
    if silent:
        return section | _found(
            "refusal_unexplained",
            f"a bad token is refused without a reason code by {' and '.join(silent)}: devices"
            " cannot tell it from a broker that is unwell, and do not fetch a new one",
            "let devices use MQTT 5, and the broker answer with 0x87",
            Severity.NOTE,
        )
    return section


# Renewal


def _check_reauthentication(trying: Trying, tried: _Tried) -> Section:
    ways = [
        way
        for way in tried.taken
        if tried.answers[way].properties.get("AuthenticationMethod") == way.removeprefix("auth:")
    ]
    if not ways:
        return Section(facts={"reauthenticates": False}) | _found(
            "no_reauthentication",
            "the broker takes the token by no authentication method: a device renews it by a"
            " planned reconnect",
            "nothing, where that is good enough; else carry it by auth:OAUTH2-JWT, on a broker that"
            " has it",
            Severity.NOTE,
        )
    way = ways[0]
    method = way.removeprefix("auth:")
    with trying.connection(way) as connection:
        answer = connection.connect()
        if answer.outcome is Outcome.TAKEN:
            answer = connection.reauthenticate(method, trying.token.access_token.encode())
    if answer.outcome is Outcome.TAKEN:
        return Section(facts={"reauthenticates": f"by {method}"})
    return Section(facts={"reauthenticates": f"{method}: {answer}"}) | _found(
        "reauthentication_refused",
        f"the broker takes the token by {method}, and not again on the live connection ({answer}):"
        " devices that renew so are thrown out, and their wills are sent",
        "let devices renew by reconnecting (renew=reconnect)",
    )


# Rights


def _check_rights(trying: Trying, tried: _Tried, wanted: Wanted) -> Section:
    with trying.connection(tried.taken[0], version=tried.version) as connection:
        answer = connection.connect()
        if answer.outcome is not Outcome.TAKEN:
            return Section(facts={"rights_tried": f"no: {answer}"})
        section = _check_foreign(connection, wanted.allowed)
        if not trying.identifier:  # else the device's own subscription would be changed
            section |= _check_granted(connection, wanted.allowed)
        if wanted.publish:
            section |= _check_publish(connection, wanted, tried.version)
        return section


def _check_foreign(connection: Connection, allowed: Allowed) -> Section:
    """Subscribe to what nobody was granted."""
    text = f"keyfob-doctor/{secrets.token_hex(8)}/#"
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
    return section | _found(
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
        return section | _found(
            "rights_unenforced",
            f"the broker takes a message to {shown(wanted.publish)}, which the token does not"
            " allow: it is not enforced, or the broker allows more by rules of its own",
            "have the broker enforce it; look at the guard's policies",
        )
    return section


def _refused(what: str, topic: str, answer: Answer) -> Section:
    return _found(
        "right_refused",
        f"the token lets the device {what} {shown(topic)}, the broker does not ({answer})",
        "see that the guard reads what the token says so by (rights of its [[issuer]]; keyfob"
        " explain shows every step)",
    )


def _found(code: str, what: str, mend: str, severity: Severity = Severity.WRONG) -> Section:
    return Section(findings=(Finding(code, what, mend, severity=severity),))
