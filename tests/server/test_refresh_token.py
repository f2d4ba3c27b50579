# SPDX-License-Identifier: Apache-2.0
"""What a refresh token is made of: written one way, made again at will, made by nobody else."""

from __future__ import annotations

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from keyfob.server.names import is_name, shown_name
from keyfob.server.refresh_token import RefreshToken

KEY = bytes(range(32))
keys = st.binary(min_size=32, max_size=32)
tokens = st.builds(
    RefreshToken,
    family_id=st.binary(min_size=16, max_size=16),
    counter=st.integers(0, 2**64 - 1),
    secret=st.binary(min_size=32, max_size=32),
    tag=st.binary(min_size=16, max_size=16),
)


def first(
    key: bytes = KEY, *, family_id: bytes = b"f" * 16, secret: bytes = b"s" * 32
) -> RefreshToken:
    return RefreshToken.first(key, family_id=family_id, secret=secret)


@given(tokens)
def test_what_is_written_is_read(token: RefreshToken) -> None:
    assert RefreshToken.parse(token.encode()) == token


@given(st.text(max_size=200))
@example("")
@example("kfr_")
@example("kfr_" + "A" * 95)
@example("kfr_" + "A" * 97)
@example("kfr_" + "A" * 95 + "=")
@example("kfr_" + "A" * 95 + "+")
@example("kfr_" + "A" * 96 + "\n")
@example("kfr_" + "٣" * 96)
@example("kfs_" + "A" * 96)
def test_what_is_not_written_by_us_is_no_token(text: str) -> None:
    token = RefreshToken.parse(text)
    assert token is None or token.encode() == text


def test_a_successor_is_the_same_every_time_and_follows_on() -> None:
    seen = {first()}
    token = first()
    for number in range(1, 50):
        assert token.successor(KEY) == token.successor(KEY)
        token = token.successor(KEY)
        assert token.counter == number
        assert token.family_id == first().family_id
        assert token.made_with(KEY)
        seen.add(token)
    assert len({each.secret for each in seen}) == len({each.tag for each in seen}) == 50


@given(keys, st.binary(min_size=32, max_size=32))
def test_neither_the_key_nor_the_token_alone_makes_a_successor(key: bytes, secret: bytes) -> None:
    """Who has the register lacks the secret, who has an old token lacks the key."""
    assume(key != KEY and secret != b"s" * 32)
    good = first().successor(KEY)
    assert first().successor(key).digest != good.digest
    assert first(secret=secret).successor(KEY).digest != good.digest


@given(st.integers(0, 72 * 8 - 1))
def test_a_token_with_another_bit_was_not_made_here(bit: int) -> None:
    token = first().successor(KEY)
    data = token.family_id + token.counter.to_bytes(8) + token.secret + token.tag
    changed = (int.from_bytes(data) ^ (1 << bit)).to_bytes(72)
    forged = RefreshToken(
        family_id=changed[:16],
        counter=int.from_bytes(changed[16:24]),
        secret=changed[24:56],
        tag=changed[56:],
    )
    assert token.made_with(KEY)
    assert not forged.made_with(KEY)


@given(keys)
def test_another_familys_key_made_none_of_this_family(key: bytes) -> None:
    assume(key != KEY)
    assert not first().made_with(key)


def test_nothing_shows_the_secret() -> None:
    token = first()
    for text in (repr(token), str(token), f"{token}"):
        assert token.encode() not in text
        assert repr(token.secret)[2:-1] not in text
        assert "tag" not in text


@pytest.mark.parametrize("text", [first().encode(), "kfr_x"])
def test_a_refresh_token_is_no_name_and_is_never_shown_as_one(text: str) -> None:
    assert not is_name(text)
    assert shown_name(text) == "?"
