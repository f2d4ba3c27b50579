# SPDX-License-Identifier: Apache-2.0
"""Which key signs when, and which are published: a pure function of what is stored and the time.

A key is published first, signs from a moment on that is stored with it, until the next one's moment
comes, and stays published until the last token that it signed has ended. Every process of a
server reads the same moments from the database, so that all change at once and nobody is asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Final

from keyfob.errors import ConfigError
from keyfob.server.lifetimes import LONGEST_LIFE

__all__ = [
    "ALGORITHMS",
    "DEFAULT_ROTATION",
    "JWKS_MAX_AGE",
    "MAX_ANNOUNCEMENT",
    "MIN_ANNOUNCEMENT",
    "Change",
    "Rotation",
    "StoredKey",
    "Timetable",
    "emergency",
    "outdated",
    "planned",
    "reconfigured",
    "scheduled",
    "timetable",
]

ALGORITHMS: Final = ("ES256", "EdDSA", "RS256")
"""What a server signs with: the first by default, the others by choice."""

JWKS_MAX_AGE: Final = 300
"""How long whoever reads the key set may keep it (RFC 9111 section 5.2.2.1)."""

# A cache may have read the set just before a key came into it. The other half is for processes
# that see the new key a little later, clocks that differ, and readers whose first try fails.
MIN_ANNOUNCEMENT: Final = 2 * JWKS_MAX_AGE
MAX_ANNOUNCEMENT: Final = 7 * 86_400
_DAY: Final = 86_400
# Verifiers read a bounded number of keys: 64 in ours, fewer in others.
_MAX_PUBLISHED: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredKey:
    """A signing key as it is kept.

    Attributes:
        kid: Its RFC 7638 thumbprint.
        algorithm: Its only one.
        private_key: PKCS #8 in PEM, or what ``sealing`` made of it.
        created_at: When it was made, in Unix seconds.
        signs_from: From when on it signs; never changed afterwards.
    """

    kid: str
    algorithm: str
    private_key: bytes = field(repr=False)
    created_at: float
    signs_from: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Timetable:
    """What the keys are at one moment.

    Attributes:
        signing: Signs now.
        announced: Published, and will sign.
        retired: Have signed; published until their last token has certainly ended.
        forgotten: No token of theirs is left.
    """

    signing: StoredKey
    announced: tuple[StoredKey, ...]
    retired: tuple[StoredKey, ...]
    forgotten: tuple[StoredKey, ...]

    @property
    def published(self) -> tuple[StoredKey, ...]:
        """What the key set holds; the signing one first, for readers that look no further."""
        return (self.signing, *self.announced, *self.retired)

    @property
    def newest(self) -> StoredKey:
        """The key that signs last of all that there are."""
        return self.announced[-1] if self.announced else self.signing


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """How keys follow each other.

    Args:
        algorithm: What a new key is for; one of ``ALGORITHMS``.
        every_days: Days that a key signs; 0: until somebody rotates it.
        announcement: Seconds that a new key is published before it signs.

    Raises:
        ConfigError: A value is out of range.
    """

    algorithm: str = ALGORITHMS[0]
    every_days: int = 90
    announcement: int = MIN_ANNOUNCEMENT

    def __post_init__(self) -> None:
        if self.algorithm not in ALGORITHMS:
            raise ConfigError(
                f"tokens are signed with {', '.join(ALGORITHMS)}, not {self.algorithm!r}"
            )
        if self.every_days < 0:
            raise ConfigError("a signing key signs for a number of days, or 0 for no end")
        if not MIN_ANNOUNCEMENT <= self.announcement <= MAX_ANNOUNCEMENT:
            raise ConfigError(
                f"a key is announced {MIN_ANNOUNCEMENT} to {MAX_ANNOUNCEMENT} seconds before it"
                f" signs, not {self.announcement}"
            )


DEFAULT_ROTATION: Final = Rotation()


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A change of the keys that is wanted, and what it was decided on.

    Attributes:
        seen: Every key that there was; the change is made only where there are still these.
        signs_from: When a new key shall sign; None: none is wanted.
        remove: Keys that leave at the same time.
    """

    seen: frozenset[str]
    signs_from: float | None = None
    remove: frozenset[str] = frozenset()


