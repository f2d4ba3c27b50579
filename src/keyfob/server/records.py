# SPDX-License-Identifier: Apache-2.0
"""Frozen values that are made anew for every request, and never show a secret.

They are ``msgspec`` structs and no dataclasses: a frozen dataclass sets each field by a call of its
own, and a dozen of them were an eighth of what a token cost (docs/performance.md).
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

__all__ = ["Record"]


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A frozen value. What ``hidden`` names is left out of its ``repr``, and so of every log.

    And of what Rich shows: it does not ask for the ``repr`` of a struct.
    """

    hidden: ClassVar[frozenset[str]] = frozenset()

    def __repr__(self) -> str:
        members = ", ".join(f"{name}={value!r}" for name, value in self.__rich_repr__())
        return f"{type(self).__qualname__}({members})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        shown = (name for name in self.__struct_fields__ if name not in self.hidden)
        return [(name, getattr(self, name)) for name in shown]
