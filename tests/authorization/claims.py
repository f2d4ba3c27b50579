# SPDX-License-Identifier: Apache-2.0
"""Claims of tokens that somebody else has verified."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from keyfob.errors import KeyfobError
from keyfob.tokens.claims import Claims

WORDS = (
    *("type", "mqtt", "rabbitmq", "locations", "actions", "topics", "publish", "subscribe"),
    *("permission", "action", "topic", "qos", "retain", "allow", "deny", "all", "pub", "sub"),
    *("username", "client_attrs", "acl", "${clientid}", "W10", "W1tdXQ", "t/#", "a#", "eq a/#"),
    *("$share/g/a", "cluster:rabbitmq", "cluster:*/vhost:/", "rabbitmq.read:*/*/*", "read"),
    *("rabbitmq.write:{sub}/%2F/a.*", "{a}"),
)

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 5)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=6)
    | st.sampled_from(WORDS),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=3), inner, max_size=6)
    ),
    max_leaves=12,
)


READABLE_OR_REFUSED = ("", "permissions_invalid", "too_many_rules")
"""All that reading rights may end in; see ``code_of``."""


def code_of(read: Callable[[], object]) -> str:
    """Return the code of the KeyfobError that ``read`` ends in, or nothing."""
    try:
        read()
    except KeyfobError as error:
        return error.code
    return ""


def claims_of(**members: Any) -> Claims:
    return Claims.parse({"iss": "https://as.example", "aud": "mqtt", "exp": 1} | members)
