# SPDX-License-Identifier: Apache-2.0
"""Background work that begins anew when it fails by a mistake of ours.

What is expected to fail (an issuer, the disk) the work deals with itself. But a guard whose feed
has ended for whatever reason is deaf to revocations, and lets in what it should not.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final

__all__ = ["Work", "keep_running"]

RESTART_INTERVAL: Final = 1.0
"""Seconds before what failed begins anew."""

Work = Callable[[], Coroutine[Any, Any, None]]

_log = logging.getLogger("keyfob.guard")


async def keep_running(name: str, work: Work) -> None:
    """Run work until it returns or is cancelled, and again whenever it raises.

    Args:
        name: What to call it in the log.
        work: Makes a new run of it.
    """
    while True:
        try:
            return await work()
        except Exception:  # noqa: BLE001 - whatever it is, it must not end the work
            _log.exception("%s failed and begins anew", name)
        await asyncio.sleep(RESTART_INTERVAL)
