# SPDX-License-Identifier: Apache-2.0
"""A real start of Mosquitto with lines that are to be added, beside the one that may be running.

It listens on a free loopback port, keeps nothing, opens no bridge, loads no plugin but Keyfob's,
and does not speak to the guard: a second broker of the same name would look to it like a restart.
"""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from keyfob.brokers.mosquitto.doctor.conf_lines import Line
from keyfob.errors import ConfigError

__all__ = ["try_to_start"]

_PATIENCE: Final = 15.0  # seconds
_KEPT: Final = frozenset(
    {
        "per_listener_settings",
        "allow_anonymous",
        "auto_id_prefix",
        "user",
        "max_packet_size",
        "message_size_limit",
        "password_file",
        "acl_file",
        "check_retain_source",
        "allow_zero_length_clientid",
    }
)


def try_to_start(program: str, present: Iterable[Line], added: str) -> None:
    """Start a broker with the lines that there are and those that are added; stop it again.

    Args:
        program: The broker's program.
        present: The options that it has now.
        added: More lines, the plugin's among them.

    Raises:
        ConfigError: It does not start; the message ends with what it said.
    """
    with tempfile.TemporaryDirectory(prefix="keyfob-trial-") as scratch:
        folder = Path(scratch)
        folder.chmod(0o755)  # whom the broker becomes must come through to the socket's folder
        conf = folder / "mosquitto.conf"
        lines = [*_kept(present), *_trial_lines(added, folder), *_surroundings()]
        conf.write_text("\n".join(lines) + "\n", encoding="utf-8")
        with _running(program, conf) as (process, log):
            _wait(process, log)


def _kept(present: Iterable[Line]) -> Iterator[str]:
    for line in present:
        if line.name in _KEPT:
            yield f"{line.name} {line.rest}"


def _trial_lines(added: str, folder: Path) -> Iterator[str]:
    for line in added.splitlines():
        if line.startswith("plugin_opt_guard_socket "):
            yield f"plugin_opt_guard_socket {folder / 'nobody.sock'}"
        elif not line.startswith("plugin_opt_startup_wait_ms "):
            yield line
    yield "plugin_opt_startup_wait_ms 0"


def _surroundings() -> list[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    kinds = ("error", "warning", "notice", "information")
    return [
        "persistence false",
        "log_dest stderr",
        *(f"log_type {kind}" for kind in kinds),
        f"listener {port} 127.0.0.1",
    ]


@contextlib.contextmanager
def _running(program: str, conf: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    log = conf.with_name("log")
    with log.open("wb") as stream:
        try:
            process = subprocess.Popen(
                [program, "-c", str(conf)], stdin=subprocess.DEVNULL, stdout=stream, stderr=stream
            )
        except OSError as error:
            raise ConfigError(f"{program} cannot be started: {error.strerror}") from error
    try:
        yield process, log
    finally:
        process.kill()
        process.wait()


def _wait(process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE
    while True:
        ended = process.poll() is not None
        said = log.read_text(encoding="utf-8", errors="replace")
        if re.search(r"mosquitto version \S+ running", said):
            return
        if ended or time.monotonic() > deadline:
            last = [line for line in said.splitlines() if "rror" in line] or said.splitlines()[-2:]
            raise ConfigError(
                "Mosquitto does not start with the plugin, so nothing was changed in its "
                "configuration. It said: " + " / ".join(last[-3:])
            )
        time.sleep(0.02)
