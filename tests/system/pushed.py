# SPDX-License-Identifier: Apache-2.0
"""An installation whose guard hears of revocations by pushed events alone: its feed is off."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from keyfob.cli.server_database import server_database
from keyfob.server.events.receiver import ReceiverStatus
from keyfob.server.events.receiver_register import ReceiverRegister
from tests.free_ports import free_port
from tests.running import Installation, installation

AUDIENCE = "https://guard.example/events"
SECRET = "stream-secret-of-the-test"
_FEED = 'revocation_client = "keyfob-guard"\nrevocation_secret = "file:guard.secret"\n'
_EVENTS = f"""max_lifetime = 86400

[issuer.events]
audience = "{AUDIENCE}"
authorization = "file:stream.secret"
"""


def receivers(up: Installation) -> ReceiverRegister:
    return ReceiverRegister.open(server_database(up.settings), None)


def status(up: Installation) -> ReceiverStatus:
    with receivers(up) as register:
        return register.status("guard")[1]


@contextmanager
def pushed_installation(directory: Path, **options: Any) -> Iterator[Installation]:
    """Run `keyfob up` so, with a receiver "guard" that is its own guard."""

    def configured(folder: Path) -> None:
        path = folder / "keyfob.toml"
        text = path.read_text(encoding="utf-8")
        assert _FEED in text
        path.write_text(text.replace(_FEED, _EVENTS), encoding="utf-8")
        secret = folder / "stream.secret"
        secret.write_text(SECRET, encoding="ascii")
        secret.chmod(0o600)

    port = free_port()
    sections = [f"[guard.http]\nport = {port}"]
    with installation(directory, issuers=sections, configured=configured, **options) as up:
        url = f"http://127.0.0.1:{port}/events"
        with receivers(up) as register:
            register.add("guard", url=url, audience=AUDIENCE, secret=SECRET)
        yield up
