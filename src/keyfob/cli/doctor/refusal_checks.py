# SPDX-License-Identifier: Apache-2.0
"""What a broker has to refuse, and whether it takes a token again on a live connection."""

from __future__ import annotations

from keyfob.cli.doctor.broker_ways import Tried
from keyfob.cli.doctor.finding import Section, Severity, found
from keyfob.cli.doctor.probe import Answer, Outcome
from keyfob.cli.doctor.trying import Trying, broken
from keyfob.errors import TokenUnavailableError

__all__ = ["check_anonymous", "check_broken", "check_reauthentication"]


def check_anonymous(trying: Trying, tried: Tried) -> Section:
    """Show nothing at all."""
    with trying.connection("", version=tried.version) as connection:
        answer = connection.connect()
    section = Section(facts={"anonymous": str(answer)})
    if answer.outcome is not Outcome.TAKEN:
        return section
    return section | found(
        "anonymous_allowed",
        "the broker lets in who shows nothing at all: tokens keep nobody out",
        "close it (Mosquitto: allow_anonymous false, for every listener; RabbitMQ:"
        " anonymous_login_user = none)",
        Severity.GRAVE,
    )


def check_broken(trying: Trying, tried: Tried) -> Section:
    """Show a token that its issuer did not make, in each way in which its own was taken."""
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
        return section | found(
            "token_unchecked",
            f"the broker takes a token with a broken signature by {' and '.join(unchecked)}: it"
            " does not check tokens, so anybody can make one",
            "have the broker check them (Mosquitto: load Keyfob's plugin for every listener; see"
            " keyfob mosquitto doctor)",
            Severity.GRAVE,
        )
    silent = [way for way, answer in answers.items() if answer.code is None]
    if silent:
        return section | found(
            "refusal_unexplained",
            f"a bad token is refused without a reason code by {' and '.join(silent)}: devices"
            " cannot tell it from a broker that is unwell, and do not fetch a new one",
            "let devices use MQTT 5, and the broker answer with 0x87",
            Severity.NOTE,
        )
    return section


def check_reauthentication(trying: Trying, tried: Tried) -> Section:
    """Show the token again on a connection that began with it, by AUTH 0x19."""
    ways = [
        way
        for way in tried.taken
        if tried.answers[way].properties.get("AuthenticationMethod") == way.removeprefix("auth:")
    ]
    if not ways:
        return Section(facts={"reauthenticates": False}) | found(
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
    return Section(facts={"reauthenticates": f"{method}: {answer}"}) | found(
        "reauthentication_refused",
        f"the broker takes the token by {method}, and not again on the live connection ({answer}):"
        " devices that renew so are thrown out, and their wills are sent",
        "let devices renew by reconnecting (renew=reconnect)",
    )
