# SPDX-License-Identifier: Apache-2.0
"""What a doctor finds: a code, what is wrong and what comes of it, and how to mend it."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import ClassVar

__all__ = ["Finding", "Severity"]


class Severity(enum.StrEnum):
    """How bad it is; the order is that of telling."""

    GRAVE = "grave"
    """Somebody may come in who must not, or sees what he must not."""
    WRONG = "wrong"
    """Something does not work, or is about to stop."""
    NOTE = "note"
    """Worth knowing; all is well where it is meant so."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong; each doctor has a class of its own, with the codes that it knows.

    Args:
        code: One of ``codes``.
        what: What is wrong and what comes of it, in one line.
        mend: What to do: a line of configuration, a command, or words.
        severity: How bad it is.
    """

    codes: ClassVar[frozenset[str]] = frozenset()

    code: str
    what: str
    mend: str
    severity: Severity = field(default=Severity.WRONG, kw_only=True)

    def __post_init__(self) -> None:
        if self.code not in self.codes:
            raise AssertionError(f"undeclared finding {self.code!r}")
