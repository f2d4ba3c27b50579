# SPDX-License-Identifier: Apache-2.0
"""The options by which rights are told: of a device, or of all that something is a template for."""

from __future__ import annotations

from typing import Annotated

import typer

from keyfob.server.wishes import Rights

__all__ = [
    "DevicesPublish",
    "DevicesSubscribe",
    "Lifetime",
    "Pending",
    "Publish",
    "Scope",
    "Subscribe",
    "rights_of",
]

Publish = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FILTER", help="It may publish here; {device} is its ID. May be repeated."
    ),
]
Subscribe = Annotated[
    list[str] | None,
    typer.Option(metavar="FILTER", help="It may subscribe here; likewise."),
]
DevicesPublish = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FILTER", help="Its devices may publish here; {device} is each. May be repeated."
    ),
]
DevicesSubscribe = Annotated[
    list[str] | None,
    typer.Option(metavar="FILTER", help="They may subscribe here; likewise."),
]
Scope = Annotated[
    list[str] | None,
    typer.Option(metavar="SCOPE", help="A scope of your own, for policy tables."),
]
Lifetime = Annotated[
    int | None,
    typer.Option(metavar="SECONDS", help="How long its tokens live, if not as all others'."),
]
Pending = Annotated[
    bool, typer.Option("--pending", help="It gets no token before `keyfob device enable`.")
]


def rights_of(
    publish: list[str] | None, subscribe: list[str] | None, scope: list[str] | None
) -> Rights:
    """Return what the options mean."""
    return Rights(
        publish=tuple(publish or ()), subscribe=tuple(subscribe or ()), scopes=tuple(scope or ())
    )
