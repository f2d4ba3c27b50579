# SPDX-License-Identifier: Apache-2.0
"""``docs/rights.md`` says what the code does."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from keyfob.authorization.permissions import MAX_FILTER_BYTES, MAX_RULES
from keyfob.authorization.policy import SYNTAXES, Policy
from keyfob.authorization.syntaxes import aif, authorization_details, emqx_acl, rabbitmq
from keyfob.authorization.syntaxes.authorization_details import parse_details
from keyfob.authorization.syntaxes.rabbitmq_patterns import Pattern
from keyfob.errors import KeyfobError, TopicError
from tests.authorization.claims import claims_of

TEXT = (Path(__file__).parents[2] / "docs" / "rights.md").read_text(encoding="utf-8")
SECTIONS = {
    name: re.search(rf"^## `{name}`.*?(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL)
    for name in SYNTAXES
}


def section(name: str) -> str:
    found = SECTIONS[name]
    assert found is not None
    return found[0]


def examples(name: str) -> list[Any]:
    return [json.loads(text) for text in re.findall(r"```json\n(.*?)```", section(name), re.DOTALL)]


@pytest.mark.parametrize(
    ("name", "rules"), [("authorization_details", 1), ("aif", 3), ("emqx_acl", 5), ("rabbitmq", 2)]
)
def test_the_example_of_a_syntax_is_read_whole(name: str, rules: int) -> None:
    claims = next(e for e in examples(name) if isinstance(e, dict))
    options = {"locations": ("mqtts://broker.example",)} if name == "authorization_details" else {}
    policy = Policy(rights=(SYNTAXES[name](**options),))
    granted = policy.permissions(claims_of(**claims), "dev1")
    assert len(granted.permissions.rules) == rules
    assert granted.ignored == ()


def test_the_schema_names_what_is_required_and_what_is_known() -> None:
    schema = next(e for e in examples("authorization_details") if "$schema" in e)
    whole = {"type": "mqtt", "locations": ["l"], "actions": ["publish"], "topics": ["a"]}
    assert schema["properties"].keys() == whole.keys()
    assert schema["properties"]["actions"]["items"]["enum"] == ["publish", "subscribe"]
    for name in whole:
        rest = {key: value for key, value in whole.items() if key != name}
        if name in schema["required"]:
            with pytest.raises(KeyfobError):
                parse_details([rest], ["l"])
        else:
            assert len(parse_details([rest], ["l"]).rules) == 1


def test_the_table_of_patterns_is_what_becomes_of_them() -> None:
    table = re.findall(r"^\| (`.+`) \| (`.+`|none) \| .*\|$", section("rabbitmq"), re.MULTILINE)
    told = {
        pattern: filters.strip("`")
        for patterns, filters in table
        for pattern in re.findall("`(.+?)`", patterns)
    }
    assert len(told) == 10
    assert told == {pattern: translated(pattern) for pattern in told}


def translated(pattern: str) -> str:
    try:
        return str(Pattern.parse(pattern).topic_filter())
    except TopicError:
        return "none"


def test_the_bounds_are_those_of_the_code() -> None:
    def bounds(name: str) -> list[int]:
        line = re.search(r"^\| bounds? \| (.*) \|$", section(name), re.MULTILINE)
        assert line is not None
        return [int(found.replace(",", "")) for found in re.findall(r"\d[\d,]+", line[1])]

    assert bounds("authorization_details") == [authorization_details.MAX_DETAILS]
    assert bounds("aif") == [aif.MAX_ENTRIES, aif.MAX_CHARS]
    assert bounds("emqx_acl") == [emqx_acl.MAX_ENTRIES, emqx_acl.MAX_SPELLED]
    assert bounds("rabbitmq") == [rabbitmq.MAX_SCOPES]
    assert f"At most {MAX_RULES} rules and {MAX_FILTER_BYTES:,} bytes" in TEXT
