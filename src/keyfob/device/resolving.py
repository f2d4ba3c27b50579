# SPDX-License-Identifier: Apache-2.0
"""The event loop of a renewal: names are resolved in threads that keep no program from ending.

A resolver that nobody answers takes half a minute or more, and cannot be told to stop. asyncio has
it wait in a thread of a pool, which the interpreter joins before it ends.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import suppress
from typing import Any

__all__ = ["RenewalLoop"]


class RenewalLoop(asyncio.SelectorEventLoop):
    """An event loop whose closing waits for no name."""

    async def getaddrinfo(self, *arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - asyncio's
        """Resolve a name; as ``socket.getaddrinfo``."""
        found: asyncio.Future[list[Any]] = self.create_future()

        def tell(result: list[Any], error: OSError | None) -> None:
            if found.done():  # nobody waits any more
                return
            if error is None:
                found.set_result(result)
            else:
                found.set_exception(error)

        def resolve() -> None:
            result: list[Any] = []
            error: OSError | None = None
            try:
                result = socket.getaddrinfo(*arguments, **named)
            except (OSError, UnicodeError) as raised:  # a name may be none (IDNA)
                error = raised if isinstance(raised, OSError) else socket.gaierror("no such name")
            with suppress(RuntimeError):  # the loop is closed
                self.call_soon_threadsafe(tell, result, error)

        threading.Thread(target=resolve, name="keyfob-resolver", daemon=True).start()
        return await found
