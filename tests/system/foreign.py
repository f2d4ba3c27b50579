# SPDX-License-Identifier: Apache-2.0
"""Two issuers at one foreign authorization server, for an installation that trusts them.

"opaque" issues texts that only it can read, "always" signs its tokens and wants to be asked about
every one. Both are asked at the program of `introspection_server`; "always" pushes security events.
"""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from keyfob.tokens.sign import SigningKey
from tests.free_ports import free_port
from tests.system import introspection_server
from tests.system.introspection_server import CLIENT, SECRET

EVENTS = "https://guard.example/events"
STREAM_SECRET = "stream-secret-of-the-test"
SESSION_REVOKED = "https://schemas.openid.net/secevent/caep/event-type/session-revoked"


class Foreign:
    """The server's program, and what it issues."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process = process
        self.url = f"http://127.0.0.1:{port}"
        self.key = SigningKey.generate("ES256")
        self.control(keys={"keys": [self.key.public_jwk()]})

    def sections(self, **settings: int) -> str:
        """Both issuers for keyfob.toml, asked with these settings, and a port for HTTP."""
        asked = "\n".join(
            [
                "[issuer.introspection]",
                f'endpoint = "{self.url}/introspect"',
                f'client_id = "{CLIENT}"',
                'client_secret = "file:introspection.secret"',
                *(f"{name} = {value}" for name, value in settings.items()),
            ]
        )
        return f"""
[guard.http]
port = {free_port()}

[[issuer]]
name = "opaque"
issuer = "{self.url}/opaque"
audience = ["mqtt"]
algorithms = []
{asked}

[[issuer]]
name = "always"
issuer = "{self.url}/always"
audience = ["mqtt"]
jwks_uri = "{self.url}/jwks"
max_lifetime = 7200
{asked}
use = "always"
prefix = "always_"
[issuer.events]
audience = "{EVENTS}"
authorization = "file:stream.secret"
"""

    def write_secrets(self, directory: Path) -> None:
        """Put the secrets where `sections` says they are."""
        for name, secret in (("introspection", SECRET), ("stream", STREAM_SECRET)):
            path = directory / f"{name}.secret"
            path.write_text(secret, encoding="ascii")
            path.chmod(0o600)

    def control(self, **orders: Any) -> dict[str, Any]:
        request = urllib.request.Request(f"{self.url}/control", json.dumps(orders).encode())
        with urllib.request.urlopen(request, timeout=10) as answer:
            found: dict[str, Any] = json.load(answer)
            return found

    @property
    def asked(self) -> int:
        """How many questions have come."""
        count: int = self.control()["asked"]
        return count

    def claims(self, issuer: str, device: str, *scopes: str, **more: Any) -> dict[str, Any]:
        now = int(time.time())
        return {
            "iss": f"{self.url}/{issuer}",
            "sub": device,
            "client_id": device,
            "aud": "mqtt",
            "iat": now,
            "exp": now + 3600,
            "jti": secrets.token_hex(8),
            "scope": " ".join(["mqtt.connect", *scopes]),
            **more,
        }

    def opaque(self, device: str, *scopes: str) -> str:
        """Issue a text that only the server can read."""
        token = secrets.token_urlsafe(32)
        self.control(tokens={token: self.claims("opaque", device, *scopes)})
        return token

    def signed(self, device: str, *scopes: str, **more: Any) -> str:
        """Issue a JWT that the server wants to be asked about."""
        claims = self.claims("always", device, *scopes, **more)
        token = self.key.sign(claims)
        self.control(tokens={token: claims})
        return token

    def revoke(self, token: str) -> None:
        self.control(revoke=[token])

    def event(self, device: str, *, event: str = SESSION_REVOKED, **more: Any) -> str:
        """Sign a security event about a device."""
        iss, now = f"{self.url}/always", int(time.time())
        claims = {
            "iss": iss,
            "aud": EVENTS,
            "jti": secrets.token_hex(8),
            "iat": now,
            "sub_id": {"format": "iss_sub", "iss": iss, "sub": device},
            "events": {event: {"event_timestamp": now}},
            **more,
        }
        return self.key.sign(claims, typ="secevent+jwt")


@contextmanager
def foreign_server() -> Iterator[Foreign]:
    """Run the server's program."""
    command = [sys.executable, introspection_server.__file__]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield Foreign(process, int(process.stdout.readline()))
        finally:
            process.kill()
