# SPDX-License-Identifier: Apache-2.0
"""What the interpreter waits for before it ends: a refresh token that is being spent.

The thread of a renewal is a daemon, so that no program is kept alive by a server that is away. But
the answer to a spent refresh token is the only way to the next: if it came after the end, nobody
would store it. An exchange has a deadline, so this is some seconds at most.
"""

from __future__ import annotations

import atexit
from concurrent.futures import Future, wait
from typing import Final, Protocol
from weakref import WeakSet

from keyfob.device.driving import DEADLINE
from keyfob.device.token import Token

__all__ = ["before_leaving"]

_PATIENCE: Final = 3 * DEADLINE
"""Seconds: a renewal reads metadata, perhaps in two places, and asks for the token."""


class Leaving(Protocol):
    """Something that may be in the middle of it."""

    def leaving(self) -> Future[Token] | None:
        """Return what is to be waited for."""


_living: WeakSet[Leaving] = WeakSet()


def before_leaving(thing: Leaving) -> None:
    """Have something asked, for as long as it lives, before the interpreter ends."""
    _living.add(thing)


def _wait() -> None:
    wait([future for thing in tuple(_living) if (future := thing.leaving())], _PATIENCE)


atexit.register(_wait)
