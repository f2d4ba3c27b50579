# SPDX-License-Identifier: Apache-2.0
"""A template of rights that is compiled once gives what registering a device by itself gives."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfob.errors import ConfigError, TopicError
from keyfob.server.scopes import device_scopes
from keyfob.server.templates import compiled

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._~-]{0,30}", fullmatch=True)
LEVELS = st.sampled_from(["a", "{device}", "{sub}", "x{device}y", "+", "ü b", "%", '"', "\\", ""])
FILTERS = st.lists(LEVELS, min_size=1, max_size=4).map("/".join).filter(bool)
TEMPLATES = FILTERS | FILTERS.map("{}/#".format) | FILTERS.map("$share/{{device}}/{}".format)
SCOPES = st.sampled_from(["own", "{device}", "mqtt.publish:a/{device}", "two words"])


@given(NAMES, st.lists(FILTERS, max_size=3), st.lists(TEMPLATES, max_size=3), st.lists(SCOPES))
def test_compiled_and_filled_is_the_same_as_expanded(
    name: str, publish: list[str], subscribe: list[str], extra: list[str]
) -> None:
    """Scopes as they are stay as they are, also where they hold braces."""
    wanted = device_scopes(name, publish=publish, subscribe=subscribe, extra=extra)
    made = compiled(tuple(publish), tuple(subscribe), tuple(extra)).scopes_of(name)
    assert made == wanted


@pytest.mark.parametrize("text", ["", "a/#/b", "{claim:x}/a", "{client_id}", "{device", "a}"])
def test_what_is_no_template_is_refused(text: str) -> None:
    with pytest.raises(TopicError):
        compiled((text,))
    with pytest.raises(TopicError):
        compiled((), (text,))


@pytest.mark.parametrize("scope", ["keyfob.revocations", 'a"b', "ä"])
def test_reserved_scopes_are_refused(scope: str) -> None:
    with pytest.raises(ConfigError):
        compiled((), (), (scope,))
