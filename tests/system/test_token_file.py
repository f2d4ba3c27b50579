# SPDX-License-Identifier: Apache-2.0
"""mosquitto_pub shows what `keyfob token --watch` keeps fresh; no token is on a command line."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.cli.commands import started, wait_for
from tests.running import Installation


def test_mosquitto_pub_reads_a_good_token_each_time_that_it_runs(
    running: Installation, tmp_path: Path
) -> None:
    secret = running.add_device("file1", "--publish", "a/#", "--lifetime", "10")
    file = tmp_path / "mosquitto_pub"
    command = ["mosquitto_pub", "-V", "mqttv5", "-h", "localhost", "-p", str(running.port)]
    command += ["--cafile", running.ca, "-i", "file1", "-q", "1", "-t", "a/b", "-m", "x", "-d"]

    def published() -> str:
        done = subprocess.run(
            command,
            env=os.environ | {"XDG_CONFIG_HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 0, done
        assert "CONNACK (0)" in done.stdout
        return file.read_text(encoding="ascii")

    watch = ("token", "--client-id", "file1", "--watch", str(file), "--form", "mosquitto")
    there = ("--dir", str(running.directory))
    with started(tmp_path / "log", *watch, *there, KEYFOB_CLIENT_SECRET=secret) as watching:
        watching.until("good until")
        seen = {published()}
        # Three tokens of ten seconds: the first has ended when the last is shown.
        while len(seen) < 3:
            before = file.read_text(encoding="ascii")
            wait_for("a new token", lambda old=before: file.read_text(encoding="ascii") != old)
            seen.add(published())
