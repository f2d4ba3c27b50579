# SPDX-License-Identifier: Apache-2.0
"""`make fuzz`: every target, or the ones that are named; a table, and an input for each failure."""

from __future__ import annotations

import argparse
import secrets
import sys
from collections.abc import Sequence
from typing import Final

from fuzz.campaign import Budget, Failure, Result, examine, run
from fuzz.reduction import reduced
from fuzz.target import Target
from fuzz.targets import TARGETS

__all__ = ["main"]

_SECONDS: Final = 240.0


def main(arguments: Sequence[str] | None = None, targets: Sequence[Target] = TARGETS) -> int:
    """Fuzz, print, and return the exit status: 1 if an invariant was broken.

    Args:
        arguments: Those of the command line; None: this process's own.
        targets: What can be fuzzed.
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
    print(f"seed {seed}", flush=True)
    budget = Budget(inputs=options.inputs)
    if options.inputs is None:
        budget = Budget(seconds=options.seconds / len(wanted))
    results = [_run(target, budget, seed) for target in wanted]
    _print_table(results)
    return 1 if any(result.failures for result in results) else 0


def _parser(by_name: dict[str, Target]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument(
        "target", nargs="*", help=f"one of {', '.join(by_name)}; all, if none is named"
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument(
        "--seconds", type=float, default=_SECONDS, help="for all targets together (%(default).0f)"
    )
    length.add_argument("--inputs", type=int, help="for each target")
    length.add_argument("--input", metavar="HEX", help="check one input; - reads it from stdin")
    length.add_argument("--list", action="store_true", help="print the targets' invariants")
    parser.add_argument("--seed", help="what was printed by the run to repeat")
    return parser


def _run(target: Target, budget: Budget, seed: str) -> Result:
    result = run(target, budget, seed)
    if result.failures:
        with target.open() as check:
            result.failures = [reduced(check, failure) for failure in result.failures]
    for failure in result.failures:
        _print_failure(target, failure)
    return result


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


def _print_table(results: Sequence[Result]) -> None:
    width = max(len(result.target.name) for result in results)
    print(f"{'target':<{width}} {'inputs':>10} {'inputs/s':>9} {'slowest':>9} {'failures':>8}")
    for result in results:
        pace = result.inputs / result.seconds if result.seconds else 0
        print(
            f"{result.target.name:<{width}} {result.inputs:>10,} {pace:>9,.0f}"
            f" {result.slowest * 1000:>6.1f} ms {len(result.failures):>8}"
        )


if __name__ == "__main__":
    sys.exit(main())
