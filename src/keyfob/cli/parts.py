# SPDX-License-Identifier: Apache-2.0
"""The parts of issuers, by what they were made of.

When the configuration is read again, a part whose recipe is the same is the same object: keys stay
at hand, connections open, and what was learned goes on counting.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

__all__ = ["Parts"]

_P = TypeVar("_P")


class Parts:
    """What was made.

    Args:
        before: What an earlier reading of the configuration made.
    """

    def __init__(self, before: Parts | None = None) -> None:
        self._before = {} if before is None else before._made  # noqa: SLF001 - our own kind
        self._made: dict[bytes, Any] = {}

    def get(self, make: Callable[[], _P], *recipe: object) -> _P:
        """Return the part of a recipe, made now unless there was one.

        Args:
            make: Makes it.
            recipe: All that it is made of; a secret among it stays in memory like the part itself.
        """
        key = msgspec.msgpack.encode(recipe, enc_hook=str, order="deterministic")
        part: _P = self._before[key] if key in self._before else make()
        self._made[key] = part
        return part
