# SPDX-License-Identifier: Apache-2.0
"""A certificate that changed is told to who shows it, and to nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from keyfob.cli.installation import Installation
from keyfob.cli.renewal import keep_certificates
from keyfob.cli.supervisor import Child, Supervisor
from tests.cli.commands import wait_for
from tests.server.certificates import Authority

pytestmark = pytest.mark.anyio


class World:
    """Three children that count their SIGHUPs in files, and somebody who looks very often."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lines: list[str] = []

    def hups(self, name: str) -> int:
        path = self.folder / f"{name}.hups"
        return path.read_text().count("x") if path.exists() else 0

    async def until(self, text: str) -> None:
        await asyncio.to_thread(wait_for, text, lambda: any(text in line for line in self.lines))

    async def until_told(self, times: int) -> None:
        for name in ("server", "mosquitto"):
            await asyncio.to_thread(
                wait_for, f"SIGHUP {times} to {name}", lambda n=name: self.hups(n) == times
            )


@asynccontextmanager
async def looking(installation: Installation, folder: Path) -> AsyncIterator[World]:
    world = World(folder)
    script = "trap 'echo x >> {}' HUP; echo ready; while :; do sleep 0.02; done"
    children = [
        Child(
            name=name,
            command=["sh", "-c", script.format(folder / f"{name}.hups")],
            ready_line="ready",
            pid_file=folder / f"{name}.pid",
        )
        for name in ("server", "guard", "mosquitto")
    ]
    supervisor = Supervisor(children, world.lines.append)
    await supervisor.start()
    task = asyncio.create_task(
        keep_certificates(installation, supervisor, world.lines.append, interval=0.02)
    )
    await asyncio.sleep(0)
    try:
        yield world
        assert world.hups("guard") == 0
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await supervisor.stop()


async def test_a_renewed_certificate_is_told_once(
    installation: Installation, tmp_path: Path
) -> None:
    async with looking(installation, tmp_path) as world:
        (installation.directory / "server.pem").unlink()  # as good as one that ends soon
        await world.until("the certificate was renewed")
        await world.until_told(1)


async def test_a_certificate_that_its_owner_replaced_is_told(
    installation: Installation, tmp_path: Path
) -> None:
    server = installation.settings.server
    async with looking(installation, tmp_path) as world:
        Authority(tmp_path).certify(server.certificate, server.private_key)
        await world.until("replaced by its owner")
        await asyncio.to_thread(wait_for, "SIGHUP", lambda: world.hups("mosquitto"))


async def test_what_cannot_be_renewed_is_told_and_tried_again(
    installation: Installation, tmp_path: Path
) -> None:
    key = (installation.directory / "ca.key").read_bytes()
    async with looking(installation, tmp_path) as world:
        (installation.directory / "ca.key").unlink()
        (installation.directory / "server.pem").unlink()
        await world.until("could not be renewed")
        (installation.directory / "ca.key").write_bytes(key)
        await world.until("the certificate was renewed")
