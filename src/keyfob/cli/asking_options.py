# SPDX-License-Identifier: Apache-2.0
"""Who asks which authorization server for which token, as options of commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "Audience",
    "Ca",
    "ClientId",
    "Issuer",
    "PrivateKey",
    "ProfileName",
    "Resource",
    "Scope",
    "Username",
    "check_who_asks",
]

ClientId = Annotated[str, typer.Option(metavar="ID", help="The device, or the application.")]
ProfileName = Annotated[
    str, typer.Option(metavar="NAME", help="The token of this profile; see keyfob login.")
]
Username = Annotated[
    str, typer.Option(metavar="DEVICE", help="The device, where --client-id is an application.")
]
Scope = Annotated[str, typer.Option(metavar="SCOPE", help="Ask for no more than this, or these.")]
Issuer = Annotated[
    str, typer.Option(metavar="URL", help="Ask this authorization server, whoever made it.")
]
Ca = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="With --issuer: certificates that alone are trusted."),
]
Audience = Annotated[str, typer.Option(metavar="NAME", help="For servers that want an audience.")]
Resource = Annotated[
    str, typer.Option(metavar="URI", help="Which resource server it is for (RFC 8707).")
]
PrivateKey = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Authenticate by this key (private_key_jwt), as PEM."),
]


def check_who_asks(client_id: str, profile: str, *others: object) -> None:
    """Refuse what names nobody, or one beside a profile, which says everything.

    Raises:
        typer.BadParameter: As told.
    """
    if bool(client_id) == bool(profile) or (profile and any(others)):
        raise typer.BadParameter(
            "one of them says who asks, and a profile everything",
            param_hint="--client-id/--profile",
        )
