# SPDX-License-Identifier: Apache-2.0
"""AuditTarget: one place that decisions are written to, as ``guard.audit`` names it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from keyfob.errors import ConfigError

__all__ = ["AuditTarget"]

_FORMS: Final = (
    "file:PATH, stdout, console, syslog, syslog:/PATH or syslog:HOST:PORT"
    " (an IPv6 address in brackets)"
)
_HOST_PORT: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+):([0-9]{1,5})", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditTarget:
    """Where decisions are written.

    Attributes:
        kind: ``file`` and ``stdout`` are JSON lines, ``console`` plain lines, ``syslog`` RFC 5424.
        path: The file, or the socket of the machine's own syslog; None: its usual place.
        host: The syslog elsewhere, without brackets; empty: it is this machine's.
        port: Its UDP port.
    """

    kind: Literal["file", "stdout", "console", "syslog"]
    path: Path | None = None
    host: str = ""
    port: int = 0

    @classmethod
    def parse(cls, text: str, directory: Path) -> AuditTarget:
        """Read one entry of ``guard.audit``.

        Args:
            text: ``file:PATH``, ``stdout``, ``console``, ``syslog``, ``syslog:/PATH`` or
                ``syslog:HOST:PORT``.
            directory: The folder that a relative path is relative to.

        Raises:
            ConfigError: None of these.
        """
        kind, separator, place = text.partition(":")
        if kind == "file" and place and "\0" not in place:
            return cls(kind="file", path=directory / place)
        if kind == "syslog" and place.startswith("/") and "\0" not in place:
            return cls(kind="syslog", path=Path(place))
        if kind == "syslog" and (found := _HOST_PORT.fullmatch(place)):
            port = int(found[2])
            if 1 <= port <= 65_535:
                return cls(kind="syslog", host=found[1].strip("[]"), port=port)
        if not separator:
            match kind:
                case "stdout" | "console" | "syslog":
                    return cls(kind=kind)
        raise ConfigError(f"is no place for decisions; write {_FORMS}")
