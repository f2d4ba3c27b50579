# SPDX-License-Identifier: Apache-2.0
"""Claims have the types of RFC 7519, or the token is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfob.errors import ClaimError
from keyfob.tokens.claims import MAX_TEXT_CHARS, Claims, text_fault

_LEAST = {"iss": "i", "aud": "a", "exp": 1}


def _error(**claims: Any) -> ClaimError:
    with pytest.raises(ClaimError) as caught:
        Claims.parse({**_LEAST, **claims})
    return caught.value


def test_absent_claims_have_neutral_values() -> None:
    claims = Claims.parse(_LEAST)
    assert (claims.subject, claims.token_id, claims.client_id) == ("", "", "")
    assert (claims.issued_at, claims.not_before, claims.confirmation) == (None, None, None)
    assert claims.scope == ()


@pytest.mark.parametrize("name", ["iss", "aud", "exp"])
def test_no_token_is_good_without_iss_aud_and_exp(name: str) -> None:
    with pytest.raises(ClaimError) as caught:
        Claims.parse({other: value for other, value in _LEAST.items() if other != name})
    assert (caught.value.code, caught.value.claim) == ("claim_missing", name)


@pytest.mark.parametrize("value", [0, 1, 0.0, 1.5, 1e9, 1_790_000_000, 2**53 - 1])
def test_a_date_is_a_json_number_whole_or_not(value: float) -> None:
    claims = Claims.parse({**_LEAST, "exp": value, "iat": value, "nbf": value})
    assert claims.expires_at == claims.issued_at == claims.not_before == value
    assert type(claims.expires_at) is float


@pytest.mark.parametrize(
    "value",
    ["1", "1e9", "", True, False, None, [], [1], {}, -1, -0.5, 2**53, 1e300, 10**39, float("nan")],
)
@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
def test_what_is_no_date_is_invalid(name: str, value: Any) -> None:
    error = _error(**{name: value})
    assert (error.code, error.claim) == ("claim_invalid", name)


@pytest.mark.parametrize(
    ("value", "audience"),
    [("a", ("a",)), (["a"], ("a",)), (["b", "a"], ("b", "a")), ([], ()), ("a b", ("a b",))],
)
def test_aud_is_a_string_or_an_array_of_strings(value: Any, audience: tuple[str, ...]) -> None:
    assert Claims.parse({**_LEAST, "aud": value}).audience == audience


@pytest.mark.parametrize("value", [1, None, True, {}, {"a": "a"}, [1], ["a", None], [["a"]]])
def test_any_other_aud_is_invalid(value: Any) -> None:
    assert _error(aud=value).claim == "aud"


@pytest.mark.parametrize(
    ("value", "scope"),
    [
        ("", ()),
        (" ", ()),
        ("a", ("a",)),
        ("a b", ("a", "b")),
        (" a  b ", ("a", "b")),
        ("a\tb", ("a\tb",)),
        ("a\u00a0b", ("a\u00a0b",)),
        (["a", "b c"], ("a", "b c")),
        ([], ()),
    ],
)
def test_scope_is_separated_by_spaces_and_by_nothing_else(
    value: Any, scope: tuple[str, ...]
) -> None:
    assert Claims.parse({**_LEAST, "scope": value}).scope == scope


@pytest.mark.parametrize("value", [1, None, True, {"a": 1}, [1], ["a", ["b"]]])
def test_any_other_scope_is_invalid(value: Any) -> None:
    assert _error(scope=value).claim == "scope"


@pytest.mark.parametrize("value", [1, None, True, [], ["x"], {}, "", "x" * (MAX_TEXT_CHARS + 1)])
@pytest.mark.parametrize("name", ["iss", "sub", "jti", "client_id"])
def test_identifiers_are_non_empty_bounded_strings(name: str, value: Any) -> None:
    error = _error(**{name: value})
    assert (error.code, error.claim) == ("claim_invalid", name)


@pytest.mark.parametrize("bad", ["\0", "a\nb", "\x1b[2J", "\x7f", "\x85", "\ud800"])
def test_identifiers_hold_no_control_characters(bad: str) -> None:
    assert _error(sub=bad).claim == "sub"


@pytest.mark.parametrize(
    "good", ["dev1", "a b", "Gerät-1", "設備", "😀", "auth0|1", "x" * MAX_TEXT_CHARS]
)
def test_other_texts_are_good_identifiers(good: str) -> None:
    assert Claims.parse({**_LEAST, "sub": good}).subject == good


@pytest.mark.parametrize("value", [None, "x", [], 1, True])
def test_a_confirmation_that_is_no_object_is_invalid_and_not_absent(value: Any) -> None:
    assert _error(cnf=value).claim == "cnf"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("sub", "dev1"),
        ("realm_access.roles", ["r"]),
        ("https://example.com/roles", ["u"]),
        ("a.b.c", 1),
        ("x.y", "whole"),
        ("p.q", None),
        ("absent", None),
        ("absent.roles", None),
        ("realm_access.absent", None),
        ("sub.length", None),
        ("realm_access.roles.0", None),
        ("nothing", None),
        ("nothing.inside", None),
        ("", None),
        (".", None),
        ("/realm_access/roles", ["r"]),
        ("/a/b/c", 1),
        ("/x.y", "whole"),
        ("/https:~1~1example.com~1roles", ["u"]),
        ("/~01", "tilde"),
        ("/sub/length", None),
        ("/realm_access/roles/0", None),
        ("/absent/roles", None),
        ("/", None),
    ],
)
def test_get_follows_a_path_into_nested_claims(path: str, value: object) -> None:
    claims = Claims.parse(
        {
            **_LEAST,
            "sub": "dev1",
            "realm_access": {"roles": ["r"]},
            "https://example.com/roles": ["u"],
            "a": {"b": {"c": 1}},
            "x.y": "whole",
            "~1": "tilde",
            "x": {"y": "nested"},
            "p.q": None,
            "p": {"q": "nested"},
            "nothing": None,
        }
    )
    assert claims.get(path) == value


@given(st.text())
def test_a_text_without_fault_is_printable_as_one_line_of_utf_8(text: str) -> None:
    if text_fault(text, 10) is None:
        assert 0 < len(text) <= 10
        assert len(text.encode("utf-8").split(b"\n")) == 1
        assert not any(ord(character) < 32 for character in text)


def test_members_are_read_only_and_not_in_the_repr() -> None:
    claims = Claims.parse({**_LEAST, "hush": "hush"})
    assert "hush" not in repr(claims)
    with pytest.raises(TypeError):
        claims.members["sub"] = "other"  # type: ignore[index]
