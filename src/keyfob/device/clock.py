# SPDX-License-Identifier: Apache-2.0
"""How old a token is, on a machine whose clock may step and which may sleep.

A device measures the age of its token itself: it knows when it asked, and ``expires_in`` says how
long the answer is good for (RFC 6749 section 5.1). So the clocks of device and server need not
agree. The age is read from a clock that nobody sets. Linux has one that goes on while the machine
sleeps, and is the same for all processes until the next boot; elsewhere, and after a boot, the
wall clock has to help.
"""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["STEP", "Clock", "Moment", "age", "stepped", "system_clock"]

STEP: Final = 30.0
"""Seconds by which two clocks may drift apart before one of them must have been set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One moment on two clocks.

    Attributes:
        boot: Which run of the machine ``elapsed`` belongs to, or of the process, where that is all
            that is known.
        elapsed: Seconds on a clock that nobody sets.
        wall: Unix seconds, as the machine believes.
        sleepless: Whether ``elapsed`` went on while the machine slept.
    """

    boot: str
    elapsed: float
    wall: float
    sleepless: bool = True


Clock = Callable[[], Moment]
"""Tells the present moment."""


def age(then: Moment, now: Moment) -> float:
    """Tell how many seconds have passed between two moments, rather too many than too few.

    Returns:
        At least 0; infinity where it cannot be known.
    """
    elapsed, wall = now.elapsed - then.elapsed, now.wall - then.wall
    if then.boot != now.boot or elapsed < 0:
        return wall if wall >= 0 else math.inf
    return elapsed if now.sleepless else max(elapsed, wall)


def stepped(then: Moment, now: Moment) -> bool:
    """Tell whether a clock was set between two moments, or stood still while the machine slept.

    What was decided by either clock is then to be looked at again. Across a boot there is nothing
    to compare.
    """
    if then.boot != now.boot:
        return False
    return abs((now.wall - then.wall) - (now.elapsed - then.elapsed)) > STEP


def system_clock() -> Clock:
    """Return the clock of this machine."""
    boot = _boot_id()
    if boot:
        return lambda: Moment(
            boot=boot, elapsed=time.clock_gettime(time.CLOCK_BOOTTIME), wall=time.time()
        )
    alone = f"process {secrets.token_hex(8)}"
    return lambda: Moment(boot=alone, elapsed=time.monotonic(), wall=time.time(), sleepless=False)


def _boot_id() -> str:
    if not hasattr(time, "CLOCK_BOOTTIME"):
        return ""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
