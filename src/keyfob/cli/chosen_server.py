# SPDX-License-Identifier: Apache-2.0
"""Whether commands work on this machine's register, or on a server's over HTTP (``--server``)."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ChosenServer", "chosen_server", "use"]


@dataclass(frozen=True, slots=True)
class ChosenServer:
    """A server somewhere else.

    Args:
        server: The issuer's URL; empty: the installation of this machine.
        ca: Certificates to trust beside the system's.
        credentials: A file with a service's name and secret; None: the environment has them.
    """

    server: str = ""
    ca: Path | None = None
    credentials: Path | None = None


_HERE = ChosenServer()
_CHOSEN: ContextVar[ChosenServer] = ContextVar("chosen_server", default=_HERE)


def use(server: ChosenServer) -> None:
    """Have the command that follows work on this."""
    _CHOSEN.set(server)


def chosen_server() -> ChosenServer:
    """Return what ``use`` was told."""
    return _CHOSEN.get()
