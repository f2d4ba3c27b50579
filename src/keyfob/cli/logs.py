# SPDX-License-Identifier: Apache-2.0
"""What programs in the foreground say beside their own lines."""

from __future__ import annotations

import logging

__all__ = ["log_to_stderr"]


def log_to_stderr() -> None:
    """Have the libraries' warnings, and what Keyfob says, on standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Plain())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("keyfob").setLevel(logging.INFO)


class _Plain(logging.Formatter):
    """One line for people: what is more than information says so first."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        text = super().format(record)
        return text if record.levelno <= logging.INFO else f"{record.levelname.lower()}: {text}"
