# SPDX-License-Identifier: Apache-2.0
"""What the operator is told about signing keys: each change, by every process that sees it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from keyfob.server.signing.timetable import StoredKey, Timetable

__all__ = ["KeyAudit", "KeyEvent", "differences", "ignore_keys"]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyEvent:
    """Something happened to a signing key.

    Args:
        at: When it was seen, in Unix seconds.
        what: ``published``: it came into the key set; ``signing``: it signs from now on;
            ``forgotten``: its last token has ended; ``withdrawn``: somebody removed it before;
            ``unreadable``: this process cannot decrypt it.
        kid: Which.
        algorithm: Its algorithm.
        signs_from: From when on it signs.
    """

    at: float
    what: Literal["published", "signing", "forgotten", "withdrawn", "unreadable"]
    kid: str
    algorithm: str
    signs_from: float


KeyAudit = Callable[[KeyEvent], None]
"""Takes each event, in the event loop: it must neither block nor raise."""


def ignore_keys(event: KeyEvent) -> None:
    """Be the sink of somebody who wants no audit."""


def differences(before: Timetable, after: Timetable, *, now: float) -> Iterator[KeyEvent]:
    """Say what happened between two looks at the keys."""
    known = {key.kid: key for key in (*before.published, *before.forgotten)}
    left = {key.kid: key for key in (*after.published, *after.forgotten)}
    gone = {key.kid for key in before.forgotten}
    for key in left.values():
        if key.kid not in known:
            yield _event("published", key, now)
    if after.signing.kid != before.signing.kid:
        yield _event("signing", after.signing, now)
    for key in after.forgotten:
        if key.kid not in gone:
            yield _event("forgotten", key, now)
    for key in known.values():
        if key.kid not in left and key.kid not in gone:
            yield _event("withdrawn", key, now)


def _event(
    what: Literal["published", "signing", "forgotten", "withdrawn"], key: StoredKey, now: float
) -> KeyEvent:
    return KeyEvent(
        at=now, what=what, kid=key.kid, algorithm=key.algorithm, signs_from=key.signs_from
    )
