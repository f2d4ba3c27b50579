# SPDX-License-Identifier: Apache-2.0
"""An answer is used again for as long as it may be, and pushed out by nobody else's kind."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from keyfob.guard.introspection_answers import Active, Answers, Refused
from keyfob.tokens.verify import verify_introspected
from tests.guard.world import NOW, trusted

KEEP, KEEP_REFUSED = 30.0, 10.0
REFUSED = Refused(code="token_inactive", message="it is not active")


def active(exp: float = NOW + 3600, **issuer: Any) -> Active:
    members = {"sub": "dev1", "aud": "mqtt", "exp": exp, "scope": "mqtt.connect"}
    token = verify_introspected(members, trusted(introspect="opaque", **issuer), NOW)
    return Active(token=token, presented=None)


def answers(**bounds: int) -> Answers:
    return Answers(keep_active=KEEP, keep_refused=KEEP_REFUSED, **bounds)


def test_an_answer_is_kept_for_its_time() -> None:
    tested, good = answers(), active()
    tested.add(b"good", good, NOW)
    tested.add(b"bad", REFUSED, NOW)
    assert tested.find(b"other", NOW) is None
    for after, found, refused in (
        (0.0, good, REFUSED),
        (KEEP_REFUSED - 0.1, good, REFUSED),
        (KEEP_REFUSED, good, None),
        (KEEP - 0.1, good, None),
        (KEEP, None, None),
    ):
        assert tested.find(b"good", NOW + after) is found
        assert tested.find(b"bad", NOW + after) is refused


@given(life=st.floats(0.1, 100.0), after=st.floats(0.0, 200.0), leeway=st.integers(0, 300))
def test_a_good_answer_never_outlives_the_token(life: float, after: float, leeway: int) -> None:
    """RFC 7662 section 4: nor in the leeway that its issuer may have."""
    tested = answers()
    tested.add(b"a", active(NOW + life, expiry_leeway=leeway), NOW)
    assert (tested.find(b"a", NOW + after) is not None) is (
        NOW + after < min(NOW + life, NOW + KEEP)
    )


def test_a_clock_that_steps_back_keeps_no_answer_longer() -> None:
    tested = answers()
    tested.add(b"a", active(), NOW)
    assert tested.find(b"a", NOW - 1) is None


def test_the_last_answer_counts() -> None:
    tested, good = answers(), active()
    tested.add(b"a", good, NOW)
    tested.add(b"a", REFUSED, NOW + 1)
    assert tested.find(b"a", NOW + 1) is REFUSED
    assert not tested.knows(b"a")
    tested.add(b"a", good, NOW + 2)
    assert tested.find(b"a", NOW + 2) is good
    assert (tested.active, tested.refused) == (1, 0)


def test_a_storm_of_bad_tokens_pushes_no_good_one_out() -> None:
    tested = answers(max_active=3, max_refused=2)
    for number in range(3):
        tested.add(b"good%d" % number, active(), NOW)
    for number in range(100):
        tested.add(b"bad%d" % number, REFUSED, NOW)
    assert (tested.active, tested.refused) == (3, 2)
    assert all(tested.find(b"good%d" % number, NOW) for number in range(3))
    assert tested.find(b"bad97", NOW) is None
    assert tested.find(b"bad98", NOW) is REFUSED


def test_the_least_recently_used_goes_first() -> None:
    tested = answers(max_active=2)
    for name in (b"a", b"b"):
        tested.add(name, active(), NOW)
    tested.find(b"a", NOW)
    tested.add(b"c", active(), NOW)
    assert [tested.knows(name) for name in (b"a", b"b", b"c")] == [True, False, True]


def test_a_good_token_is_known_after_its_answer_has_aged() -> None:
    tested = answers()
    tested.add(b"a", active(), NOW)
    assert tested.find(b"a", NOW + KEEP) is None
    assert tested.knows(b"a")


def test_nothing_is_kept_where_nothing_is_to_be() -> None:
    tested = Answers(keep_active=0.0, keep_refused=0.0)
    tested.add(b"a", active(), NOW)
    tested.add(b"b", REFUSED, NOW)
    assert tested.find(b"a", NOW) is None
    assert tested.find(b"b", NOW) is None
