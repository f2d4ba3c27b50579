# SPDX-License-Identifier: Apache-2.0
"""`make fuzz`: every target, or those that are named; a report, and an input for each failure."""

from __future__ import annotations

import argparse
import os
import secrets
import sys
from collections.abc import Sequence
from typing import Final

from fuzz.campaign import Budget, Failure, Result, examine
from fuzz.reduction import reduced
from fuzz.target import Target
from fuzz.targets import TARGETS
from fuzz.workers import Portion, portions, shared_out, work_off

__all__ = ["main"]

_TOTAL: Final = 5_000_000
_TOLD: Final = 500_000  # inputs between two signs of life
_COMMON: Final = 12  # outcomes told of each target


def main(arguments: Sequence[str] | None = None, targets: Sequence[Target] = TARGETS) -> int:
    """Fuzz, print, and return the exit status: 1 if an invariant was broken.

    Args:
        arguments: Those of the command line; None: this process's own.
        targets: What can be fuzzed; by several processes only ``TARGETS``.
    """
    by_name = {target.name: target for target in targets}
    parser = _parser(by_name)
    options = parser.parse_args(arguments)
    if strangers := set(options.target) - set(by_name):
        parser.error(f"no target is called {', '.join(sorted(strangers))}")
    wanted = [by_name[name] for name in options.target or by_name]
    if options.list:
        for target in wanted:
            print(f"{target.name}\n    {target.invariant}")
        return 0
    if options.input is not None:
        return _replay(wanted, options.input)
    seed = secrets.token_hex(4) if options.seed is None else options.seed
    jobs = options.jobs if targets is TARGETS else 1
    print(f"seed {seed}, {jobs} processes", flush=True)
    results = {target.name: Result(name=target.name) for target in wanted}
    done = 0
    for result in work_off(_work(wanted, options, seed), targets, jobs):
        results[result.name].add(result)
        done += result.inputs
        if done // _TOLD != (done - result.inputs) // _TOLD:
            print(f"{done:,} inputs", flush=True)
    for target in wanted:
        _reduce(target, results[target.name])
    _print_report(list(results.values()))
    return 1 if any(result.failures for result in results.values()) else 0


def _parser(by_name: dict[str, Target]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument(
        "target", nargs="*", help=f"one of {', '.join(by_name)}; all, if none is named"
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument(
        "--total", type=int, default=_TOTAL, help="inputs for all targets together (%(default)s)"
    )
    length.add_argument("--inputs", type=int, help="for each target")
    length.add_argument("--seconds", type=float, help="for all targets, one after the other")
    length.add_argument("--input", metavar="HEX", help="check one input; - reads it from stdin")
    length.add_argument("--list", action="store_true", help="print the targets' invariants")
    parser.add_argument("--seed", help="what was printed by the run to repeat")
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="processes (%(default)s)"
    )
    return parser


def _work(wanted: Sequence[Target], options: argparse.Namespace, seed: str) -> list[Portion]:
    """Cut up what was asked for; targets that take longest come first."""
    if options.seconds is not None:
        budget = Budget(seconds=options.seconds / len(wanted))
        return [Portion(name=target.name, budget=budget, seed=seed) for target in wanted]
    inputs = shared_out(options.total, wanted)
    if options.inputs is not None:
        inputs = dict.fromkeys(inputs, options.inputs)
    slowest_first = sorted(wanted, key=lambda target: target.share)
    return [
        portion
        for target in slowest_first
        for portion in portions(target.name, inputs[target.name], seed)
    ]


def _reduce(target: Target, result: Result) -> None:
    if result.failures:
        with target.open() as check:
            result.failures = [reduced(check, failure) for failure in result.failures]
    for failure in result.failures:
        _print_failure(target, failure)


def _replay(wanted: Sequence[Target], text: str) -> int:
    data = bytes.fromhex(sys.stdin.read() if text == "-" else text)
    status = 0
    for target in wanted:
        with target.open() as check:
            outcome = examine(check, data)
        if isinstance(outcome, Failure):
            _print_failure(target, outcome)
            status = 1
        else:
            print(f"{target.name}: {outcome}")
    return status


def _print_failure(target: Target, failure: Failure) -> None:
    print(f"\n{target.name} FAILED: {failure.story}")
    print(f"  broken: {target.invariant}")
    print(f"  again:  python -m fuzz {target.name} --input {failure.data.hex()}\n", flush=True)


def _print_report(results: Sequence[Result]) -> None:
    width = max(len(result.name) for result in results)
    print(f"{'target':<{width}} {'inputs':>10} {'inputs/s':>9} {'slowest':>9} {'failures':>8}")
    for result in results:
        print(_line(result, width))
        told = result.outcomes.most_common(_COMMON)
        rest = result.outcomes.total() - sum(number for _, number in told)
        outcomes = [f"{outcome} {number:,}" for outcome, number in told]
        if rest:
            outcomes.append(f"others {rest:,}")
        print(f"    {', '.join(outcomes)}")
    total = Result(name="total")
    for result in results:
        total.add(result)
    print(_line(total, width), flush=True)


def _line(result: Result, width: int) -> str:
    pace = result.inputs / result.seconds if result.seconds else 0
    return (
        f"{result.name:<{width}} {result.inputs:>10,} {pace:>9,.0f}"
        f" {result.slowest * 1000:>6.1f} ms {len(result.failures):>8}"
    )


if __name__ == "__main__":
    sys.exit(main())