def signing_key(keys: Sequence[StoredKey], now: float) -> StoredKey:
    """Return the key that signs at a moment, as ``timetable`` does.

    Args:
        keys: At least one, in any order.
        now: Unix seconds.
    """
    begun = [key for key in keys if key.signs_from <= now]
    # A clock that was set back: the first key signs, as it did first.
    return max(begun, key=_order) if begun else min(keys, key=_order)


def timetable(keys: Iterable[StoredKey], now: float) -> Timetable:
    """Say what each key is at a moment.

    Args:
        keys: At least one, in any order.
        now: Unix seconds.
    """
    ordered = sorted(keys, key=_order)
    begun = [key for key in ordered if key.signs_from <= now]
    if not begun:  # a clock that was set back: the first key signs, as it did first
        return Timetable(signing=ordered[0], announced=tuple(ordered[1:]), retired=(), forgotten=())
    retired: list[StoredKey] = []
    forgotten: list[StoredKey] = []
    for key, successor in pairwise(begun):
        gone = successor.signs_from + LONGEST_LIFE <= now
        (forgotten if gone else retired).append(key)
    return Timetable(
        signing=begun[-1],
        announced=tuple(ordered[len(begun) :]),
        retired=tuple(reversed(retired)),
        forgotten=tuple(forgotten),
    )


def planned(keys: Sequence[StoredKey], rotation: Rotation, now: float) -> Change | None:
    """Return the rotation that the schedule asks for now, if any.

    A server of which nobody ran for a while catches up with one.
    """
    if not keys:
        return Change(seen=frozenset(), signs_from=now)  # the first: nobody has a set without it
    if not rotation.every_days:
        return None
    due = timetable(keys, now).newest.signs_from + rotation.every_days * _DAY
    return scheduled(keys, rotation, now) if now >= due - rotation.announcement else None


def scheduled(keys: Sequence[StoredKey], rotation: Rotation, now: float) -> Change:
    """Return a rotation whose new key is announced before it signs, and signs last of all."""
    last = max(key.signs_from for key in keys)  # ahead of now where the clock was set back
    signs_from = max(now + rotation.announcement, last + 1)
    return _checked(Change(seen=_kids(keys), signs_from=signs_from), keys, now)


def reconfigured(keys: Sequence[StoredKey], rotation: Rotation, now: float) -> Change | None:
    """Return the rotation to the configured algorithm, where the newest key has another.

    What was announced for another algorithm and has not begun is withdrawn: whoever corrects a
    mistake in time does not want it to sign.
    """
    if not keys:
        return None
    announced = timetable(keys, now).announced
    withdrawn = _kids(key for key in announced if key.algorithm != rotation.algorithm)
    left = [key for key in keys if key.kid not in withdrawn]
    if timetable(left, now).newest.algorithm != rotation.algorithm:
        return replace(scheduled(left, rotation, now), seen=_kids(keys), remove=withdrawn)
    return Change(seen=_kids(keys), remove=withdrawn) if withdrawn else None


def outdated(keys: Sequence[StoredKey], now: float) -> Change | None:
    """Return the removal of the keys of which no token is left, if there are any."""
    forgotten = _kids(timetable(keys, now).forgotten) if keys else frozenset()
    return Change(seen=_kids(keys), remove=forgotten) if forgotten else None


def emergency(keys: Sequence[StoredKey], now: float) -> Change:
    """Return a rotation to a key that signs at once; what was announced is withdrawn.

    Whoever asks for it may do so because the database was read by others, and the keys that were
    announced are in it.

    Raises:
        ConfigError: The clock was set back so far that the key would not stay the signing one; or
            too many keys are published.
    """
    if keys and now < min(key.signs_from for key in keys):
        raise ConfigError("the clock is behind the time at which the first key signed; set it")
    announced = timetable(keys, now).announced if keys else ()
    return _checked(Change(seen=_kids(keys), signs_from=now, remove=_kids(announced)), keys, now)


def _checked(change: Change, keys: Sequence[StoredKey], now: float) -> Change:
    if keys and len(timetable(keys, now).published) - len(change.remove) >= _MAX_PUBLISHED:
        raise ConfigError(
            f"{_MAX_PUBLISHED} keys are published already, and verifiers read no endless sets; "
            "`keyfob key list` shows when the first is forgotten"
        )
    return change


def _kids(keys: Iterable[StoredKey]) -> frozenset[str]:
    return frozenset(key.kid for key in keys)


def _order(key: StoredKey) -> tuple[float, str]:
    return (key.signs_from, key.kid)
