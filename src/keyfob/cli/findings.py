# SPDX-License-Identifier: Apache-2.0
"""How doctors tell what they found, to people and as JSON, and with which exit code they end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from keyfob.cli.output import Exit
from keyfob.findings import Finding, Severity

__all__ = ["exit_code", "finding_json", "finding_text", "worst_first"]

_MARKS: Final = {Severity.GRAVE: "GRAVE: ", Severity.WRONG: "", Severity.NOTE: "note: "}


def finding_json(finding: Finding) -> dict[str, object]:
    """Return what all findings have."""
    return {
        "code": finding.code,
        "severity": str(finding.severity),
        "what": finding.what,
        "mend": finding.mend,
    }


def finding_text(finding: Finding, place: str = "") -> str:
    """Return two lines: what it is, and how to mend it.

    Args:
        finding: What was found.
        place: Where, with a colon and a space behind it; empty: nowhere in particular.
    """
    said = f"{_MARKS[finding.severity]}{place}{finding.what} ({finding.code})"
    return f"{said}\n  mend: {finding.mend}"


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """Return findings by their severity, and else as they came."""
    order = list(Severity)
    return sorted(findings, key=lambda finding: order.index(finding.severity))


def exit_code(findings: Sequence[Finding]) -> Exit:
    """Return 1 where something is wrong; what is only worth knowing is not."""
    wrong = any(finding.severity is not Severity.NOTE for finding in findings)
    return Exit.REFUSED if wrong else Exit.OK
