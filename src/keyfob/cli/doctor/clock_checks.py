# SPDX-License-Identifier: Apache-2.0
"""How far this machine's clock is from the authorization server's, and how sure that is.

An answer's ``Date`` (RFC 9110 section 6.6.1) says when it was made, to the second; it was made
between the question's leaving and the answer's coming. So each answer says that the server's clock
is ahead by something within a span, and several together say it more narrowly. Servers keep the
line for up to a second (uvicorn and nginx write it anew once a second), so the span is as wide.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

from keyfob.cli.doctor.finding import Finding, Section, Severity

__all__ = ["LEEWAY", "SLIGHT", "Sample", "Skew", "check_clock", "sample_of", "skew_of"]

WIDTH: Final = 2.0
"""Seconds that a ``Date`` may be older than the moment at which its answer was made."""

LEEWAY: Final = 60.0
"""Seconds that Keyfob's guard lets ``iat`` and ``nbf`` lie ahead, and an assertion lives."""

SLIGHT: Final = 5.0
"""Seconds by which machines with NTP do not differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What one answer says about the server's clock.

    Attributes:
        least: Seconds by which it is ahead of ours, at least.
        most: At most.
    """

    least: float
    most: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Skew:
    """What all answers say: the server's clock is ahead of ours by this many seconds.

    Attributes:
        least: At least.
        most: At most.
        samples: How many answers say so.
    """

    least: float
    most: float
    samples: int

    @property
    def middle(self) -> float:
        """The best guess."""
        return (self.least + self.most) / 2

    @property
    def uncertainty(self) -> float:
        """Seconds by which the guess may be wrong, either way."""
        return (self.most - self.least) / 2

    @property
    def certain(self) -> float:
        """Seconds by which the clocks differ whatever the uncertainty is; 0: they may agree."""
        return max(self.least, -self.most, 0.0)


def sample_of(headers: Mapping[str, str], sent: float, received: float) -> Sample | None:
    """Read an answer's date; None: it has none, or comes out of a cache (RFC 9111 section 5.1).

    Args:
        headers: The header fields, by their names in lower case.
        sent: When the question was sent, in Unix seconds by this machine's clock.
        received: When the answer was there.
    """
    if headers.get("age", "0").strip() != "0":
        return None
    try:
        date = parsedate_to_datetime(headers.get("date", ""))
    except (TypeError, ValueError, OverflowError):
        return None
    at = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    return Sample(least=at - received, most=at + WIDTH - sent)


def skew_of(samples: Iterable[Sample]) -> Skew | None:
    """Put answers together; None: there are none, or they contradict each other."""
    given = list(samples)
    if not given:
        return None
    least, most = max(one.least for one in given), min(one.most for one in given)
    return Skew(least=least, most=most, samples=len(given)) if least <= most else None


def check_clock(samples: Iterable[Sample]) -> Section:
    """Say what comes of this machine's clock."""
    given = list(samples)
    skew = skew_of(given)
    if skew is None:
        why = "their dates contradict each other" if given else "no answer says when it was made"
        unknown = Finding(
            "clock_unknown",
            f"the server's clock cannot be told: {why}",
            "compare this machine's clock by hand, and let NTP set it",
            severity=Severity.NOTE,
        )
        return Section(findings=(unknown,))
    facts = {"clock": told(skew), "clock_skew": _members(skew)}
    if skew.certain <= SLIGHT:
        return Section(facts=facts)
    bad = skew.certain > LEEWAY
    way = "behind" if skew.middle > 0 else "ahead"
    what = f"this machine's clock is {abs(skew.middle):.0f} s {way} of the authorization server's"
    comes = (
        "private_key_jwt and DPoP proofs are refused, a device that reads exp itself is wrong, and"
        " certificates may count as expired"
        if bad
        else f"at {LEEWAY:.0f} s proofs are refused"
    )
    found = Finding(
        "clock_off" if bad else "clock_drifts",
        f"{what}: {comes}",
        "set the clock, and keep it set by NTP (on Linux: timedatectl set-ntp true)",
        severity=Severity.WRONG if bad else Severity.NOTE,
    )
    return Section(facts=facts, findings=(found,))


def told(skew: Skew) -> str:
    """Return it in words."""
    sure = f"give or take {skew.uncertainty:.1f} s, from {skew.samples} answers"
    if skew.certain == 0:
        return f"agrees with the server's, {sure}"
    way = "behind" if skew.middle > 0 else "ahead of"
    return f"{abs(skew.middle):.1f} s {way} the server's, {sure}"


def _members(skew: Skew) -> dict[str, object]:
    return {
        "seconds": round(skew.middle, 3),
        "uncertainty": round(skew.uncertainty, 3),
        "answers": skew.samples,
    }
