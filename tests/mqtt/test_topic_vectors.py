# SPDX-License-Identifier: Apache-2.0
"""The topic vectors that the C plugin passes as well."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from keyfob.errors import TopicError
from keyfob.mqtt.topics import TopicFilter, TopicName, covers, matches, overlaps, witness

VECTORS: dict[str, list[dict[str, Any]]] = json.loads(
    (Path(__file__).parents[2] / "vectors" / "topics.json").read_text(encoding="utf-8")
)


def vectors(group: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("vector", VECTORS[group], ids=ascii)


def parses(kind: type[TopicFilter | TopicName], text: str) -> bool:
    try:
        kind.parse(text)
    except TopicError:
        return False
    return True


def test_the_file_holds_five_groups() -> None:
    assert set(VECTORS) == {"filters", "names", "matches", "covers", "overlaps"}
    assert sum(map(len, VECTORS.values())) >= 150


@vectors("filters")
def test_a_filter_parses_exactly_where_it_is_valid(vector: dict[str, Any]) -> None:
    assert parses(TopicFilter, vector["text"]) is vector["valid"]


@vectors("names")
def test_a_name_parses_exactly_where_it_is_valid(vector: dict[str, Any]) -> None:
    assert parses(TopicName, vector["text"]) is vector["valid"]


@vectors("matches")
def test_a_filter_matches_as_the_vector_says(vector: dict[str, Any]) -> None:
    topic_filter, name = TopicFilter.parse(vector["filter"]), TopicName.parse(vector["name"])
    assert matches(topic_filter, name) is vector["result"]


@vectors("covers")
def test_a_filter_covers_as_the_vector_says(vector: dict[str, Any]) -> None:
    granted, requested = (TopicFilter.parse(vector[key]) for key in ("granted", "requested"))
    assert covers(granted, requested) is vector["result"]
    if vector["result"]:
        assert witness(granted, requested) is None


@vectors("overlaps")
def test_filters_overlap_as_the_vector_says(vector: dict[str, Any]) -> None:
    a, b = TopicFilter.parse(vector["a"]), TopicFilter.parse(vector["b"])
    assert overlaps(a, b) is vector["result"]
    assert overlaps(b, a) is vector["result"]
