# SPDX-License-Identifier: Apache-2.0
"""The plugin's options, as plugin/options.c reads them; a test compares the two."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

__all__ = ["NUMBERS", "OPTIONS", "problem_of"]

_LONGEST_TEXT: Final = 255  # OPTION_TEXT
_LONGEST_SOCKET: Final = 107  # sun_path in unix(7)

NUMBERS: Final[Mapping[str, tuple[int, int]]] = {
    "guard_timeout_ms": (1, 10_000),
    "decision_timeout_ms": (100, 60_000),
    "exchange_timeout_ms": (100, 60_000),
    "startup_wait_ms": (0, 60_000),
    "offline_records": (0, 100_000_000),
}


def _text(value: str) -> str:
    return "is too long" if len(value.encode()) > _LONGEST_TEXT else ""


def _socket(value: str) -> str:
    if value.startswith("/") and len(value.encode()) <= _LONGEST_SOCKET:
        return ""
    return f"must be an absolute path of at most {_LONGEST_SOCKET} bytes"


def _decisions(value: str) -> str:
    return "" if value in {"auto", "blocking", "delayed"} else "must be auto, blocking or delayed"


def _mode(value: str) -> str:
    return "" if value in {"exclusive", "mixed"} else "must be exclusive or mixed"


def _users(value: str) -> str:
    return "is too long" if len(value.encode()) >= 1024 else ""


def _number(name: str) -> Callable[[str], str]:
    least, most = NUMBERS[name]

    def check(value: str) -> str:
        if re.fullmatch(r"[+-]?[0-9]{1,18}", value) and least <= int(value) <= most:
            return ""
        return f"must be a number from {least} to {most}"

    return check


OPTIONS: Final[Mapping[str, Callable[[str], str]]] = {
    "guard_socket": _socket,
    "broker_name": _text,
    "auto_id_prefix": _text,
    "guard_users": _users,
    "decisions": _decisions,
    "mode": _mode,
    **{name: _number(name) for name in NUMBERS},
}
"""Every option, and what says what is wrong with a value of it; an empty text: nothing."""


def problem_of(name: str, value: str) -> str:
    """Say why the plugin would not start with this option; an empty text: it would."""
    check = OPTIONS.get(name)
    return "is not an option of this plugin" if check is None else check(value)
