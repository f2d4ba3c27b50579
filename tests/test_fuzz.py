# SPDX-License-Identifier: Apache-2.0
"""The short form of `make fuzz`, and that the fuzzer finds what is there to be found."""

from __future__ import annotations

import math
import re
import secrets

import pytest

from fuzz.__main__ import main
from fuzz.campaign import Budget, Result, run
from fuzz.chance import Chance
from fuzz.target import Target, demand
from fuzz.targets import TARGETS
from fuzz.targets.strict_json import TARGET as STRICT_JSON
from fuzz.workers import portions, shared_out

INPUTS = 1_000
RANDOM_SEED = secrets.token_hex(4)

every_target = pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)


def fuzzed(target: Target, seed: str) -> Result:
    """Fuzz a little; how long an input takes is for `make fuzz` to judge."""
    result = run(target, Budget(inputs=INPUTS), seed, slow=math.inf)
    shown = [f"{failure.story}\n  --input {failure.data.hex()}" for failure in result.failures]
    assert not shown, "\n".join([f"python -m fuzz {target.name} --seed {seed}", *shown])
    return result


@every_target
def test_no_input_of_the_known_seed_breaks_an_invariant(target: Target) -> None:
    """And the inputs are neither all accepted nor all refused alike."""
    assert len(fuzzed(target, "0").outcomes) > 1


@every_target
def test_no_input_of_a_new_seed_breaks_an_invariant(target: Target) -> None:
    print(f"seed {RANDOM_SEED}")
    fuzzed(target, RANDOM_SEED)


@every_target
def test_a_seed_tells_every_input(target: Target) -> None:
    one, same, other = (Chance(seed) for seed in ("a", "a", "b"))
    drawn = [target.make(one) for _ in range(20)]
    assert drawn == [target.make(same) for _ in range(20)]
    assert drawn != [target.make(other) for _ in range(20)]


def test_a_broken_parser_is_found_shown_and_fails_again_on_the_shown_input(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def check(data: bytes) -> str:
        demand(b"[[" not in data, "two brackets")
        return "fine"

    broken = Target.of("broken", "It is broken.", STRICT_JSON.make, check)
    assert main(["--inputs", "2000", "--seed", "0"], [broken]) == 1
    shown = re.search(r"--input ([0-9a-f]+)", capsys.readouterr().out)
    assert shown is not None
    assert bytes.fromhex(shown[1]) == b"[["
    assert main(["broken", "--input", shown[1]], [broken]) == 1
    assert main(["broken", "--input", "5b"], [broken]) == 0


def test_the_inputs_of_a_run_do_not_depend_on_how_many_processes_draw_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    told = []
    for jobs in ("1", "2"):
        assert main(["scopes", "http-basic", "--inputs", "300", "--seed", "0", "--jobs", jobs]) == 0
        told.append(re.findall(r"^    (.*)$", capsys.readouterr().out, re.MULTILINE))
    assert told[0] == told[1]
    assert len(told[0]) == 2


@pytest.mark.parametrize("total", [1, 1_000, 5_000_000])
def test_a_total_is_shared_out_whole_and_cut_into_portions_of_seeds_of_their_own(
    total: int,
) -> None:
    shared = shared_out(total, TARGETS)
    assert set(shared) == {target.name for target in TARGETS}
    assert total <= sum(shared.values()) < total + len(TARGETS)
    for name, inputs in shared.items():
        cut = list(portions(name, inputs, "s"))
        assert sum(portion.budget.inputs or 0 for portion in cut) == inputs
        assert len({portion.seed for portion in cut}) == len(cut)
        assert cut[0].seed == "s"


def test_a_failure_that_several_portions_find_is_told_once() -> None:
    raising = Target.of("raising", "It raises.", STRICT_JSON.make, lambda data: str(data[10**6]))
    first, second = (run(raising, Budget(inputs=20), seed) for seed in "ab")
    first.add(second)
    assert (first.inputs, len(first.failures)) == (40, 1)


def test_an_error_that_a_parser_must_not_raise_is_a_failure() -> None:
    raising = Target.of("raising", "It raises.", STRICT_JSON.make, lambda data: str(data[10**6]))
    result = run(raising, Budget(inputs=20), "0")
    assert [failure.kind.split()[0] for failure in result.failures] == ["IndexError"]
    assert result.inputs == 20


def test_an_input_that_costs_too_much_is_a_failure() -> None:
    result = run(STRICT_JSON, Budget(inputs=20), "0", slow=-1.0)
    assert [failure.kind for failure in result.failures] == ["slow"]
