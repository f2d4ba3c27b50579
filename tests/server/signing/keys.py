# SPDX-License-Identifier: Apache-2.0
"""Timetables for the tests: keys that are only names and moments."""

from __future__ import annotations

from hypothesis import strategies as st

from keyfob.server.signing.timetable import StoredKey

NOW = 1_800_000_000.0
DAY = 86_400


def key(kid: str, signs_from: float, algorithm: str = "ES256") -> StoredKey:
    return StoredKey(
        kid=kid,
        algorithm=algorithm,
        private_key=b"",
        created_at=signs_from,
        signs_from=signs_from,
    )


moments = st.floats(NOW - 5 * DAY, NOW + 5 * DAY)


@st.composite
def stored_keys(draw: st.DrawFn) -> tuple[StoredKey, ...]:
    """One key or more, at any moments and in any order."""
    found = draw(
        st.lists(st.tuples(moments, st.sampled_from(["ES256", "EdDSA"])), min_size=1, max_size=8)
    )
    return tuple(key(f"k{place}", at, alg) for place, (at, alg) in enumerate(found))
