# SPDX-License-Identifier: Apache-2.0
"""The table of the plugin's options says what plugin/options.c says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from keyfob.brokers.mosquitto import plugin_options
from keyfob.brokers.mosquitto.plugin_options import NUMBERS, OPTIONS, problem_of

C = (Path(plugin_options.__file__).parent / "plugin" / "options.c").read_text(encoding="utf-8")


def test_there_are_as_many_options_as_the_plugin_has() -> None:
    assert set(re.findall(r'strcmp\(key, "(\w+)"\) == 0', C)) == set(OPTIONS)


def test_numbers_have_the_bounds_that_the_plugin_has() -> None:
    found = re.findall(r'"(\w+)"\) == 0\) \{\s*return read_number\(key, value, (\d+), (\d+),', C)
    assert {name: (int(least), int(most)) for name, least, most in found} == dict(NUMBERS)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("guard_socket", "/run/keyfob/guard.sock"),
        ("guard_timeout_ms", "10000"),
        ("decisions", "delayed"),
        ("guard_users", "one, two"),
        ("broker_name", "b" * 255),
    ],
)
def test_what_the_plugin_takes_has_no_problem(name: str, value: str) -> None:
    assert problem_of(name, value) == ""


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("guard_socket", "run/guard.sock"),
        ("guard_socket", "/" + "x" * 107),
        ("guard_timeout_ms", "10001"),
        ("guard_timeout_ms", "5 s"),
        ("guard_timeout_ms", "+-5"),
        ("guard_timeout_ms", "\u0665"),
        ("decisions", "Auto"),
        ("broker_name", "b" * 256),
        ("guard_user", "keyfob"),
    ],
)
def test_what_the_plugin_does_not_take_has_one(name: str, value: str) -> None:
    assert problem_of(name, value)
