# SPDX-License-Identifier: Apache-2.0
"""The tables of ``vectors/rights``: what claims allow, in each way to write rights into a token."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from keyfob.authorization.policy import SYNTAXES, Granted, Policy, PolicyRule
from keyfob.errors import KeyfobError
from keyfob.mqtt.topics import TopicFilter, TopicName
from keyfob.tokens import base64url, json_strict
from keyfob.tokens.claims import Claims

FILES = sorted((Path(__file__).parents[2] / "vectors" / "rights").glob("*.json"))
TABLES: dict[str, Any] = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in FILES}
CASES = [(name, case) for name, table in TABLES.items() for case in table["cases"]]
ROWS = [(name, case, row) for name, case in CASES for row in case.get("rows", ())]
REFUSED = [(name, case) for name, case in CASES if "refused" in case]


def policy_of(name: str, case: dict[str, Any]) -> Policy:
    if name == "policy":
        rows = ({key: frozen(value) for key, value in row.items()} for row in case["policy"])
        return Policy(rights=(), rules=tuple(PolicyRule(**row) for row in rows))
    options = {key: frozen(value) for key, value in case.get("options", {}).items()}
    return Policy(rights=(SYNTAXES[name](**options),))


def frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def granted(name: str, case: dict[str, Any], device: str) -> Granted:
    members = {"iss": "https://as.example", "aud": "mqtt", "exp": 1} | case["claims"]
    return policy_of(name, case).permissions(Claims.parse(members), device)


def is_allowed(granted: Granted, row: dict[str, Any]) -> bool:
    permissions, qos = granted.permissions, row.get("qos", 0)
    match row["action"]:
        case "publish":
            name = TopicName.parse(row["topic"])
            return permissions.publish(name, qos, row.get("retain", False)).allowed
        case "subscribe":
            return permissions.subscribe(TopicFilter.parse(row["topic"]), qos).allowed
        case "receive":
            return permissions.receive(TopicName.parse(row["topic"])).allowed
    raise AssertionError(row["action"])


def named(value: Any) -> str:
    if isinstance(value, dict) and "action" in value:
        return ascii(f"{value['client_id']} {value['action']} {value['topic']}")[1:-1]
    return value if isinstance(value, str) else value["note"].replace(" ", "-")


@pytest.mark.parametrize(("name", "case", "row"), ROWS, ids=named)
def test_a_token_allows_what_its_row_says(
    name: str, case: dict[str, Any], row: dict[str, Any]
) -> None:
    assert is_allowed(granted(name, case, row["client_id"]), row) is row["allowed"]


@pytest.mark.parametrize(("name", "case"), REFUSED, ids=named)
def test_rights_that_nobody_can_read_refuse_the_token(name: str, case: dict[str, Any]) -> None:
    with pytest.raises(KeyfobError) as caught:
        granted(name, case, "dev1")
    assert caught.value.code == case["refused"]
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 400


@pytest.mark.parametrize(("name", "case", "row"), ROWS, ids=named)
def test_every_rule_says_where_it_comes_from_and_every_part_without_one_why(
    name: str, case: dict[str, Any], row: dict[str, Any]
) -> None:
    found = granted(name, case, row["client_id"])
    assert all(rule.source for rule in found.permissions.rules)
    assert all(what and why for what, why in found.ignored)
    assert all(step.detail.isprintable() for step in found.steps)


@pytest.mark.parametrize("case", [case for case in TABLES["aif"]["cases"] if "aif" in case])
def test_an_aif_scope_is_the_json_beside_it(case: dict[str, Any]) -> None:
    decoded = base64url.decode(case["claims"]["scope"].encode())
    assert json_strict.loads(decoded) == case["aif"]


def test_every_syntax_and_the_policy_table_has_thirty_rows_with_both_answers() -> None:
    assert TABLES.keys() == SYNTAXES.keys() | {"policy"}
    for name, table in TABLES.items():
        assert table["syntax"] == name
        rows = [row for case in table["cases"] for row in case.get("rows", ())]
        assert len(rows) >= 30
        assert {row["allowed"] for row in rows} == {True, False}
        assert {case["from"] for case in table["cases"]} == table["sources"].keys()
