# SPDX-License-Identifier: Apache-2.0
"""The report of ``keyfob doctor``, for people and as JSON; without tokens, whoever sent them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from keyfob.cli.doctor.examination import Report
from keyfob.cli.doctor.finding import Section
from keyfob.cli.failures import without_secrets
from keyfob.cli.findings import finding_json, finding_text, worst_first

__all__ = ["as_data", "as_text"]

_FOR_PROGRAMS: Final = frozenset({"clock_skew"})
"""Facts that stand in words beside themselves."""


def as_data(report: Report, titles: Mapping[str, str]) -> dict[str, object]:
    """Return the report as JSON has it.

    Args:
        report: What was seen.
        titles: What the parts are about, such as the issuer's URL.
    """
    parts = {"issuer": report.issuer, "token": report.token, "broker": report.broker}
    data: dict[str, object] = {
        name: None if section is None else {"about": titles.get(name, "")} | dict(section.facts)
        for name, section in parts.items()
    }
    data["findings"] = [finding_json(finding) for finding in worst_first(report.findings)]
    cleaned = _without(data, report.secrets)
    assert isinstance(cleaned, dict)  # noqa: S101 - as it went in
    return cleaned


def as_text(report: Report, titles: Mapping[str, str]) -> str:
    """Return the report for people."""
    parts = {"issuer": report.issuer, "token": report.token, "broker": report.broker}
    lines: list[str] = []
    for name, section in parts.items():
        if section is not None:
            lines += [f"{name} {titles.get(name, '')}".rstrip(), *_facts(section), ""]
    findings = worst_first(report.findings)
    lines += [finding_text(finding) for finding in findings] or ["nothing is wrong"]
    return str(_without("\n".join(lines), report.secrets))


def _facts(section: Section) -> Iterable[str]:
    shown = {name: value for name, value in section.facts.items() if name not in _FOR_PROGRAMS}
    width = max(map(len, shown), default=0)
    for name, value in shown.items():
        rows = _rows(value)
        label = name.replace("_", " ")
        yield f"  {label:<{width}}  {rows[0] if rows else '-'}"
        yield from (f"  {'':<{width}}  {row}" for row in rows[1:])


def _rows(value: object) -> Sequence[str]:
    """Return one line for each entry of an object, and for each list that is long."""
    if isinstance(value, Mapping):
        return [f"{name}: {_one(inner)}" for name, inner in value.items()]
    if isinstance(value, list) and sum(len(str(entry)) + 2 for entry in value) > 80:
        return [str(entry) for entry in value]
    return [_one(value)]


def _one(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return (", ".join(map(str, value)) or "-") if isinstance(value, list) else str(value)


def _without(value: object, secrets: Sequence[str]) -> object:
    """Return a value without secrets: a server or a broker may send back what it was shown."""
    if isinstance(value, Mapping):
        return {name: _without(inner, secrets) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without(inner, secrets) for inner in value]
    if not isinstance(value, str):
        return value
    for secret in secrets:
        value = value.replace(secret, "…")
    return without_secrets(value)
