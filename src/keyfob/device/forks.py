# SPDX-License-Identifier: Apache-2.0
"""What a forked process must not inherit: locks that threads held which it does not have."""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet

__all__ = ["after_fork"]


class Forked(Protocol):
    """Something with locks."""

    def forked(self) -> None:
        """Begin anew, in the child, before anything else runs there."""


_living: WeakSet[Forked] = WeakSet()


def after_fork(thing: Forked) -> None:
    """Have something told, for as long as it lives, that it is in a forked process."""
    _living.add(thing)


def _tell() -> None:
    for thing in tuple(_living):
        thing.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_tell)
