# SPDX-License-Identifier: Apache-2.0
"""What is found at brokers that do what a test says, over real sockets."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyfob.authorization.permissions import Permissions
from keyfob.authorization.syntaxes.scopes import parse_scopes
from keyfob.cli.broker_target import Address
from keyfob.cli.doctor.broker_checks import Wanted, examine_broker
from keyfob.cli.doctor.examination import Report
from keyfob.cli.doctor.finding import Section
from keyfob.cli.doctor.rights import Allowed
from keyfob.cli.doctor.telling import as_data, as_text
from keyfob.cli.doctor.trying import Trying, ways_to_try
from keyfob.findings import Severity
from tests.device.parties import Answer, Broker, auth, broker, connack
from tests.device.world import SetClock, token_of

TOKEN = token_of(SetClock(), access_token="kfa_" + "t0ken" * 9)
CONNECT, PUBLISH = 0x10, 0x30
KNOWN = Allowed(
    permissions=Permissions.allow_only(parse_scopes("mqtt.publish:a/# mqtt.subscribe:b/#").rules)
)


def suback(body: bytes, code: int) -> bytes:
    return bytes((0x90, 4)) + body[:2] + bytes((0, code))


def puback(body: bytes, code: int) -> bytes:
    at = 2 + int.from_bytes(body[:2], "big")
    return bytes((0x40, 4)) + body[at : at + 2] + bytes((code, 0))


def behaving(
    *,
    connect: Callable[[Broker], bytes],
    subscribe: int = 0x87,
    publish: int = 0x87,
    reauthenticate: bytes = b"",
) -> Answer:
    """Answer CONNECTs by what they show, and the rest by these codes."""

    def answer(seen: Broker, kind: int, body: bytes) -> bytes:
        match kind:
            case 0x10:
                return connect(seen)
            case 0x80:
                return suback(body, subscribe)
            case 0x30:
                return puback(body, publish)
            case 0xF0:
                return reauthenticate
            case _:
                return b""

    return answer


def by_password(seen: Broker) -> bytes:
    """Let in who shows the token in the password; otherwise say why not."""
    shown = seen.connects[-1]
    if shown.method:
        return connack(0x8C)
    return connack(0 if shown.password == TOKEN.access_token else 0x87)


def examined(answer: Answer, **options: Any) -> tuple[Section, Broker]:
    values: dict[str, Any] = {"carry": "", "allowed": KNOWN, "bound": False}
    identifier = options.pop("identifier", "")
    with broker(answer) as seen:
        address = Address(host="127.0.0.1", port=seen.port)
        trying = Trying(
            address=address,
            context=None,
            token=TOKEN,
            identifier=identifier,
            patience=options.pop("patience", 0.5),
        )
        ways = options.pop("ways", ("password", "username", "auth:OAUTH2-JWT"))
        return examine_broker(trying, Wanted(ways=ways, **values | options)), seen


def codes(section: Section) -> set[str]:
    return {finding.code for finding in section.findings}


def test_a_broker_that_does_right_has_only_notes() -> None:
    section, _ = examined(behaving(connect=by_password))
    assert codes(section) <= {"no_reauthentication", "right_refused"}
    assert section.facts["ways"] == {
        "password": "taken",
        "username": "refused 0x87 (not authorized)",
        "auth:OAUTH2-JWT": "refused 0x8C (bad authentication method)",
    }
    assert section.facts["broken_token"] == {"password": "refused 0x87 (not authorized)"}
    assert section.facts["anonymous"] == "refused 0x87 (not authorized)"


def test_a_broker_that_lets_everybody_in_is_a_grave_finding() -> None:
    section, _ = examined(behaving(connect=lambda _: connack(0), subscribe=0))
    grave = {one.code for one in section.findings if one.severity is Severity.GRAVE}
    assert grave == {"anonymous_allowed", "token_unchecked"}
    assert "rights_unenforced" in codes(section)


def test_a_broker_that_reads_any_token_is_a_grave_finding() -> None:
    def anything(seen: Broker) -> bytes:
        return connack(0 if seen.connects[-1].password else 0x87)

    section, _ = examined(behaving(connect=anything))
    (grave,) = (one for one in section.findings if one.severity is Severity.GRAVE)
    assert grave.code == "token_unchecked"
    assert "password" in grave.what


def test_what_a_broker_must_refuse_is_what_differs_from_what_it_takes_in_one_thing_only() -> None:
    _, seen = examined(behaving(connect=by_password))
    shown = [each for each in seen.connects if each.password and not each.method]
    tokens = {each.password for each in shown}
    (other,) = tokens - {TOKEN.access_token}
    assert other is not None
    assert sum(a != b for a, b in zip(other, TOKEN.access_token, strict=True)) == 1
    assert {each.username for each in shown} == {"device"}


@pytest.mark.parametrize(
    ("said", "code"),
    [(b"", "broker_unavailable"), (connack(0x88), "broker_unavailable"), (connack(0x87), "no_way")],
)
def test_a_broker_that_is_unwell_is_told_from_one_that_says_no(said: bytes, code: str) -> None:
    section, _ = examined(behaving(connect=lambda _: said), ways=("password",))
    assert [one.code for one in section.findings if one.code.startswith(code)]


def test_a_broker_that_speaks_no_mqtt_5_is_asked_in_3_1_1() -> None:
    def old(seen: Broker) -> bytes:
        return bytes((0x20, 2, 0, 1))

    section, seen = examined(behaving(connect=old))
    assert "mqtt5_not_spoken" in codes(section)
    assert "auth:OAUTH2-JWT" not in section.facts["ways"]  # type: ignore[operator]
    assert seen.connects[1].password == TOKEN.access_token


def test_who_is_refused_without_a_word_cannot_tell_why() -> None:
    def silent(seen: Broker) -> bytes:
        if seen.connects[-1].password == TOKEN.access_token:
            return connack(0)
        return b"\xff\xff\xff\xff\xff"  # no packet: the client hangs up

    section, _ = examined(behaving(connect=silent), ways=("password",))
    assert "refusal_unexplained" in codes(section)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (auth(0, "OAUTH2-JWT"), None),
        (connack(0x87), "reauthentication_refused"),
        (bytes((0xE0, 1, 0x87)), "reauthentication_refused"),
        (b"", "reauthentication_refused"),
    ],
)
def test_whether_a_broker_re_authenticates_is_tried(answer: bytes, code: str | None) -> None:
    def by_method(seen: Broker) -> bytes:
        shown = seen.connects[-1]
        good = shown.method == "OAUTH2-JWT" and shown.data == TOKEN.access_token.encode()
        return connack(0, "OAUTH2-JWT") if good else connack(0x87)

    section, seen = examined(behaving(connect=by_method, reauthenticate=answer))
    assert seen.auths == [(0x19, TOKEN.access_token.encode())]
    assert (codes(section) & {"reauthentication_refused"}) == ({code} if code else set())
    if code is None:
        assert section.facts["reauthenticates"] == "by OAUTH2-JWT"


def test_a_right_that_the_broker_does_not_give_is_told() -> None:
    section, _ = examined(behaving(connect=by_password, subscribe=0x87), publish="a/x")
    refused = [finding.what for finding in section.findings if finding.code == "right_refused"]
    assert len(refused) == 2
    assert "b/#" in refused[0]
    assert "a/x" in refused[1]


def test_a_message_that_ought_to_be_refused_is_told() -> None:
    section, _ = examined(behaving(connect=by_password, publish=0), publish="c/x")
    assert "rights_unenforced" in codes(section)


def test_nothing_is_published_unless_it_is_asked_for() -> None:
    kinds = list[int]()
    answering = behaving(connect=by_password)

    def counting(seen: Broker, kind: int, body: bytes) -> bytes:
        kinds.append(kind)
        return answering(seen, kind, body)

    examined(counting)
    assert kinds
    assert PUBLISH not in kinds


def test_a_device_whose_own_way_is_not_taken_is_told_so() -> None:
    section, _ = examined(behaving(connect=by_password), carry="username")
    (refused,) = (one for one in section.findings if one.code == "carry_refused")
    assert "by password" in refused.mend


def test_what_a_broker_leaves_out_is_as_the_standard_has_it() -> None:
    def terse(seen: Broker) -> bytes:
        shown = seen.connects[-1]
        # Maximum QoS 0, and no wildcards
        good = bytes((0x20, 7, 0, 0, 4, 0x24, 0, 0x28, 0))
        return good if shown.password == TOKEN.access_token else connack(0x87)

    section, _ = examined(behaving(connect=terse), ways=("password",), publish="a/x")
    said: Any = section.facts["connack"]
    assert said["maximum_qos"] == 0
    assert said["wildcard_subscriptions"] is False
    assert (said["retain_available"], said["receive_maximum"]) == (True, 65_535)
    assert "not tried" in str(section.facts["published"])


@pytest.mark.parametrize(
    "said",
    [
        b"\x20\x00\xd0\x00",  # no body
        b"\x20\x01\x00\x00",  # half of one
        b"\x20\x05\x00\x00\x02\x1f\x00",  # a property without its end
        b"\x20\x04\x00\x00\x01\xee",  # an unknown property
    ],
)
def test_a_malformed_answer_is_none(said: bytes) -> None:
    section, _ = examined(behaving(connect=lambda _: said), ways=("password",))
    assert "taken" not in str(section.facts["ways"])


def test_a_broker_that_sends_the_token_back_gets_it_into_no_report() -> None:
    def echoing(seen: Broker) -> bytes:
        shown = seen.connects[-1].password or "nothing"
        text = shown.encode()
        inner = b"\x1f" + len(text).to_bytes(2, "big") + text  # Reason String
        body = bytes((0, 0, len(inner))) + inner
        return bytes((0x20, len(body))) + body

    section, _ = examined(behaving(connect=echoing), ways=("password",))
    assert TOKEN.access_token in str(section.facts)
    report = Report(
        issuer=Section(), token=Section(), broker=section, secrets=(TOKEN.access_token,)
    )
    told = json.dumps(as_data(report, {})) + as_text(report, {})
    assert TOKEN.access_token not in told
    assert "kfa_…" in told or "…" in told


def test_a_header_is_tried_over_websockets_alone() -> None:
    tcp = Address(host="localhost", port=1)
    assert "header" not in ways_to_try(tcp, ())
    web = Address(host="localhost", port=1, transport="websockets")
    ways = ways_to_try(web, ("MINE",))
    assert ways[:3] == ("password", "username", "header")
    assert ways[-1] == "auth:MINE"


@settings(max_examples=10, deadline=None)
@given(st.lists(st.binary(min_size=4, max_size=12), min_size=1, max_size=4), st.booleans())
def test_whatever_a_broker_sends_there_is_a_report(sent: list[bytes], good: bool) -> None:
    turns = itertools.cycle(sent)

    def answer(_: Broker, kind: int, __: bytes) -> bytes:
        return (connack(0) if good and kind == CONNECT else b"") + next(turns)

    section, _ = examined(answer, ways=("password", "auth:OAUTH2-JWT"), publish="a/x", patience=0.1)
    assert set(section.facts) >= {"ways", "anonymous"}
