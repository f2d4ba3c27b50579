# SPDX-License-Identifier: Apache-2.0
"""The short form of the plugin's part of `make fuzz`, and that a broken parser would be found."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from fuzz import libfuzzer

LACKING = libfuzzer.missing()

pytestmark = pytest.mark.skipif(LACKING is not None, reason=f"NOT FUZZED: {LACKING}")


@pytest.mark.parametrize("target", libfuzzer.TARGETS)
def test_no_input_breaks_the_plugins_parsers(target: str, tmp_path: Path) -> None:
    run = libfuzzer.run_target(target, tmp_path, ["-runs=20000"])
    assert run.held, run.output[-4000:]
    assert run.inputs >= 20_000


def test_an_index_that_forgets_a_prefix_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "plugin"
    broken.mkdir()
    for source in libfuzzer._PLUGIN.glob("*.[ch]"):
        text = source.read_text()
        if source.name == "rule_index.c":
            right = "index->cells[i] <= topic.length"
            assert text.count(right) == 1
            text = text.replace(right, "index->cells[i] < topic.length")
        (broken / source.name).write_text(text)
    monkeypatch.setattr(libfuzzer, "_PLUGIN", broken)
    monkeypatch.chdir(tmp_path)  # where libFuzzer leaves the input
    # The vectors alone show it, unless the target reads none of them.
    run = libfuzzer.run_target("permissions", tmp_path, ["-runs=1"])
    assert not run.held
    shown = next(tmp_path.glob("crash-*"))
    again = subprocess.run([tmp_path / "permissions", shown], capture_output=True, check=False)
    assert again.returncode != 0
