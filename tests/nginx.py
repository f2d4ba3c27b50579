# SPDX-License-Identifier: Apache-2.0
"""nginx, as the examples configure it."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

__all__ = ["adapted", "nginx"]


def adapted(example: Path, changes: Mapping[str, str]) -> str:
    """An example's text, for other ports and folders; each of these has to be in it."""
    text = example.read_text(encoding="utf-8")
    for old, new in changes.items():
        assert old in text, f"the example has no {old!r} any more"
        text = text.replace(old, new)
    return text


@contextlib.contextmanager
def nginx(folder: Path, port: int, server: str) -> Iterator[None]:
    """Run it with this in its http block; it listens on a port of this machine."""
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    assert program is not None, "there is no nginx: scripts/setup installs it"
    kept = "".join(
        f"{name}_temp_path {folder}/{name};\n"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    configuration = folder / "nginx.conf"
    configuration.write_text(
        f"daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;\n"
        f"{'user root;' if os.geteuid() == 0 else ''}\n"
        f"events {{}}\nhttp {{ access_log off;\n{kept}{server}}}\n"
    )
    log = folder / "error.log"
    process = subprocess.Popen(
        [program, "-c", str(configuration), "-p", str(folder), "-e", str(log)]
    )
    try:
        deadline = time.monotonic() + 20
        while True:
            assert process.poll() is None, log.read_text()
            with contextlib.suppress(ConnectionError):
                socket.create_connection(("127.0.0.1", port), timeout=5).close()
                break
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield
    finally:
        process.terminate()
        process.wait(20)
