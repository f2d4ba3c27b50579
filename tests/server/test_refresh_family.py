# SPDX-License-Identifier: Apache-2.0
"""What a presented refresh token means for its family, case by case."""

from __future__ import annotations

from dataclasses import replace

import pytest

from keyfob.server.refresh_family import GRACE, Family, Standing, standing
from keyfob.server.refresh_token import RefreshToken

KEY = b"k" * 32
CHAIN = [RefreshToken.first(KEY, family_id=b"f" * 16, secret=b"s" * 32)]
for _ in range(4):
    CHAIN.append(CHAIN[-1].successor(KEY))
FAMILY = Family(
    family_id=b"f" * 16,
    client_id="app",
    subject="dev1",
    scopes=("mqtt.connect",),
    key=KEY,
    counter=2,
    digest=CHAIN[2].digest,
    previous=CHAIN[1].digest,
    rotated_at=1000.0,
    expires_at=2000.0,
    ends_at=3000.0,
)


def judge(
    number: int, *, family: Family | None = FAMILY, client_id: str = "app", now: float = 1001.0
) -> Standing:
    return standing(family, CHAIN[number], client_id=client_id, now=now)


def test_the_current_token_is_good_until_the_family_expires() -> None:
    assert judge(2) is judge(2, now=1999.9) is Standing.CURRENT
    assert judge(2, now=2000.0) is Standing.EXPIRED


def test_the_one_before_is_answered_again_within_the_grace_only() -> None:
    assert judge(1) is judge(1, now=1000.0 + GRACE - 0.01) is Standing.REPEATED
    assert judge(1, now=1000.0 + GRACE) is Standing.REUSED


def test_a_request_from_before_the_rotation_is_answered_again() -> None:
    """It was read first and had its turn later."""
    assert judge(1, now=999.0) is Standing.REPEATED


def test_an_older_one_is_reuse_at_any_time() -> None:
    assert judge(0, now=1000.0) is Standing.REUSED


@pytest.mark.parametrize("number", [3, 4])
def test_one_that_the_register_does_not_know_yet_is_reuse(number: int) -> None:
    """The register was set back to an earlier copy."""
    assert judge(number) is Standing.REUSED


def test_of_a_family_that_ended_none_is_good_and_none_is_reuse() -> None:
    ended = replace(FAMILY, ended="reused")
    assert {judge(number, family=ended) for number in range(5)} == {Standing.ENDED}
    assert {judge(number, now=2000.0) for number in range(5)} == {Standing.EXPIRED}


def test_another_client_learns_nothing_and_ends_nothing() -> None:
    assert {judge(number, client_id="other") for number in range(5)} == {Standing.FOREIGN}


def test_a_token_that_the_key_did_not_make_ends_nothing() -> None:
    """Knowing the identifier of a family is not enough to end it."""
    forged = replace(CHAIN[0], tag=b"0" * 16)
    assert standing(FAMILY, forged, client_id="app", now=1001.0) is Standing.UNKNOWN
    assert judge(2, family=None) is Standing.UNKNOWN


def test_a_copy_of_the_register_makes_no_good_token() -> None:
    """With the family's key somebody makes a token that looks right; its secret is not ours."""
    made = RefreshToken._made(KEY, b"f" * 16, 2, b"guess" * 6 + b"xx")
    assert made.made_with(KEY)
    assert not standing(FAMILY, made, client_id="app", now=1001.0).good


def test_only_two_of_them_are_good() -> None:
    assert [each for each in Standing if each.good] == [Standing.CURRENT, Standing.REPEATED]


def test_nothing_shows_a_key_or_a_hash() -> None:
    assert "kkk" not in repr(FAMILY)
    assert "digest" not in repr(FAMILY)
