# SPDX-License-Identifier: Apache-2.0
"""What a token holds, made fit for a terminal: a token may hold anything."""

from __future__ import annotations

import datetime
import json

__all__ = ["shown", "time_of"]


def shown(text: str) -> str:
    """Return a text on one line, without anything that a terminal would obey."""
    return text if text.isprintable() else json.dumps(text)


def time_of(seconds: float) -> str:
    """Return a moment as an ISO date in UTC; ``no date`` where it is none."""
    try:
        moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    except (OverflowError, OSError, ValueError):
        return "no date"
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
