# SPDX-License-Identifier: Apache-2.0
"""One installation: the folder that ``--dir`` names, made by ``keyfob init`` or ``keyfob up``.

Devices and guards read one, too: nothing of the authorization server is loaded for that.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from keyfob.cli.directory_option import DEFAULT_DIRECTORY
from keyfob.cli.output import here
from keyfob.config import FILE_NAME, Settings, load
from keyfob.errors import ConfigError

__all__ = ["Installation", "settings_of"]


@dataclass(frozen=True, slots=True)
class Installation:
    """An installation and its settings."""

    directory: Path
    settings: Settings

    @property
    def option(self) -> str:
        """What to type after a command for this installation, with a space before it."""
        shown = here(self.directory)
        return "" if shown == str(DEFAULT_DIRECTORY) else f" --dir {shlex.quote(shown)}"

    @property
    def name(self) -> str:
        """The host name that devices reach this machine by."""
        return urlsplit(self.settings.server.issuer).hostname or "localhost"


def settings_of(directory: Path) -> Installation:
    """Open an installation that is there.

    Raises:
        ConfigError: The folder holds none, or its configuration is wrong.
    """
    if not (directory / FILE_NAME).exists():
        place = shlex.quote(str(directory))
        raise ConfigError(
            f"no installation in {directory}: make one with `keyfob up --dir {place}` or "
            f"`keyfob init --dir {place}`, or name another with --dir"
        )
    return Installation(directory.absolute(), load(directory / FILE_NAME))
