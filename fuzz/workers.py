# SPDX-License-Identifier: Apache-2.0
"""A campaign cut into portions, which several processes work off.

A portion is so many inputs of one target from a seed of its own, so that what is drawn does not
depend on how many processes there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Final

from fuzz.campaign import Budget, Result, run
from fuzz.target import Target

__all__ = ["PORTION", "Portion", "portions", "shared_out", "work_off"]

PORTION: Final = 20_000  # inputs: some seconds of work, so that processes end together


@dataclass(frozen=True, slots=True, kw_only=True)
class Portion:
    """So many inputs of one target."""

    name: str
    budget: Budget
    seed: str


def shared_out(total: int, targets: Sequence[Target]) -> dict[str, int]:
    """Share a number of inputs out among targets, at least as many as asked for together."""
    shares = sum(target.share for target in targets)
    return {target.name: -(-total * target.share // shares) for target in targets}


def portions(name: str, inputs: int, seed: str) -> Iterator[Portion]:
    """Cut the inputs of a target up; the first portion's seed is the run's."""
    for number, start in enumerate(range(0, inputs, PORTION)):
        yield Portion(
            name=name,
            budget=Budget(inputs=min(PORTION, inputs - start)),
            seed=f"{seed}.{number}" if number else seed,
        )


def work_off(work: Sequence[Portion], targets: Sequence[Target], jobs: int) -> Iterator[Result]:
    """Run every portion, and tell of each when it and all before it are done.

    Args:
        work: The portions.
        targets: Where their targets are found, if one process does it all; others import theirs.
        jobs: How many processes.
    """
    if jobs == 1:
        by_name = {target.name: target for target in targets}
        for portion in work:
            yield run(by_name[portion.name], portion.budget, portion.seed)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        yield from pool.map(_work_off, work)


def _work_off(portion: Portion) -> Result:
    from fuzz.targets import TARGETS  # noqa: PLC0415 - in the process that needs them

    (target,) = (target for target in TARGETS if target.name == portion.name)
    return run(target, portion.budget, portion.seed)
