# SPDX-License-Identifier: Apache-2.0
"""How late a connection ends: after its token's expiry, and after its device is disabled.

Seen from the device: from `exp`, or from the moment the register's commit returned, to the moment
the client notices that its connection is gone. One round takes one device through both.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from bench.rounds import Series, interleave, print_table
from keyfob.cli.server_database import server_database
from keyfob.server.register import Register
from keyfob.server.wishes import DeviceWish, Rights
from keyfob.tokens.verify import unverified
from tests.running import Installation, installation


def run() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder, installation(Path(folder) / "data") as running:
        rounds = _Rounds(running)
        results = interleave({"expired": rounds.expire, "disabled": rounds.disable})
    rows = [
        [name, f"{series.median:.0f} ({series.spread})", f"{max(series.values):.0f}"]
        for name, series in (
            ("token expired", _late(results["expired"])),
            ("device disabled", _late(results["disabled"])),
        )
    ]
    print_table(
        "From the event to the client's end of connection: median (quartiles) of rounds",
        ["event", "ms", "longest"],
        rows,
    )


def _late(figures: Mapping[str, Series]) -> Series:
    return figures["ms"]


class _Rounds:
    def __init__(self, running: Installation) -> None:
        self._running = running
        self._number = 0

    def _device(self, lifetime: int) -> tuple[str, str]:
        self._number += 1
        device = f"ending{self._number}"
        with Register.open(server_database(self._running.settings)) as register:
            secret = register.add_device(
                DeviceWish(device, rights=Rights(subscribe=["e/#"]), lifetime=lifetime)
            ).secret
        return device, self._running.token(device, secret)

    def expire(self) -> Mapping[str, float]:
        device, token = self._device(lifetime=2)
        expires_at = float(unverified(token)[1]["exp"])
        client = self._running.client(device).connect(token)
        client.until_disconnected()
        return {"ms": (time.time() - expires_at) * 1000}

    def disable(self) -> Mapping[str, float]:
        device, token = self._device(lifetime=600)
        client = self._running.client(device).connect(token)
        with Register.open(server_database(self._running.settings)) as register:
            register.disable_device(device)
        began = time.time()
        client.until_disconnected()
        return {"ms": (time.time() - began) * 1000}


if __name__ == "__main__":
    run()
