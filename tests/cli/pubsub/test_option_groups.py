# SPDX-License-Identifier: Apache-2.0
"""A dataclass among a command's parameters is the options that its fields are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer
from typer.testing import CliRunner

from keyfob.cli.pubsub.option_groups import grouped


@dataclass(frozen=True, kw_only=True)
class Where:
    host: Annotated[str, typer.Option("-h", "--host")] = "here"
    port: Annotated[int, typer.Option("-p")] = 1


def test_options_come_back_as_the_group_that_they_are() -> None:
    seen: list[tuple[Where, bool]] = []

    @grouped
    def command(where: Where, loud: Annotated[bool, typer.Option("--loud")] = False) -> None:
        """Do it."""
        seen.append((where, loud))

    app = typer.Typer()
    app.command()(command)
    assert CliRunner().invoke(app, ["-h", "there", "--loud"]).exit_code == 0
    assert CliRunner().invoke(app, []).exit_code == 0
    assert seen == [(Where(host="there"), True), (Where(), False)]
