# SPDX-License-Identifier: Apache-2.0
"""The plugin's parsers under libFuzzer, AddressSanitizer and UBSan, with the vectors to begin from.

    python -m fuzz.libfuzzer [--seconds 120 | --runs N] [TARGET ...]

What makes one fail is written to ``crash-*`` in the current folder; the target's own program, told
that file's name, shows it again.
"""

from __future__ import annotations

import argparse
import json
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

__all__ = ["TARGETS", "Run", "compile_target", "main", "missing", "run_target", "seeds"]

TARGETS: Final = ("frames", "topics", "permissions")

_HOUSE: Final = Path(__file__).parents[1]
_NATIVE: Final = Path(__file__).with_name("native")
_PLUGIN: Final = _HOUSE / "src/keyfob/brokers/mosquitto/plugin"
_PARTS: Final = ("text", "topic", "buffer", "wire*", "permissions", "rule_index", "record")
_OPERATIONS: Final = {"publish": 1, "subscribe": 2}
_LONGEST: Final = 4096  # bytes of an input: many small ones find more than few long ones


@dataclass(frozen=True, slots=True)
class Run:
    """How one target fared: whether it held, and what libFuzzer said."""

    target: str
    held: bool
    output: str

    @property
    def inputs(self) -> int:
        """How many inputs it was given."""
        words = self.output.partition("stat::number_of_executed_units:")[2].split()
        return int(words[0]) if words else 0


def missing() -> str | None:
    """Return what is lacking to fuzz with, None where all is there."""
    if shutil.which("clang") is None:
        return "clang is not installed (on Debian: apt install clang libclang-rt-dev)"
    with tempfile.TemporaryDirectory() as folder:
        empty = "int LLVMFuzzerTestOneInput(const char *d, long n) { return !d && n; }"
        command = ["clang", "-fsanitize=fuzzer,address", "-xc", "-", "-o", f"{folder}/probe"]
        tried = subprocess.run(command, input=empty.encode(), capture_output=True, check=False)
    return None if tried.returncode == 0 else "clang lacks libFuzzer (apt install libclang-rt-dev)"


def compile_target(target: str, program: Path) -> None:
    """Compile a target; permissions.c with an index over any number of rules."""
    sources = [_NATIVE / f"{target}_fuzzer.c"]
    sources += [path for part in _PARTS for path in sorted(_PLUGIN.glob(f"{part}.c"))]
    sources += [_NATIVE / "permissions_linear.c"] if target == "permissions" else []
    command = ["clang", "-std=c11", "-D_GNU_SOURCE", "-O1", "-g", "-Wall", "-Wextra", "-Werror"]
    command += ["-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all"]
    command += [f"-I{_PLUGIN}", f"-I{_NATIVE}", "-DRULE_INDEX_FROM=1"]
    subprocess.run([*command, *map(str, sources), "-o", str(program)], check=True)


def seeds(target: str) -> Iterator[bytes]:
    """Make inputs of the vectors."""
    if target == "frames":
        for vector in _vectors("wire")["frames"]:
            data = _wire_bytes(vector["hex"])
            if len(data) <= _LONGEST:
                yield data
    elif target == "topics":
        topics = _vectors("topics")
        for vector in [*topics["covers"], *topics["overlaps"]]:
            one, two = list(vector.values())[:2]
            yield _told(one) + _told(two) + b"a/b"
        for vector in topics["matches"]:
            yield _told(vector["filter"]) * 2 + vector["name"].encode()
    else:
        for case in _vectors("permissions")["cases"]:
            rules = _permissions(case)
            for check in case["checks"]:
                how = check["qos"] & 3 | check["retain"] << 2
                yield bytes([how]) + _told(check["topic"]) + rules


def run_target(target: str, folder: Path, limits: Sequence[str]) -> Run:
    """Compile a target and run it from the vectors on.

    Args:
        target: One of ``TARGETS``.
        folder: Where its program and its corpus go.
        limits: libFuzzer's options that end the run, such as ``-runs=1000``.
    """
    program, corpus = folder / target, folder / f"{target}.corpus"
    compile_target(target, program)
    corpus.mkdir()
    for number, data in enumerate(seeds(target)):
        (corpus / f"{number:04}").write_bytes(data)
    command = [str(program), *limits, f"-max_len={_LONGEST}", "-print_final_stats=1"]
    done = subprocess.run(
        [*command, "-timeout=5", "-verbosity=0", str(corpus)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        check=False,
    )
    return Run(target, done.returncode == 0, done.stderr)


def main(arguments: Sequence[str] | None = None) -> int:
    """Fuzz, print, and return the exit status: 1 if a target failed, or if nothing could be run."""
    parser = argparse.ArgumentParser(prog="python -m fuzz.libfuzzer")
    parser.add_argument("target", nargs="*", choices=[*TARGETS, []], help="all, if none is named")
    parser.add_argument("--seconds", type=int, default=120, help="for each target (%(default)s)")
    parser.add_argument("--runs", type=int, help="inputs for each target, instead")
    options = parser.parse_args(arguments)
    if (lacking := missing()) is not None:
        print(f"NOT FUZZED by libFuzzer: {lacking}")
        return 1
    limit = f"-max_total_time={options.seconds}"
    if options.runs is not None:
        limit = f"-runs={options.runs}"
    status = 0
    with (
        tempfile.TemporaryDirectory(prefix="keyfob-fuzz-") as folder,
        ThreadPoolExecutor(2) as pool,
    ):
        wanted = options.target or TARGETS
        for run in pool.map(lambda name: run_target(name, Path(folder), [limit]), wanted):
            print(f"plugin's {run.target:<12} {run.inputs:>12,} inputs by libFuzzer", flush=True)
            if not run.held:
                print(f"FAILED:\n{run.output[-4000:]}")
                status = 1
    return status


def _vectors(name: str) -> dict[str, list[dict[str, Any]]]:
    text = (_HOUSE / "vectors" / f"{name}.json").read_text(encoding="utf-8")
    vectors: dict[str, list[dict[str, Any]]] = json.loads(text)
    return vectors


def _wire_bytes(text: str) -> bytes:
    """Return the bytes that a vector's hex stands for: ``unit*times``, parts apart by a space."""
    parts = (part.partition("*") for part in text.split())
    return b"".join(bytes.fromhex(unit) * int(times or 1) for unit, _, times in parts)


def _told(text: str) -> bytes:
    data = text.encode("utf-8", "surrogatepass")[:255]
    return bytes([len(data)]) + data


def _permissions(case: dict[str, Any]) -> bytes:
    packed = struct.pack(">BH", case["form"] == "first_match", len(case["rules"]))
    for rule in case["rules"]:
        numbers = (
            rule["effect"] == "allow",
            sum(_OPERATIONS[name] for name in rule["operations"]),
            rule["literal"],
            sum(1 << qos for qos in rule["qos"]),
            sum(2 if retained else 1 for retained in rule["retain"]),
        )
        text = rule["filter"].encode()
        packed += bytes(numbers) + struct.pack(">H", len(text)) + text
    return packed


if __name__ == "__main__":
    sys.exit(main())
