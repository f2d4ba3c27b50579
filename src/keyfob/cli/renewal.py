# SPDX-License-Identifier: Apache-2.0
"""Certificates that are renewed while everything runs: a look a day, and SIGHUP to who shows them.

The server and Mosquitto read their certificate again at SIGHUP and keep every connection, but for
those on which a client has shown the server a certificate. A certificate that its owner replaced
(certbot, a cron job) is noticed in the same way.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable
from typing import Final

from keyfob.cli.initialising import renew
from keyfob.cli.installation import Installation
from keyfob.cli.supervisor import Supervisor
from keyfob.errors import KeyfobError

__all__ = ["keep_certificates"]

DAY: Final = 86_400.0
_SHOW_IT: Final = ("server", "mosquitto")


async def keep_certificates(
    installation: Installation,
    supervisor: Supervisor,
    show: Callable[[str], None],
    *,
    interval: float = DAY,
) -> None:
    """Look until cancelled.

    Args:
        installation: Whose certificates.
        supervisor: Has the children ``server`` and ``mosquitto``.
        show: Told what happened.
        interval: Seconds between two looks.
    """
    seen = _stamp(installation)
    while True:
        await asyncio.sleep(interval)
        try:
            written = await asyncio.to_thread(renew, installation)
        except (KeyfobError, OSError) as error:
            show(f"keyfob     | the certificate could not be renewed: {error}")
            continue
        stamp = _stamp(installation)
        if stamp == seen:
            continue
        seen = stamp
        for name in _SHOW_IT:
            supervisor.signal(name, signal.SIGHUP)
        what = "renewed" if written else "replaced by its owner"
        show(f"keyfob     | the certificate was {what}; server and broker show the new one")


def _stamp(installation: Installation) -> tuple[int, ...]:
    """Return what changes when a certificate does."""
    server = installation.settings.server
    times = []
    for path in (server.certificate, server.private_key):
        with contextlib.suppress(OSError):
            times.append(path.stat().st_mtime_ns)
    return tuple(times)
