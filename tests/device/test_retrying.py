# SPDX-License-Identifier: Apache-2.0
"""How long is waited after a failure: never nothing, ever longer, and as the server says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfob.device.retrying import REFUSED_AGAIN, again, wait_after
from keyfob.errors import ConfigError, KeyfobError, TokenRequestError, TokenUnavailableError

AWAY = TokenUnavailableError("away")
REFUSED = TokenRequestError("refused", error="invalid_client", status=401)

counts = st.integers(1, 10_000)
chances = st.floats(0, 1)
lifetimes = st.just(0.0) | st.floats(1, 1e8)


@given(counts, chances, lifetimes)
def test_a_wait_is_at_least_a_tenth_of_a_second_and_at_most_five_minutes(
    count: int, chance: float, lifetime: float
) -> None:
    assert 0.1 <= wait_after(AWAY, count=count, lifetime=lifetime, chance=chance) <= 300


@given(counts, chances, lifetimes)
def test_waits_grow_with_the_failures(count: int, chance: float, lifetime: float) -> None:
    one = wait_after(AWAY, count=count, lifetime=lifetime, chance=chance)
    assert wait_after(AWAY, count=count + 1, lifetime=lifetime, chance=chance) >= one


@given(st.floats(1, 60), chances)
def test_a_short_life_has_short_pauses(lifetime: float, chance: float) -> None:
    longest = wait_after(AWAY, count=1_000, lifetime=lifetime, chance=chance)
    assert longest <= max(5, lifetime / 4)


@given(st.floats(0, 3600), counts, chances)
def test_what_the_server_says_is_the_least_and_its_crowd_is_spread(
    said: float, count: int, chance: float
) -> None:
    error = TokenUnavailableError("busy", retry_after=said)
    wait = wait_after(error, count=count, lifetime=0, chance=chance)
    assert wait >= max(said, 0.1)
    assert wait <= max(said * 1.25, 300)


@given(counts, chances, lifetimes)
def test_who_is_refused_asks_again_after_a_quarter_of_an_hour(
    count: int, chance: float, lifetime: float
) -> None:
    wait = wait_after(REFUSED, count=count, lifetime=lifetime, chance=chance)
    assert 0.75 * REFUSED_AGAIN <= wait <= 1.25 * REFUSED_AGAIN


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (AWAY, TokenUnavailableError),
        (REFUSED, TokenRequestError),
        (ConfigError("no"), TokenUnavailableError),
    ],
)
def test_an_error_made_anew_says_the_same_and_leads_nowhere(
    error: KeyfobError, kind: type[KeyfobError]
) -> None:
    error.__context__ = ValueError("secret")
    with pytest.raises(kind) as caught:
        raise again(error, retry_after=3)
    made = caught.value
    assert error.__context__ is not None
    assert type(made) is kind
    assert (made.message, made.code) == (error.message, error.code)
    assert (made.__context__, made.__cause__) == (None, None)
    if isinstance(error, TokenRequestError):
        assert isinstance(made, TokenRequestError)
        assert (made.error, made.status) == ("invalid_client", 401)
