# SPDX-License-Identifier: Apache-2.0
"""Which devices are meant: names, and names with one ``*`` for any characters of a name.

``press-7-*`` is every device whose name begins with ``press-7-``. A lone ``*`` would be the whole
fleet, and is not accepted.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from keyfob.errors import ConfigError
from keyfob.server.names import MAX_NAME_LENGTH, is_name

__all__ = ["MAX_PATTERNS", "check_patterns", "is_meant"]

MAX_PATTERNS: Final = 128
_ANY: Final = "*"


def check_patterns(patterns: Iterable[str]) -> tuple[str, ...]:
    """Return patterns as they are kept, each once.

    Raises:
        ConfigError: One is neither a name nor a name with one ``*``, or they are too many.
    """
    found = tuple(dict.fromkeys(patterns))
    if len(found) > MAX_PATTERNS:
        raise ConfigError(f"there may be {MAX_PATTERNS} patterns at most")
    for pattern in found:
        head, star, tail = pattern.partition(_ANY)
        # As a name would be with one character, or none, for the star.
        fits = is_name(f"{head}x{tail}" if star else pattern) and len(pattern) <= MAX_NAME_LENGTH
        if not fits or not head + tail:
            raise ConfigError(
                f"{pattern[: MAX_NAME_LENGTH + 1]!r} does not say which devices: write a name, or"
                " one with a single * for the rest of it, as in press-7-*"
            )
    return found


def is_meant(name: str, patterns: Iterable[str]) -> bool:
    """Tell whether one of the patterns means a device."""
    return any(_means(pattern, name) for pattern in patterns)


def _means(pattern: str, name: str) -> bool:
    head, star, tail = pattern.partition(_ANY)
    if not star:
        return name == pattern
    return len(name) >= len(head) + len(tail) and name.startswith(head) and name.endswith(tail)
