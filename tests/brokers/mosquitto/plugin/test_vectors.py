# SPDX-License-Identifier: Apache-2.0
"""The C parts give the answers of the shared vectors, as the Python parts do."""

from __future__ import annotations

import json
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any, Final

import pytest

from keyfob.authorization.permissions import Effect, Form, Operation, Permissions, Rule
from keyfob.mqtt.topics import TopicFilter
from keyfob.server.opaque_tokens import generate_opaque_token
from tests.brokers.mosquitto.plugin import frames
from tests.brokers.mosquitto.plugin.runner import Runner, utf8

VECTORS: Final = Path(__file__).parents[4] / "vectors"
TOPICS: dict[str, list[dict[str, Any]]] = json.loads(
    (VECTORS / "topics.json").read_text(encoding="utf-8")
)
PERMISSIONS: list[dict[str, Any]] = json.loads(
    (VECTORS / "permissions.json").read_text(encoding="utf-8")
)["cases"]
WIRE: list[dict[str, Any]] = json.loads((VECTORS / "wire.json").read_text(encoding="utf-8"))[
    "frames"
]
CREDENTIALS: list[dict[str, Any]] = json.loads(
    (VECTORS / "credentials.json").read_text(encoding="utf-8")
)["credentials"]


# Credentials


def test_a_credential_is_a_token_where_the_vectors_say_so(runner: Runner) -> None:
    wrong = [
        vector
        for vector in CREDENTIALS
        if runner.says("token", utf8(vector["text"])) is not (vector["jws"] or vector["opaque"])
    ]
    assert wrong == []


def test_the_opaque_tokens_of_our_own_server_are_tokens(runner: Runner) -> None:
    assert runner.says("token", utf8(generate_opaque_token()))


# Topics


