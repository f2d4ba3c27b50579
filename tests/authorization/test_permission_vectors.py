# SPDX-License-Identifier: Apache-2.0
"""The permission vectors that the C plugin passes as well."""

from __future__ import annotations

import json
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any

import pytest

from keyfob.authorization.permissions import Effect, Form, Operation, Permissions, Rule
from keyfob.mqtt.topics import TopicFilter, TopicName

CASES: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[2] / "vectors" / "permissions.json").read_text(encoding="utf-8")
)["cases"]


def rule_of(vector: dict[str, Any]) -> Rule:
    return Rule(
        effect=Effect[vector["effect"].upper()],
        operations=reduce(or_, (Operation[name.upper()] for name in vector["operations"])),
        filter=TopicFilter.parse(vector["filter"]),
        literal=vector["literal"],
        qos=sum(1 << qos for qos in vector["qos"]),
        retain=sum(2 if retained else 1 for retained in vector["retain"]),
    )


def answer(permissions: Permissions, check: dict[str, Any]) -> bool:
    match check["action"]:
        case "publish":
            name = TopicName.parse(check["topic"])
            return permissions.publish(name, check["qos"], check["retain"]).allowed
        case "subscribe":
            return permissions.subscribe(TopicFilter.parse(check["topic"]), check["qos"]).allowed
        case "receive":
            return permissions.receive(TopicName.parse(check["topic"])).allowed
    raise AssertionError(check["action"])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["note"].replace(" ", "-"))
def test_permissions_answer_as_the_case_says(case: dict[str, Any]) -> None:
    form = Form[case["form"].upper()]
    permissions = Permissions(form, tuple(map(rule_of, case["rules"])))
    wrong = [c for c in case["checks"] if answer(permissions, c) is not c["allowed"]]
    assert wrong == []


def test_the_file_covers_both_forms_and_every_action_with_both_answers() -> None:
    checks = [(c["form"], k["action"], k["allowed"]) for c in CASES for k in c["checks"]]
    assert len(CASES) >= 40
    assert len(checks) >= 200
    assert len(set(checks)) == 2 * 3 * 2
