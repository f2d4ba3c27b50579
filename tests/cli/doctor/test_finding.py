# SPDX-License-Identifier: Apache-2.0
"""The codes of `keyfob doctor`: each is found somewhere, and told in the documentation."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from keyfob.cli.doctor.finding import CODES, Finding
from keyfob.cli.findings import exit_code, finding_json, finding_text, worst_first
from keyfob.cli.output import Exit
from keyfob.findings import Severity

ROOT = Path(__file__).parents[3]


def made(severity: Severity) -> Finding:
    return Finding("clock_off", "what", "how", severity=severity)


def test_every_code_is_told_in_the_documentation_and_no_other() -> None:
    text = (ROOT / "docs/device-tools.md").read_text(encoding="utf-8")
    table = text.partition("### What doctor finds")[2].partition("\n## ")[0]
    cells = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", table, re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", " ".join(cells))) == CODES


def test_every_code_is_found_somewhere() -> None:
    folder = ROOT / "src/keyfob/cli/doctor"
    files = [file for file in folder.glob("*.py") if file.name != "finding.py"]
    source = "".join(file.read_text(encoding="utf-8") for file in files)
    assert [code for code in sorted(CODES) if f'"{code}"' not in source] == []


def test_an_undeclared_code_is_a_fault_of_ours() -> None:
    with pytest.raises(AssertionError):
        Finding("no_such_code", "what", "how")


def test_the_worst_is_told_first_and_a_note_is_no_failure() -> None:
    found = [made(severity) for severity in reversed(Severity)]
    assert [one.severity for one in worst_first(found)] == list(Severity)
    assert exit_code([made(Severity.NOTE)]) is Exit.OK
    assert exit_code([]) is Exit.OK
    assert exit_code([made(Severity.NOTE), made(Severity.WRONG)]) is Exit.REFUSED
    assert exit_code([made(Severity.GRAVE)]) is Exit.REFUSED
    assert finding_text(made(Severity.GRAVE)).startswith("GRAVE: ")
    told = {"code": "clock_off", "severity": "note", "what": "what", "mend": "how"}
    assert finding_json(made(Severity.NOTE)) == told
