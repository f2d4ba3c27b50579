# SPDX-License-Identifier: Apache-2.0
"""The frames of the guard link as bytes: the shared vectors, both ways, and whatever else comes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfob.authorization.permissions import Effect, Form, Operation, Permissions, Rule
from keyfob.brokers.mosquitto import wire
from keyfob.brokers.mosquitto.frames import (
    Admitted,
    Connect,
    Continue,
    Decision,
    End,
    Frame,
    Grant,
    Hello,
    Offline,
    Reauthenticate,
    Record,
    RecordsEnd,
    Replace,
    Welcome,
)
from keyfob.errors import ProtocolError
from keyfob.guard.session import EndCause, SessionState
from keyfob.mqtt.topics import TopicFilter

VECTORS = json.loads((Path(__file__).parents[3] / "vectors" / "wire.json").read_text())["frames"]
VALID = [vector for vector in VECTORS if vector["valid"]]
INVALID = [vector for vector in VECTORS if not vector["valid"]]


def data_of(vector: dict[str, Any]) -> bytes:
    parts = (part.partition("*") for part in vector["hex"].split())
    return b"".join(bytes.fromhex(unit) * int(times or 1) for unit, _, times in parts)


def plain(value: Any) -> Any:
    """Write out what a vector abbreviates as {repeat, times}."""
    if isinstance(value, dict):
        if value.keys() == {"repeat", "times"}:
            return plain(value["repeat"]) * value["times"]
        return {name: plain(each) for name, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, list) else value


def permissions_of(said: dict[str, Any]) -> Permissions:
    rules = (
        Rule(
            effect=Effect(rule["effect"]),
            operations=Operation(rule["operations"]),
            filter=TopicFilter.parse(rule["filter"]),
            literal=rule["literal"],
            qos=rule["qos"],
            retain=rule["retain"],
        )
        for rule in said["rules"]
    )
    return Permissions(Form(said["form"]), tuple(rules))


def grant_of(said: dict[str, Any]) -> Grant:
    return Grant(**{**said, "permissions": permissions_of(said["permissions"])})


def optional_bytes(text: str | None) -> bytes | None:
    return None if text is None else bytes.fromhex(text)


FROM_FIELDS: dict[str, Callable[[dict[str, Any]], Frame]] = {
    "HELLO": lambda f: Hello(**{**f, "broker_instance": bytes.fromhex(f["broker_instance"])}),
    "WELCOME": lambda f: Welcome(**{**f, "guard_instance": bytes.fromhex(f["guard_instance"])}),
    "RECORD": lambda f: Record(
        **{**f, "state": SessionState(f["state"]), "grant": grant_of(f["grant"])}
    ),
    "RECORDS_END": lambda f: RecordsEnd(**f),
    "CONNECT": lambda f: Connect(
        **{
            **f,
            "username": optional_bytes(f["username"]),
            "password": optional_bytes(f["password"]),
            "certificate_thumbprint": bytes.fromhex(f["certificate_thumbprint"]),
            "data": bytes.fromhex(f["data"]),
        }
    ),
    "DECISION": lambda f: Decision(
        **{**f, "grant": f["grant"] and grant_of(f["grant"]), "data": bytes.fromhex(f["data"])}
    ),
    "ADMITTED": lambda f: Admitted(**f),
    "OFFLINE": lambda f: Offline(**f),
    "END": lambda f: End(**{**f, "cause": EndCause(f["cause"])}),
    "REAUTHENTICATE": lambda f: Reauthenticate(
        **{
            **f,
            "data": bytes.fromhex(f["data"]),
            "certificate_thumbprint": bytes.fromhex(f["certificate_thumbprint"]),
        }
    ),
    "CONTINUE": lambda f: Continue(**{**f, "data": bytes.fromhex(f["data"])}),
    "REPLACE": lambda f: Replace(**{**f, "grant": grant_of(f["grant"])}),
}


def frame_of(vector: dict[str, Any]) -> tuple[Frame, int]:
    fields = plain(vector["fields"])
    request = fields.pop("request")
    return FROM_FIELDS[fields.pop("type")](fields), request


def name_of(vector: dict[str, Any]) -> str:
    return str(vector["name"])


@pytest.mark.parametrize("vector", VALID, ids=name_of)
def test_a_valid_vector_reads_as_its_fields(vector: dict[str, Any]) -> None:
    assert wire.FrameReader().feed(data_of(vector)) == [frame_of(vector)]


@pytest.mark.parametrize("vector", VALID, ids=name_of)
def test_the_fields_of_a_valid_vector_write_as_its_bytes(vector: dict[str, Any]) -> None:
    frame, request = frame_of(vector)
    assert wire.encode(frame, request) == data_of(vector)


@pytest.mark.parametrize("vector", INVALID, ids=name_of)
def test_an_invalid_vector_ends_the_link(vector: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError):
        wire.FrameReader().feed(data_of(vector))


def test_the_vectors_say_every_type_of_frame_and_enough_wrong_ones() -> None:
    """A vector file that was cut short would prove nothing."""
    assert {vector["fields"]["type"] for vector in VALID} == FROM_FIELDS.keys()
    assert len(INVALID) >= 25


# Whatever a value is


TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)
EPOCH = st.integers(0, 2**64 - 1)
FILTER = st.sampled_from(["a", "#", "+", "a/+/b", "$SYS/#", "$share/g/a/#", "kühl/+", "//", "+/#"])
REQUEST = st.integers(1, 2**32 - 1)


@st.composite
def any_permissions(draw: st.DrawFn) -> Permissions:
    form = draw(st.sampled_from(Form))
    effects = [Effect.ALLOW] if form is Form.ALLOW_ONLY else list(Effect)
    rule = st.builds(
        Rule,
        effect=st.sampled_from(effects),
        operations=st.sampled_from([Operation(1), Operation(2), Operation(3)]),
        filter=FILTER.map(TopicFilter.parse),
        literal=st.booleans(),
        qos=st.integers(1, 7),
        retain=st.integers(1, 3),
    )
    return Permissions(form, tuple(draw(st.lists(rule, max_size=5))))


GRANT = st.builds(
    Grant,
    expires_at=st.integers(-(2**63), 2**63 - 1),
    principal=TEXT,
    issuer=TEXT,
    subject=TEXT,
    token_id=TEXT,
    client=st.none() | TEXT,
    bound=st.sampled_from([None, "", "jwk", "jkt", "x5t#S256"]),
    permissions=any_permissions(),
)


@st.composite
def any_hello(draw: st.DrawFn) -> Hello:
    lowest = draw(st.integers(0, 255))
    return Hello(
        lowest=lowest,
        highest=draw(st.integers(lowest, 255)),
        broker_instance=draw(st.binary(min_size=16, max_size=16)),
        epoch=draw(EPOCH),
        broker_version=draw(st.integers(0, 2**32 - 1)),
        broker_name=draw(TEXT),
    )


@st.composite
def any_welcome(draw: st.DrawFn) -> Welcome:
    workers = draw(st.integers(1, 255))
    return Welcome(
        version=draw(st.integers(0, 255)),
        guard_instance=b"g" * 16,
        worker=draw(st.integers(0, workers - 1)),
        workers=workers,
    )


CREDENTIAL = st.none() | st.binary(max_size=40)
DATA = st.binary(max_size=40)
THUMBPRINT = st.sampled_from([b"", b"\xaa" * 32])
WAIT = st.integers(0, 2**32 - 1)
CONNECT = st.builds(
    Connect,
    epoch=EPOCH,
    clean=st.booleans(),
    assigned=st.booleans(),
    protocol_level=st.sampled_from([3, 4, 5]),
    client_id=TEXT,
    username=CREDENTIAL,
    password=CREDENTIAL,
    peer=TEXT,
    certificate_thumbprint=THUMBPRINT,
    delayed=st.booleans(),
    wait_ms=WAIT,
) | st.builds(
    Connect,
    epoch=EPOCH,
    clean=st.booleans(),
    assigned=st.booleans(),
    protocol_level=st.just(5),
    client_id=TEXT,
    username=st.none(),
    password=st.none(),
    peer=TEXT,
    certificate_thumbprint=THUMBPRINT,
    delayed=st.booleans(),
    wait_ms=WAIT,
    method=TEXT,
    data=DATA,
)
DECISION = (
    st.builds(Decision, epoch=EPOCH, reason=st.just(0), grant=GRANT, data=DATA)
    | st.builds(Decision, epoch=EPOCH, reason=st.just(0x18), data=DATA)
    | st.builds(Decision, epoch=EPOCH, reason=st.integers(0x80, 0xFF), grant=st.none())
)
RECORD = st.builds(
    Record,
    epoch=EPOCH,
    state=st.sampled_from(SessionState),
    clean=st.booleans(),
    assigned=st.booleans(),
    client_id=TEXT,
    grant=GRANT,
)
REAUTHENTICATE = st.builds(
    Reauthenticate,
    epoch=EPOCH,
    client_id=TEXT,
    method=TEXT,
    data=DATA,
    peer=TEXT,
    certificate_thumbprint=THUMBPRINT,
    wait_ms=WAIT,
)
CONTINUE = st.builds(Continue, epoch=EPOCH, client_id=TEXT, data=DATA, wait_ms=WAIT)
PAIRED = st.tuples(CONNECT | DECISION | REAUTHENTICATE | CONTINUE, REQUEST)
ALONE = st.tuples(
    any_hello()
    | any_welcome()
    | RECORD
    | st.just(RecordsEnd())
    | st.builds(Admitted, epoch=EPOCH, client_id=TEXT)
    | st.builds(Offline, epoch=EPOCH, client_id=TEXT, kept=st.booleans())
    | st.builds(End, epoch=EPOCH, cause=st.sampled_from(EndCause), client_id=TEXT)
    | st.builds(Replace, epoch=EPOCH, client_id=TEXT, grant=GRANT),
    st.just(0),
)


@given(said=st.lists(PAIRED | ALONE, max_size=5), cuts=st.lists(st.integers(0, 4000), max_size=8))
def test_frames_are_read_as_they_were_written_however_the_stream_is_cut(
    said: list[tuple[Frame, int]], cuts: list[int]
) -> None:
    stream = b"".join(wire.encode(frame, request) for frame, request in said)
    reader, heard, at = wire.FrameReader(), [], 0
    for cut in [*sorted(cuts), len(stream)]:
        heard += reader.feed(stream[at : max(at, cut)])
        at = max(at, cut)
    assert heard == said


@given(data=st.binary(max_size=300))
def test_arbitrary_bytes_are_frames_or_a_protocol_error(data: bytes) -> None:
    try:
        wire.FrameReader().feed(data)
    except ProtocolError:
        return


@given(
    vector=st.sampled_from(VALID), places=st.lists(st.integers(0, 400), max_size=4), data=st.data()
)
def test_a_spoilt_frame_is_another_frame_or_a_protocol_error(
    vector: dict[str, Any], places: list[int], data: st.DataObject
) -> None:
    """What still reads after bytes were changed writes as the very same bytes, but for a peer."""
    spoilt = bytearray(data_of(vector)[:2000])
    for place in places:
        spoilt[place % len(spoilt)] = data.draw(st.integers(0, 255))
    try:
        heard = wire.FrameReader().feed(bytes(spoilt))
    except ProtocolError:
        return
    if any("\ufffd" in getattr(frame, "peer", "") for frame, _ in heard):
        return
    said = b"".join(wire.encode(frame, request) for frame, request in heard)
    assert spoilt.startswith(said)


@pytest.mark.parametrize(
    ("raw", "read"),
    [
        (b"192.0.2.7\0", "192.0.2.7\ufffd"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"\xc3", "\ufffd"),
        (b"x" * 65_535, "x" * 256),
    ],
)
def test_a_peer_address_is_read_whatever_it_is(raw: bytes, read: str) -> None:
    good = wire.encode(
        Connect(
            epoch=1,
            clean=True,
            assigned=False,
            protocol_level=5,
            client_id="dev1",
            username=None,
            password=None,
            peer="",
            certificate_thumbprint=b"",
            delayed=False,
            wait_ms=200,
        ),
        1,
    )
    payload = good[wire.HEADER_SIZE : -12] + len(raw).to_bytes(2, "big") + raw + good[-10:]
    data = len(payload).to_bytes(4, "big") + good[4 : wire.HEADER_SIZE] + payload
    ((frame, _),) = wire.FrameReader().feed(data)
    assert isinstance(frame, Connect)
    assert frame.peer == read


# The reader's edges


def test_a_frame_that_comes_byte_by_byte_is_one_frame() -> None:
    reader = wire.FrameReader()
    data = wire.encode(Admitted(epoch=7, client_id="dev1"))
    heard = [reader.feed(data[place : place + 1]) for place in range(len(data))]
    assert heard[:-1] == [[]] * (len(data) - 1)
    assert heard[-1] == [(Admitted(epoch=7, client_id="dev1"), 0)]


def test_a_frame_that_will_be_too_long_is_refused_before_its_payload_comes() -> None:
    with pytest.raises(ProtocolError):
        wire.FrameReader().feed((wire.MAX_PAYLOAD + 1).to_bytes(4, "big") + b"\x03" + bytes(7))


def test_a_reader_reads_nothing_more_after_a_violation() -> None:
    reader = wire.FrameReader()
    good = wire.encode(RecordsEnd())
    with pytest.raises(ProtocolError):
        reader.feed(b"\xff" * wire.HEADER_SIZE)
    with pytest.raises(ProtocolError):
        reader.feed(good)


def test_no_error_and_no_repr_shows_a_credential() -> None:
    secret = b"very-secret-token"
    connect = Connect(
        epoch=1,
        clean=True,
        assigned=False,
        protocol_level=5,
        client_id="dev1",
        username=secret,
        password=secret,
        peer="",
        certificate_thumbprint=b"",
        delayed=False,
        wait_ms=200,
    )
    assert "secret" not in repr(connect)
    assert "secret" not in repr(replace(connect, method="m", data=secret))
    assert "secret" not in repr(
        Reauthenticate(
            epoch=1,
            client_id="d",
            method="m",
            data=secret,
            peer="",
            certificate_thumbprint=b"",
            wait_ms=200,
        )
    )
    assert "secret" not in repr(Continue(epoch=1, client_id="d", data=secret, wait_ms=200))
    assert "secret" not in repr(Decision(epoch=1, reason=0x18, data=secret))
    data = wire.encode(connect, 1)
    for spoilt in (
        data[:20] + b"\xff" + data[21:],
        data[:4] + b"\x09" + data[5:],
        data[:-1] + b"\1",
    ):
        with pytest.raises(ProtocolError) as caught:
            wire.FrameReader().feed(spoilt + b"\0" * 40)
        assert "secret" not in repr(caught.value)
