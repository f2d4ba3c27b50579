# SPDX-License-Identifier: Apache-2.0
"""What is left of granted scopes once less is registered."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from keyfob.server.oauth_errors import OAuthError
from keyfob.server.scopes import narrowed, still_registered

scopes = st.lists(
    st.sampled_from(
        [
            "mqtt.connect",
            "mqtt.publish:#",
            "mqtt.publish:a/#",
            "mqtt.publish:a/b",
            "mqtt.subscribe:a/b",
            "billing",
            "mqtt.publish:%zz",
        ]
    ),
    unique=True,
).map(tuple)


@given(scopes, scopes)
def test_what_is_left_was_granted_and_may_be_asked_for_and_nothing_more_may(
    registered: tuple[str, ...], granted: tuple[str, ...]
) -> None:
    left = still_registered(registered, granted)
    assert left == tuple(scope for scope in granted if scope in left)
    for scope in granted:
        assert (scope in left) == allowed(registered, scope)


def allowed(registered: tuple[str, ...], scope: str) -> bool:
    try:
        return narrowed(registered, scope) == (scope,)
    except OAuthError:
        return False
