# SPDX-License-Identifier: Apache-2.0
"""One target under fire: draw an input, check it, count, and remember what failed.

An input fails if checking it raises, or if it costs more processor time than the guard has for a
CONNECT: an input that anybody may send must not stall everybody else.
"""

from __future__ import annotations

import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from fuzz.chance import Chance
from fuzz.target import Check, Target

__all__ = ["SLOW", "Budget", "Failure", "Result", "examine", "run"]

SLOW: Final = 0.2
"""Seconds of processor time: ``guard_timeout_ms`` of the plugin, by default."""

_ENOUGH: Final = 5  # different failures of one target say enough
_DEMAND: Final = Path(__file__).with_name("target.py")
_HOUSE: Final = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Budget:
    """When to stop: after so many seconds, or after so many inputs."""

    seconds: float | None = None
    inputs: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An input that breaks a target's invariant.

    Attributes:
        data: The input.
        kind: What tells this failure from others: the error and where it was raised.
        story: What happened, for people.
    """

    data: bytes = field(repr=False)
    kind: str
    story: str


@dataclass(slots=True, kw_only=True)
class Result:
    """What a run of one target came to."""

    name: str
    inputs: int = 0
    seconds: float = 0.0
    slowest: float = 0.0
    outcomes: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)

    def add(self, other: Result) -> None:
        """Take another run of the same target in."""
        self.inputs += other.inputs
        self.seconds += other.seconds
        self.slowest = max(self.slowest, other.slowest)
        self.outcomes += other.outcomes
        known = {failure.kind for failure in self.failures}
        self.failures += [failure for failure in other.failures if failure.kind not in known]


def run(target: Target, budget: Budget, seed: str, *, slow: float = SLOW) -> Result:
    """Fuzz one target.

    Args:
        target: What.
        budget: How long.
        seed: Of this run; the target's name is mixed in, so that a target draws the same inputs
            whichever others are run with it.
        slow: Seconds of processor time that one input may cost.
    """
    chance = Chance(f"{seed}/{target.name}")
    result = Result(name=target.name)
    known: set[str] = set()
    with target.open() as check:
        began = time.monotonic()
        for _ in _inputs(budget):
            data = target.make(chance)
            before = time.thread_time()
            outcome = examine(check, data)
            cost = time.thread_time() - before
            if cost > slow and not isinstance(outcome, Failure):
                outcome = _too_slow(data, cost)
            result.inputs += 1
            result.slowest = max(result.slowest, cost)
            if isinstance(outcome, str):
                result.outcomes[outcome] += 1
            elif outcome.kind not in known:
                known.add(outcome.kind)
                result.failures.append(outcome)
                if len(known) == _ENOUGH:
                    break
        result.seconds = time.monotonic() - began
    return result


def examine(check: Check, data: bytes) -> str | Failure:
    """Check one input; return what came of it, or how it failed."""
    try:
        return check(data)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what is looked for
        kind = f"{type(error).__name__} {_place(error)}"
        return Failure(data=data, kind=kind, story=f"{kind}: {error}"[:2_000])


def _place(error: Exception) -> str:
    """Say which line of ours an error comes from: libraries raise one fault in many places."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if path.is_relative_to(_HOUSE) and path != _DEMAND and "site-packages" not in path.parts:
            return f"in {frame.name}, line {frame.lineno} of {path.relative_to(_HOUSE)}"
    return "in nothing of ours"


def _inputs(budget: Budget) -> Iterator[int]:
    if budget.inputs is not None:
        yield from range(budget.inputs)
        return
    ends = time.monotonic() + (budget.seconds or 0.0)
    number = 0
    while time.monotonic() < ends:
        yield number
        number += 1


def _too_slow(data: bytes, cost: float) -> Failure:
    story = f"{cost:.2f} s of processor time for an input of {len(data)} bytes"
    return Failure(data=data, kind="slow", story=story)
