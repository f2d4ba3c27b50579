# SPDX-License-Identifier: Apache-2.0
"""``--dir``: the folder of an installation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

__all__ = ["DEFAULT_DIRECTORY", "Directory"]

Directory = Annotated[
    Path,
    typer.Option("--dir", metavar="FOLDER", envvar="KEYFOB_DIR", help="The installation's folder."),
]
DEFAULT_DIRECTORY: Final = Path("keyfob-data")
