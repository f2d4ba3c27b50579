# SPDX-License-Identifier: Apache-2.0
"""Which key signs when, and which are published."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfob.errors import ConfigError
from keyfob.server.lifetimes import LONGEST_LIFE
from keyfob.server.signing.timetable import (
    ALGORITHMS,
    JWKS_MAX_AGE,
    MIN_ANNOUNCEMENT,
    Change,
    Rotation,
    StoredKey,
    emergency,
    outdated,
    planned,
    reconfigured,
    scheduled,
    signing_key,
    timetable,
)
from tests.server.signing.keys import DAY, NOW, key, moments, stored_keys

ROTATION = Rotation(every_days=1)


def applied(keys: tuple[StoredKey, ...], change: Change, algorithm: str) -> tuple[StoredKey, ...]:
    """What a store makes of a change that it accepts."""
    assert change.seen == {each.kid for each in keys}
    left = tuple(each for each in keys if each.kid not in change.remove)
    if change.signs_from is None:
        return left
    return (*left, key(f"n{len(keys)}-{change.signs_from}", change.signs_from, algorithm))


@given(stored_keys(), moments)
def test_every_key_has_exactly_one_place(keys: tuple[StoredKey, ...], now: float) -> None:
    table = timetable(keys, now)
    places = [*table.published, *table.forgotten]
    assert sorted(each.kid for each in places) == sorted(each.kid for each in keys)


@given(stored_keys(), moments)
def test_the_key_that_signs_is_the_one_of_the_timetable(
    keys: tuple[StoredKey, ...], now: float
) -> None:
    assert signing_key(keys, now) == timetable(keys, now).signing


@given(stored_keys(), moments, st.randoms(use_true_random=False))
def test_the_order_in_which_keys_are_read_means_nothing(
    keys: tuple[StoredKey, ...], now: float, random: object
) -> None:
    shuffled = list(keys)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert timetable(shuffled, now) == timetable(keys, now)


@given(stored_keys(), moments, st.floats(0, LONGEST_LIFE, exclude_max=True))
def test_a_key_that_signed_is_published_until_its_last_token_has_ended(
    keys: tuple[StoredKey, ...], signed_at: float, age: float
) -> None:
    """Whenever it signed, and however long the token lives."""
    signer = timetable(keys, signed_at).signing
    begun = signer.signs_from <= signed_at  # otherwise the clock was set back
    if begun:
        assert signer in timetable(keys, signed_at + age).published


@given(stored_keys(), moments)
def test_a_key_that_was_forgotten_never_comes_back(keys: tuple[StoredKey, ...], now: float) -> None:
    gone = set(timetable(keys, now).forgotten)
    for later in (now + 1, now + DAY, now + 30 * DAY):
        assert gone <= set(timetable(keys, later).forgotten)


@given(stored_keys(), moments)
def test_to_remove_what_is_forgotten_changes_nothing_else(
    keys: tuple[StoredKey, ...], now: float
) -> None:
    change = outdated(keys, now)
    table = timetable(keys, now)
    if change is None:
        assert table.forgotten == ()
        return
    left = applied(keys, change, "ES256")
    assert timetable(left, now).published == table.published


@given(st.lists(st.floats(0, 3 * DAY), min_size=1, max_size=40), st.integers(1, 3))
def test_a_schedule_announces_every_key_and_lets_none_end_early(
    steps: list[float], days: int
) -> None:
    """However seldom anybody looks: what signs was published for an announcement before."""
    rotation = Rotation(every_days=days)
    now, keys = NOW, applied((), planned((), rotation, NOW) or Change(seen=frozenset()), "ES256")
    published_since = {keys[0].kid: 0.0}
    signed: dict[str, float] = {}
    for step in steps:
        now += step
        for change in (planned(keys, rotation, now), outdated(keys, now)):
            if change is not None and change.seen == {each.kid for each in keys}:
                keys = applied(keys, change, "ES256")
        table = timetable(keys, now)
        for each in table.published:
            published_since.setdefault(each.kid, now)
        signing = table.signing
        assert signing.signs_from - published_since[signing.kid] >= MIN_ANNOUNCEMENT or (
            signing.kid in published_since and published_since[signing.kid] == 0.0
        )
        signed[signing.kid] = now
        for kid, last in signed.items():
            if now < last + LONGEST_LIFE:
                assert kid in {each.kid for each in table.published}


@given(stored_keys(), moments)
def test_at_most_one_key_of_a_schedule_is_announced(
    keys: tuple[StoredKey, ...], now: float
) -> None:
    first = planned(keys, ROTATION, now)
    if first is not None:
        assert planned(applied(keys, first, "ES256"), ROTATION, now) is None


@given(stored_keys(), moments)
def test_no_schedule_no_rotation(keys: tuple[StoredKey, ...], now: float) -> None:
    assert planned(keys, Rotation(every_days=0), now) is None


@given(stored_keys(), moments, st.sampled_from(["ES256", "EdDSA", "RS256"]))
def test_a_changed_algorithm_is_announced_once_and_signs_in_the_end(
    keys: tuple[StoredKey, ...], now: float, algorithm: str
) -> None:
    rotation = Rotation(algorithm=algorithm)
    change = reconfigured(keys, rotation, now)
    after = keys if change is None else applied(keys, change, algorithm)
    assert reconfigured(after, rotation, now) is None
    assert timetable(after, now).signing == timetable(keys, now).signing
    assert change is None or change.signs_from is None or change.signs_from >= now + 600
    assert {each.algorithm for each in timetable(after, now).announced} <= {algorithm}
    assert timetable(after, now + 60 * DAY).signing.algorithm == algorithm


@given(stored_keys(), moments)
def test_an_emergency_signs_at_once_and_withdraws_only_what_never_signed(
    keys: tuple[StoredKey, ...], now: float
) -> None:
    before = timetable(keys, now)
    if before.signing.signs_from > now:
        with pytest.raises(ConfigError, match="clock"):
            emergency(keys, now)
        return
    after = timetable(applied(keys, emergency(keys, now), "EdDSA"), now)
    assert after.signing.kid.startswith("n")
    assert after.announced == ()
    assert after.retired[0] == before.signing


def test_no_endless_set_is_published() -> None:
    keys = tuple(key(f"k{place}", NOW + place) for place in range(16))
    for decide in (emergency, lambda keys, now: scheduled(keys, ROTATION, now)):
        with pytest.raises(ConfigError, match="16 keys"):
            decide(keys, NOW + 60)


def test_a_cached_set_is_always_read_again_before_a_new_key_signs() -> None:
    assert MIN_ANNOUNCEMENT >= 2 * JWKS_MAX_AGE


@pytest.mark.parametrize(
    "wrong",
    [
        {"algorithm": "HS256"},
        {"algorithm": "none"},
        {"every_days": -1},
        {"announcement": MIN_ANNOUNCEMENT - 1},
        {"announcement": 604_801},
    ],
)
def test_a_rotation_that_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        Rotation(**wrong)  # type: ignore[arg-type]


def test_what_a_server_may_sign_with() -> None:
    assert ALGORITHMS == ("ES256", "EdDSA", "RS256")
