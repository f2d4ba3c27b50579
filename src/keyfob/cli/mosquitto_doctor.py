# SPDX-License-Identifier: Apache-2.0
"""``keyfob mosquitto doctor``: what is wrong with the broker beside the guard, and its cure."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import typer

from keyfob.brokers.mosquitto.doctor.conf_lines import Place
from keyfob.brokers.mosquitto.doctor.examination import examine
from keyfob.brokers.mosquitto.doctor.finding import Finding
from keyfob.cli.directory_option import DEFAULT_DIRECTORY, Directory
from keyfob.cli.findings import exit_code, finding_json, finding_text
from keyfob.cli.mosquitto_facts import collect, read_conf
from keyfob.cli.output import Json, answer, finish

__all__ = ["DEFAULT_CONF", "BrokerName", "ConfFile", "doctor"]

DEFAULT_CONF: Final = Path("/etc/mosquitto/mosquitto.conf")

ConfFile = Annotated[
    Path, typer.Option("--conf", metavar="FILE", help="The configuration that Mosquitto reads.")
]
BrokerName = Annotated[
    str, typer.Option("--broker", metavar="PROGRAM", help="The broker's program.")
]


def doctor(
    conf: ConfFile = DEFAULT_CONF,
    broker: BrokerName = "mosquitto",
    user: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Whom Mosquitto runs as, where it is not started as root.",
            show_default="as configured",
        ),
    ] = "",
    directory: Directory = DEFAULT_DIRECTORY,
    as_json: Json = False,
) -> None:
    """Say what is wrong with Mosquitto, and how to mend it.

    It is looked at as the broker beside this guard. Changes nothing. Exits with 1 where something
    is wrong. As root it sees everything.
    """
    findings = _examine(conf.absolute(), broker, user, directory)
    data = {
        "conf": str(conf.absolute()),
        "findings": [_as_json(one) for one in findings],
    }
    answer(data, _as_text(findings, conf), as_json=as_json)
    finish(exit_code(findings))


def _examine(conf: Path, broker: str, user: str, directory: Path) -> Sequence[Finding]:
    try:
        read = read_conf(conf)
    except OSError as error:
        file = Path(os.fsdecode(error.filename or str(conf)))
        return [
            Finding(
                "conf_unreadable",
                f"{file} cannot be read: {error.strerror}. Mosquitto does not start without it",
                "name the right file with --conf, correct include_dir, or run this as root",
                Place(file),
            )
        ]
    return examine(read, collect(read, broker, user, directory))


def _as_json(finding: Finding) -> dict[str, object]:
    place, edit = finding.place, finding.edit
    return finding_json(finding) | {
        "file": str(place.file) if place else None,
        "line": place.line if place and place.line else None,
        "edit": {"file": str(edit.place.file), "line": edit.place.line, "text": edit.text}
        if edit
        else None,
    }


def _as_text(findings: Sequence[Finding], conf: Path) -> str:
    if not findings:
        return f"nothing is wrong with {conf}"
    return "\n".join(
        finding_text(finding, f"{finding.place}: " if finding.place else "") for finding in findings
    )
