# SPDX-License-Identifier: Apache-2.0
"""What the server is told about its signing keys."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from keyfob.server.signing.sealing import KeySealer
from keyfob.server.signing.timetable import DEFAULT_ROTATION, Rotation

__all__ = ["DEFAULT_SIGNING", "SigningSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningSettings:
    """How signing keys follow each other, and how they rest.

    Args:
        rotation: How they follow each other.
        sealer: Encrypts them at rest; None: they are stored as they are.
    """

    rotation: Rotation = DEFAULT_ROTATION
    sealer: KeySealer | None = field(default=None, repr=False)


DEFAULT_SIGNING: Final = SigningSettings()
