# SPDX-License-Identifier: Apache-2.0
"""Only what can be an opaque token is shown to an issuer, and only to the one whose it is."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfob.tokens.issuers import TrustedIssuer
from keyfob.tokens.opaque import MAX_OPAQUE_BYTES, MIN_OPAQUE_BYTES, opaque_issuer


def issuer(name: str) -> TrustedIssuer:
    return TrustedIssuer(
        name=name,
        issuer=f"https://{name}.example",
        audiences=frozenset({"mqtt"}),
        algorithms=frozenset(),
        introspect="opaque",
    )


ANY, ORY, ORY_ACCESS = issuer("any"), issuer("ory"), issuer("ory-access")
PREFIXES = {b"": ANY, b"ory_": ORY, b"ory_at_": ORY_ACCESS}
BODY = b"q1w2e3r4t5z6u7i8o9p0AB"


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        (BODY, ANY),
        (b"ory_xx_" + BODY, ORY),
        (b"ory_at_" + BODY + b".c2ln", ORY_ACCESS),
        (b"ORY_at_" + BODY, ANY),
        (b"v4.public." + BODY, ANY),
        (BODY + b"==", ANY),
        (b"a~b+c/d-e_f.g" + BODY, ANY),
        # The first segment begins like a header, and is none.
        (b"ey.Jx." + BODY, ANY),
    ],
)
def test_the_longest_prefix_says_whose_a_token_is(token: bytes, expected: TrustedIssuer) -> None:
    assert opaque_issuer(token, PREFIXES) is expected


@pytest.mark.parametrize(
    "token",
    [
        b"",
        b"hunter2",
        BODY + b" ",
        BODY + b"\n",
        BODY + b"\x00",
        b"=" * 30,
        BODY + b"=x",
        BODY + "é".encode(),
        b'{"a":"' + BODY + b'"}',
        b"Bearer " + BODY,
    ],
)
def test_what_no_bearer_token_can_be_is_shown_to_nobody(token: bytes) -> None:
    """RFC 6750 section 2.1; a short text is rather a password."""
    assert opaque_issuer(token, PREFIXES) is None


def test_the_length_is_bounded_at_both_ends() -> None:
    for length, fits in (
        (MIN_OPAQUE_BYTES - 1, False),
        (MIN_OPAQUE_BYTES, True),
        (MAX_OPAQUE_BYTES, True),
        (MAX_OPAQUE_BYTES + 1, False),
    ):
        assert (opaque_issuer(b"a" * length, PREFIXES) is ANY) is fits


def test_without_a_fitting_prefix_nobody_is_asked() -> None:
    assert opaque_issuer(BODY, {b"ory_": ORY}) is None
    assert opaque_issuer(BODY, {}) is None


_HEADERS = st.dictionaries(st.text(max_size=8), st.text(max_size=8) | st.integers(), max_size=4)


@given(
    header=_HEADERS,
    indent=st.sampled_from([None, 0, 2]),
    before=st.sampled_from(["", " ", "\n", "\t\r\n "]),
    alphabet=st.sampled_from([base64.urlsafe_b64encode, base64.b64encode]),
    rest=st.lists(st.text("abcXYZ019-_", max_size=40), min_size=1, max_size=5),
)
def test_a_jose_object_is_never_opaque_however_it_is_spelt(
    header: dict[str, object], indent: int | None, before: str, alphabet: object, rest: list[str]
) -> None:
    """A JWT of one issuer must not be shown to another, nor a broken one."""
    assert callable(alphabet)
    first = alphabet((before + json.dumps(header, indent=indent)).encode()).rstrip(b"=")
    token = b".".join([first, *(part.encode() for part in rest)])
    assert opaque_issuer(token, {**PREFIXES, first: ORY}) is None


@given(
    header=_HEADERS,
    claims=_HEADERS,
    damage=st.sampled_from(
        [lambda h: h[1:], lambda h: h[:-1], lambda h: h + b"A", b"Bearer-".__add__]
    ),
)
def test_a_jwt_with_a_damaged_header_is_not_opaque(
    header: dict[str, object],
    claims: dict[str, object],
    damage: Callable[[bytes], bytes],
) -> None:
    """Its claims and its signature are whole: whoever saw it could mend it."""
    parts = [base64.urlsafe_b64encode(json.dumps(each).encode()) for each in (header, claims)]
    first, second = (part.rstrip(b"=") for part in parts)
    token = b".".join([damage(first), second, BODY])
    assert opaque_issuer(token, PREFIXES) is None


@pytest.mark.parametrize("opening", [b'{"a":', b"["])
def test_a_deeply_nested_header_harms_nobody(opening: bytes) -> None:
    nested = base64.urlsafe_b64encode(opening * (3000 // len(opening))).rstrip(b"=")
    assert opaque_issuer(nested + b"." + BODY, PREFIXES) in {None, ANY}


@given(token=st.binary(max_size=80) | st.text("eyJhb.~+/=", max_size=80).map(str.encode))
def test_any_bytes_have_an_issuer_or_none(token: bytes) -> None:
    found = opaque_issuer(token, PREFIXES)
    assert found is None or MIN_OPAQUE_BYTES <= len(token) <= MAX_OPAQUE_BYTES
