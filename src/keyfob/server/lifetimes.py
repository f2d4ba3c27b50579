# SPDX-License-Identifier: Apache-2.0
"""How long tokens may live, and how long a revocation has to be remembered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from keyfob.errors import ConfigError

__all__ = [
    "DEFAULT_LIFETIME",
    "LONGEST_LIFE",
    "MAX_LIFETIME",
    "MAX_REFRESH_LIFETIME",
    "MIN_LIFETIME",
    "RefreshLifetimes",
    "check_lifetime",
    "revocation_until",
    "token_revocation_until",
]

DEFAULT_LIFETIME: Final = 3600
MIN_LIFETIME: Final = 1
# A day: a device that is offline longer asks anew anyway, and a revocation is kept this long.
MAX_LIFETIME: Final = 86_400
# Resource servers may allow ``exp`` some leeway, and clocks differ: a revocation that were
# forgotten exactly at the token's end would let it live again for that long.
_SLACK: Final = 600
LONGEST_LIFE: Final = MAX_LIFETIME + _SLACK
"""Seconds after which a token has certainly ended, whatever it was issued with."""

# A year: a login that nobody repeats for longer is one that nobody remembers.
MAX_REFRESH_LIFETIME: Final = 31_536_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshLifetimes:
    """How long a family of refresh tokens lives, in seconds; whichever comes first.

    Args:
        total: From the login, however often it is used.
        idle: From one use to the next.

    Raises:
        ConfigError: One is shorter than a second or longer than ``MAX_REFRESH_LIFETIME``.
    """

    total: int = 90 * 86_400
    idle: int = 14 * 86_400

    def __post_init__(self) -> None:
        for seconds in (self.total, self.idle):
            if not MIN_LIFETIME <= seconds <= MAX_REFRESH_LIFETIME:
                raise ConfigError(
                    f"a refresh token lives between {MIN_LIFETIME} and {MAX_REFRESH_LIFETIME} "
                    f"seconds, not {seconds}"
                )


def check_lifetime(seconds: int) -> None:
    """Refuse a token lifetime outside the bounds.

    Raises:
        ConfigError: It is shorter than a second or longer than ``MAX_LIFETIME``.
    """
    if not MIN_LIFETIME <= seconds <= MAX_LIFETIME:
        raise ConfigError(
            f"a token lives between {MIN_LIFETIME} and {MAX_LIFETIME} seconds, not {seconds}"
        )


def revocation_until(issued_before: int) -> int:
    """Return when the last token that a revocation concerns has certainly ended.

    Args:
        issued_before: The newest ``iat`` that the revocation concerns. Whatever says how long
            tokens live may have said more when one was issued: the ceiling counts.
    """
    return issued_before + LONGEST_LIFE


def token_revocation_until(expires_at: int) -> int:
    """Return when a token has certainly ended whose ``exp`` is this."""
    return expires_at + _SLACK
