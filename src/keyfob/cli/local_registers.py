# SPDX-License-Identifier: Apache-2.0
"""The registers of an installation, opened in this process."""

from __future__ import annotations

from pathlib import Path

from keyfob.cli.installation import Installation, settings_of
from keyfob.cli.server_database import server_database
from keyfob.server.operator_register import OperatorRegister
from keyfob.server.register import Register

__all__ = ["open_register", "operators_of"]


def open_register(installation: Installation) -> Register:
    """Open the authorization server's register; the caller closes it."""
    settings = installation.settings
    own = [one for one in settings.issuers if one.issuer == settings.server.issuer]
    template = own[0].client_id_template if own else "{device}"
    return Register.open(
        server_database(settings), client_id_template=template, migrate=settings.server.migrate
    )


def operators_of(directory: Path) -> OperatorRegister:
    """Open the operators of an installation that is there; the caller closes them.

    Raises:
        ConfigError: The folder holds none, or its configuration is wrong.
    """
    settings = settings_of(directory).settings
    return OperatorRegister.open(server_database(settings), migrate=settings.server.migrate)