@pytest.mark.parametrize(
    ("group", "verb", "texts", "answer"),
    [
        ("filters", "filter", ("text",), "valid"),
        ("names", "name", ("text",), "valid"),
        ("matches", "matches", ("filter", "name"), "result"),
        ("covers", "covers", ("granted", "requested"), "result"),
        ("overlaps", "overlaps", ("a", "b"), "result"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_topics_answer_as_the_vectors_say(
    runner: Runner, group: str, verb: str, texts: tuple[str, ...], answer: str
) -> None:
    wrong = [
        vector
        for vector in TOPICS[group]
        if runner.says(verb, *(utf8(vector[text]) for text in texts)) is not vector[answer]
    ]
    assert wrong == []


def test_overlap_does_not_depend_on_the_order(runner: Runner) -> None:
    wrong = [
        vector
        for vector in TOPICS["overlaps"]
        if runner.says("overlaps", utf8(vector["b"]), utf8(vector["a"])) is not vector["result"]
    ]
    assert wrong == []


# Permissions


def rule_of(vector: dict[str, Any]) -> Rule:
    return Rule(
        effect=Effect[vector["effect"].upper()],
        operations=reduce(or_, (Operation[name.upper()] for name in vector["operations"])),
        filter=TopicFilter.parse(vector["filter"]),
        literal=vector["literal"],
        qos=sum(1 << qos for qos in vector["qos"]),
        retain=sum(2 if retained else 1 for retained in vector["retain"]),
    )


def allowed(runner: Runner, check: dict[str, Any]) -> bool:
    topic = utf8(check["topic"])
    match check["action"]:
        case "publish":
            return runner.says("publish", topic, check["qos"], int(check["retain"]))
        case "subscribe":
            return runner.says("subscribe", topic, check["qos"])
        case _:
            return runner.says("receive", topic)


@pytest.mark.parametrize("case", PERMISSIONS, ids=lambda case: case["note"].replace(" ", "-"))
def test_permissions_answer_as_the_case_says(runner: Runner, case: dict[str, Any]) -> None:
    rules = tuple(map(rule_of, case["rules"]))
    given = frames.permissions(Permissions(Form[case["form"].upper()], rules))
    assert runner.ask("load", frames.record(given)) == "loaded"
    wrong = [check for check in case["checks"] if allowed(runner, check) is not check["allowed"]]
    assert wrong == []


# Frames

BOUND: Final = (None, "", "jwk", "jkt", "x5t#S256")  # in the order of their numbers


def unpacked(hexadecimal: str) -> bytes:
    """``unit*times`` stands for that unit so many times over; parts stand apart by a space."""
    parts = (part.partition("*") for part in hexadecimal.split())
    return b"".join(bytes.fromhex(unit) * int(times or 1) for unit, _, times in parts)


def whole(value: Any) -> Any:
    """``{repeat, times}`` stands for that text or list so many times over."""
    if isinstance(value, dict) and set(value) == {"repeat", "times"}:
        return value["repeat"] * value["times"]
    return value


def hexed(value: str | None) -> str:
    return (whole(value) or "").encode().hex() or "-"


def grant_line(grant: dict[str, Any]) -> list[str]:
    texts = [hexed(grant[name]) for name in ("principal", "issuer", "subject", "token_id")]
    token = BOUND.index(grant["bound"]) + 8 * (grant["client"] is not None)
    allowed_to = grant["permissions"]
    return [
        str(grant["expires_at"]),
        *texts,
        *(str(token), hexed(grant["client"])),
        str(allowed_to["form"]),
        *(
            ":".join(
                str(int(rule[name]))
                for name in ("effect", "operations", "literal", "qos", "retain")
            )
            + ":"
            + hexed(rule["filter"])
            for rule in whole(allowed_to["rules"])
        ),
    ]


def line_of(fields: dict[str, Any], size: int) -> str:
    """Return what the runner says of a frame that it has read."""
    match fields["type"]:
        case "WELCOME":
            words = [str(fields[name]) for name in ("version", "worker", "workers")]
            words.append(fields["guard_instance"])
        case "RECORD":
            words = [str(int(fields[name])) for name in ("epoch", "state")]
            words.append(str(fields["clean"] + 2 * fields["assigned"]))
            words += [hexed(fields["client_id"]), *grant_line(fields["grant"])]
        case "DECISION":
            words = [str(fields[name]) for name in ("request", "epoch", "reason")]
            words.append(fields["data"] or "-")
            words += grant_line(fields["grant"]) if fields["grant"] else []
        case "END":
            words = [str(fields["epoch"]), str(fields["cause"]), hexed(fields["client_id"])]
        case "REPLACE":
            words = [str(fields["epoch"]), hexed(fields["client_id"])]
            words += grant_line(fields["grant"])
        case _:
            words = []
    return " ".join([fields["type"], *words, f"size={size}"])


def named(frames_of: list[dict[str, Any]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("vector", frames_of, ids=lambda vector: vector["name"])


READ = [vector for vector in WIRE if vector["direction"] != "plugin-to-guard"]
WRITES = {"HELLO", "RECORDS_END", "CONNECT", "ADMITTED", "OFFLINE", "REAUTHENTICATE", "CONTINUE"}
WRITTEN = [vector for vector in WIRE if vector["direction"] == "plugin-to-guard"]


@named([vector for vector in READ if vector["valid"]])
def test_a_frame_that_is_read_says_what_the_vector_says(
    runner: Runner, vector: dict[str, Any]
) -> None:
    data = unpacked(vector["hex"])
    assert runner.ask("read", data) == line_of(vector["fields"], len(data))


@named([vector for vector in WIRE if not vector["valid"]])
def test_a_frame_that_breaks_the_protocol_is_refused(
    runner: Runner, vector: dict[str, Any]
) -> None:
    """One that only the plugin sends is refused whatever it says."""
    assert runner.ask("read", unpacked(vector["hex"])) == "violation"


@named([vector for vector in WRITTEN if vector["valid"]])
def test_what_only_the_plugin_says_is_refused_from_the_guard(
    runner: Runner, vector: dict[str, Any]
) -> None:
    assert runner.ask("read", unpacked(vector["hex"])) == "violation"


def words_of(fields: dict[str, Any]) -> list[str | bytes | int]:
    """Return how the runner is asked to write a frame."""
    match fields["type"]:
        case "HELLO":
            instance = bytes.fromhex(fields["broker_instance"])
            name = hexed(fields["broker_name"])
            return [instance, fields["epoch"], fields["broker_version"], name]
        case "CONNECT":
            credentials = [whole(fields[name]) for name in ("username", "password")]
            flags = fields["clean"] + 2 * fields["assigned"]
            flags += 16 * fields["delayed"] + 32 * (fields["method"] is not None)
            flags += sum(4 << i for i, value in enumerate(credentials) if value is not None)
            return [
                *(fields["request"], fields["epoch"], flags, fields["protocol_level"]),
                hexed(fields["client_id"]),
                *((value or "") or "-" for value in credentials),
                hexed(fields["peer"]),
                fields["certificate_thumbprint"] or "-",
                hexed(fields["method"]),
                fields["data"] or "-",
                fields["wait_ms"],
            ]
        case "ADMITTED":
            return [fields["epoch"], hexed(fields["client_id"])]
        case "OFFLINE":
            return [fields["epoch"], hexed(fields["client_id"]), int(fields["kept"])]
        case "REAUTHENTICATE":
            texts = [hexed(fields[name]) for name in ("client_id", "method")]
            return [
                *(fields["request"], fields["epoch"], *texts, whole(fields["data"]) or "-"),
                *(hexed(fields["peer"]), fields["certificate_thumbprint"] or "-"),
                fields["wait_ms"],
            ]
        case "CONTINUE":
            head = [fields["request"], fields["epoch"], hexed(fields["client_id"])]
            return [*head, fields["data"] or "-", fields["wait_ms"]]
        case _:
            return []


@named(
    [
        vector
        for vector in WIRE
        if vector["valid"]
        and vector["fields"]["type"] in WRITES
        # The plugin says the versions that it speaks, and no others.
        and vector["fields"].get("highest", 4) == 4
    ]
)
def test_a_frame_is_written_byte_by_byte_as_the_vector_says(
    runner: Runner, vector: dict[str, Any]
) -> None:
    fields = vector["fields"]
    assert runner.ask("write", fields["type"], *words_of(fields)) == unpacked(vector["hex"]).hex()


@named([vector for vector in WIRE if vector["valid"] and vector["fields"]["type"] == "RECORD"])
def test_a_record_that_was_taken_in_is_told_again_byte_by_byte(
    runner: Runner, vector: dict[str, Any]
) -> None:
    """Compiled permissions forget nothing: a new guard learns what the old one knew."""
    data = unpacked(vector["hex"])
    assert runner.ask("load", data) == "loaded"
    assert runner.ask("rewrite") == data.hex()
