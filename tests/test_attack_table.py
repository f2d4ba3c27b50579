# SPDX-License-Identifier: Apache-2.0
"""The table of forged tokens in docs/security.md is true: families, tests and error codes.

A test says which family it belongs to and which codes it asserts with ``@pytest.mark.attack``. The
table names the same tests and codes, and each code really stands in what the test asserts.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from keyfob.authorization.decision import DenyReason
from keyfob.errors import TOKEN_CODES
from keyfob.guard.fetching import DEADLINE, MAX_BODY
from keyfob.guard.key_sources import COOLDOWN
from keyfob.tokens.json_strict import MAX_DEPTH, MAX_NUMBER_CHARS
from keyfob.tokens.jws import MAX_TOKEN_BYTES
from keyfob.tokens.keys import MAX_JWKS_BYTES, MAX_KEYS
from tests.work import BASE_BYTES, BASE_CALLS, BYTES_PER_BYTE, CALLS_PER_BYTE

ROOT = Path(__file__).parents[1]
FAMILIES = tuple(f"J{number}" for number in range(1, 21))
every_family = pytest.mark.parametrize("family", FAMILIES)


@dataclass(frozen=True, slots=True)
class Attack:
    """A test of a family, the codes that it claims to assert, and the texts that it holds."""

    family: str
    test: str
    codes: frozenset[str]
    said: frozenset[str]


@dataclass(frozen=True, slots=True)
class Row:
    """What the table says of a family."""

    codes: frozenset[str]
    tests: tuple[str, ...]


def _marks(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[tuple[str, ...]]:
    for decorator in function.decorator_list:
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.attack":
            yield tuple(ast.literal_eval(argument) for argument in decorator.args)


def _said(node: ast.AST, inside: dict[str, ast.AST], seen: set[str]) -> Iterator[str]:
    """Find texts and members of DenyReason, also in what the module lends: helpers, parameters."""
    for part in ast.walk(node):
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            yield part.value
        elif isinstance(part, ast.Attribute) and ast.unparse(part.value) == "DenyReason":
            yield part.attr.lower()
        elif isinstance(part, ast.Name) and part.id in inside and part.id not in seen:
            seen.add(part.id)
            yield from _said(inside[part.id], inside, seen)


def _attacks_in(text: str, path: str) -> Iterator[Attack]:
    tree = ast.parse(text)
    functions = [
        node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    lent: dict[str, ast.AST] = {each.name: each for each in functions if not list(_marks(each))}
    for function in functions:
        marks = list(_marks(function))
        unmarked = [
            node for node in function.decorator_list if "mark.attack" not in ast.unparse(node)
        ]
        said = {text for node in (*unmarked, *function.body) for text in _said(node, lent, set())}
        test = f"{path}::{function.name}"
        for family, *codes in marks:
            yield Attack(family, test, frozenset(codes), frozenset(said))


@cache
def attacks() -> tuple[Attack, ...]:
    """Every test in the repository that is marked as an attack."""
    return tuple(
        attack
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        for attack in _attacks_in(
            path.read_text(encoding="utf-8"), path.relative_to(ROOT).as_posix()
        )
    )


@cache
def table() -> dict[str, Row]:
    """The rows of docs/security.md."""
    text = (ROOT / "docs/security.md").read_text(encoding="utf-8")
    rows = {}
    for line in re.findall(r"^\| J\d+ \|.*$", text, re.MULTILINE):
        family, _, codes, tests = (cell.strip() for cell in line.strip("|").split("|"))
        named = []
        for group in tests.split("<br>"):
            path, _, names = group.partition(": ")
            named += [
                f"tests/{path.strip('`')}::{name}" for name in re.findall(r"`(test_\w+)`", names)
            ]
        rows[family] = Row(frozenset(re.findall(r"`(\w+)`", codes)), tuple(named))
    return rows


def test_every_family_of_the_catalogue_has_a_row_and_a_test_that_asserts_a_code() -> None:
    assert tuple(table()) == FAMILIES
    assert {attack.family for attack in attacks() if attack.codes} == set(FAMILIES)
    assert {attack.family for attack in attacks()} == set(FAMILIES)


@every_family
def test_a_row_names_the_tests_that_are_there_and_no_other(family: str) -> None:
    marked = [attack.test for attack in attacks() if attack.family == family]
    assert sorted(table()[family].tests) == sorted(marked)


@every_family
def test_a_row_names_the_codes_that_its_tests_assert_and_no_other(family: str) -> None:
    asserted = {code for attack in attacks() if attack.family == family for code in attack.codes}
    assert table()[family].codes == asserted
    assert asserted <= TOKEN_CODES | {str(reason) for reason in DenyReason}


@pytest.mark.parametrize(
    "attack", attacks(), ids=lambda attack: f"{attack.family}-{attack.test.partition('::')[2]}"
)
def test_the_codes_of_a_mark_stand_in_the_test(attack: Attack) -> None:
    assert attack.codes <= attack.said


def test_the_bound_is_the_one_that_is_tested() -> None:
    text = (ROOT / "docs/security.md").read_text(encoding="utf-8")
    assert f"| {BASE_CALLS:,} + {CALLS_PER_BYTE} per byte |" in text
    assert f"| {BASE_BYTES:,} bytes + {BYTES_PER_BYTE} per byte |" in text
    for number in (MAX_TOKEN_BYTES, MAX_JWKS_BYTES, MAX_BODY):
        assert f"{number:,} bytes" in text
    for words in (f"{MAX_KEYS} keys", f"{DEADLINE:.0f} seconds", f"in {COOLDOWN:.0f} seconds"):
        assert words in text
    assert f"at most {MAX_DEPTH} deep" in text
    assert f"at most {MAX_NUMBER_CHARS} characters" in text


_SAMPLE = """
def refused():
    return "key_refused"

@pytest.mark.attack("J1", "key_refused", "key_unknown", "token_missing")
@pytest.mark.parametrize("reason", [DenyReason.KEY_UNKNOWN])
def test_sample(reason):
    'It says token_missing and does not mean it.'
    assert refused() == reason

def test_other():
    assert "token_missing"
"""


def test_a_code_that_a_test_claims_and_does_not_hold_is_found_out() -> None:
    (sample,) = _attacks_in(_SAMPLE, "sample.py")
    assert (sample.family, sample.test) == ("J1", "sample.py::test_sample")
    assert sample.codes - sample.said == {"token_missing"}
