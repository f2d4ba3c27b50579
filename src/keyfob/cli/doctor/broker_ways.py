# SPDX-License-Identifier: Apache-2.0
"""In which ways a broker takes a token, and in which versions of MQTT."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from keyfob.cli.broker_target import V5, V311
from keyfob.cli.doctor.finding import Section, Severity, found
from keyfob.cli.doctor.probe import Answer, Outcome
from keyfob.cli.doctor.rights import Allowed
from keyfob.cli.doctor.trying import PROOF_METHODS, Trying
from keyfob.cli.shown import shown
from keyfob.device.verdicts import Verdict, of_connack
from keyfob.errors import TokenUnavailableError
from keyfob.mqtt.reason_codes import ReasonCode

__all__ = ["Tried", "Wanted", "check_311", "check_carry", "no_way_in", "told_ways", "try_ways"]

# MQTT 5.0 sections 3.2.2.3.3 to 3.2.2.3.13.
_UNSAID: Final[dict[str, object]] = {
    "MaximumQoS": 2,
    "ReceiveMaximum": 65_535,
    "RetainAvailable": 1,
    "SharedSubscriptionAvailable": 1,
    "SubscriptionIdentifierAvailable": 1,
    "TopicAliasMaximum": 0,
    "WildcardSubscriptionAvailable": 1,
}
_YES_OR_NO: Final = frozenset(
    {
        "retain_available",
        "shared_subscriptions",
        "subscription_identifiers",
        "wildcard_subscriptions",
    }
)

_UNSUPPORTED: Final = frozenset({0x01, 0x84})
_PATIENT: Final = 2
"""How often a broker may say nothing before it is not asked any more: each time takes its time."""

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
class Tried:
    """What came of every way, in the version of MQTT that the broker speaks best."""

    version: int
    answers: Mapping[str, Answer]

    @property
    def taken(self) -> list[str]:
        """The ways in which the token was taken."""
        return [way for way, answer in self.answers.items() if answer.outcome is Outcome.TAKEN]


def try_ways(trying: Trying, wanted: Wanted) -> Tried:
    """Show the token in every way, by MQTT 5, or 3.1.1 where the broker does not speak that."""
    answers: dict[str, Answer] = {}
    for way in wanted.ways:
        answers[way] = _answer(trying, way, V5)
        if answers[way].code in _UNSUPPORTED:
            break
        if [answer.outcome for answer in answers.values()] == [Outcome.SILENT] * _PATIENT:
            return Tried(version=V5, answers=answers)
    else:
        if not all(map(_cannot_now, answers.values())):
            return Tried(version=V5, answers=answers)
    # It says that it does not speak it, or closes without a word, as old ones do.
    fields = [way for way in wanted.ways if not way.startswith("auth:")]
    older = {way: _answer(trying, way, V311) for way in fields}
    if all(map(_cannot_now, older.values())) and len(answers) > 1:
        return Tried(version=V5, answers=answers)
    return Tried(version=V311, answers=older)


def _answer(trying: Trying, way: str, version: int) -> Answer:
    try:
        with trying.connection(way, version=version) as connection:
            return connection.connect()
    except TokenUnavailableError as error:
        return Answer(outcome=Outcome.FAILED, version=version, detail=error.message)


def told_ways(tried: Tried) -> Section:
    """Say what came of every way, and what the broker said of itself."""
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
    return Section(facts=facts | {"mqtt5": False}) | found(
        "mqtt5_not_spoken",
        "the broker does not speak MQTT 5: it cannot say why it refuses, and no device can"
        " re-authenticate",
        "use a broker or a listener that speaks it, if devices are to renew without a reconnect",
        Severity.NOTE,
    )


def _way_words(way: str, answer: Answer, *, tells_unknown: bool) -> str:
    if way.removeprefix("auth:") not in PROOF_METHODS:
        return shown(str(answer))
    if answer.outcome is Outcome.ASKED:
        return "offered: it asks for the token and a proof"
    if tells_unknown and answer.code == ReasonCode.NOT_AUTHORIZED:
        return "offered: what comes without a proof is refused"
    return shown(str(answer))


def _properties(answer: Answer) -> dict[str, object]:
    """Return what CONNACK says; what it leaves out is as the standard has it."""
    usual = _UNSAID if answer.version == V5 else {}
    told = {_WORDS[name]: value for name, value in (usual | dict(answer.properties)).items()}
    return {name: _plain(name, value) for name, value in told.items()} | {
        "session_present": answer.session_present
    }


def _plain(name: str, value: object) -> object:
    if isinstance(value, str):
        return shown(value)
    return bool(value) if name in _YES_OR_NO else value


def check_carry(tried: Tried, wanted: Wanted) -> Section:
    """Say whether the device's own way is taken, where others are."""
    answer = tried.answers.get(wanted.carry)
    if not wanted.carry or answer is None or answer.outcome is Outcome.TAKEN or not tried.taken:
        return Section()
    return found(
        "carry_refused",
        f"the broker does not take the token by {wanted.carry} ({answer}), as this device shows it",
        f"let the device carry it by {' or '.join(tried.taken)}, or have the broker take it so",
    )


def no_way_in(trying: Trying, tried: Tried, wanted: Wanted) -> Section:
    """Say why the token was taken in no way, as far as that can be told."""
    answers = tried.answers.values()
    if all(map(_cannot_now, answers)):
        return found(
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
    return found(
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


def check_311(trying: Trying, tried: Tried) -> Section:
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
    return Section(facts=facts) | found(
        "mqtt311_not_spoken",
        "the broker does not speak MQTT 3.1.1: older and smaller clients cannot use it",
        "nothing, where all devices speak MQTT 5",
        Severity.NOTE,
    )
