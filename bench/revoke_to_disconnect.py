# SPDX-License-Identifier: Apache-2.0
"""How long after a revocation was answered the MQTT client sees its connection end.

Server, guard and Mosquitto are processes of their own. From the end of the server's answer to
`POST /oauth2/revoke` to the moment at which paho tells that the connection is gone; by the feed
that the guard follows, and by a pushed event with the feed turned off. Both are measured one after
the other in each round, so that noise meets them alike. Sometimes the connection ends before the
answer is read: that counts as 0.

    python -m bench.revoke_to_disconnect [ROUNDS]
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

import httpx

from bench.rounds import print_table
from keyfob.cli.server_database import server_database
from keyfob.server.register import Register
from keyfob.server.wishes import DeviceWish, Rights
from tests.running import PATIENCE, Client, Installation, installation
from tests.system.pushed import pushed_installation

ROUNDS = 200


def run(rounds: int = ROUNDS) -> None:
    """Measure and print."""
    with (
        tempfile.TemporaryDirectory() as folder,
        installation(Path(folder) / "feed") as feed,
        pushed_installation(Path(folder) / "push") as push,
    ):
        ways = {"feed": _Way(feed), "push": _Way(push)}
        figures: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(-5, rounds):  # the first ones warm up
            for name, way in ways.items():
                milliseconds = way.once()
                if number >= 0:
                    figures[name].append(milliseconds)
        for way in ways.values():
            way.http.close()
    print_table(
        f"From the answer to a revocation to the client's end of connection, {rounds} times",
        ["way", "p50 ms", "p99 ms", "longest ms"],
        [_row(name, values) for name, values in figures.items()],
    )


def _row(name: str, values: list[float]) -> list[str]:
    p99 = statistics.quantiles(values, n=100, method="inclusive")[98]
    return [name, f"{statistics.median(values):.1f}", f"{p99:.1f}", f"{max(values):.1f}"]


class _Way:
    """One installation, and a client of its server that keeps its connection."""

    def __init__(self, up: Installation) -> None:
        self._up = up
        self._number = 0
        self.http = httpx.Client(verify=up.ca, base_url=up.token_url.removesuffix("/token"))

    def once(self) -> float:
        """Connect a device, revoke its token, and return the milliseconds until it is out."""
        self._number += 1
        device = f"revoked{self._number}"
        with Register.open(server_database(self._up.settings)) as register:
            secret = register.add_device(
                DeviceWish(device, rights=Rights(subscribe=["e/#"]))
            ).secret
        form = {"grant_type": "client_credentials", "client_id": device, "client_secret": secret}
        token = self.http.post("/token", data=form).raise_for_status().json()["access_token"]
        client = self._up.client(device).connect(token)
        ended = _Ended(client)
        self.http.post("/revoke", data={"token": token}, auth=(device, secret)).raise_for_status()
        answered = time.perf_counter()
        ended.wait()
        self._up.close_clients()
        return max(0.0, ended.at - answered) * 1000


class _Ended:
    """When a client's connection ended."""

    def __init__(self, client: Client) -> None:
        self.at = 0.0
        self._event = threading.Event()
        client.paho.on_disconnect = self._note

    def _note(self, *_: object) -> None:
        self.at = time.perf_counter()
        self._event.set()

    def wait(self) -> None:
        if not self._event.wait(PATIENCE):
            raise AssertionError("the connection did not end")


if __name__ == "__main__":
    run(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS)
