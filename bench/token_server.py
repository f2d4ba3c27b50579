# SPDX-License-Identifier: Apache-2.0
"""What `bench.tokens` measures, each in a process of its own: ``python -m bench.token_server``.

``floor`` is the least that any server does for such a request: it parses the form and the client's
credentials and signs a token, on the same uvicorn, and knows no client, no error and no audit.
``keyfob DATABASE FOLDER`` is the whole server as `keyfob server` runs it, its lines of audit in
the folder; the database is a file, or the URL of one in PostgreSQL.
"""

from __future__ import annotations

import base64
import json
import secrets
import sys
import time
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl

import msgspec
from starlette.types import Receive, Scope, Send

from keyfob.cli.collector import calm_collector
from keyfob.cli.console import Console
from keyfob.http.listen import Listen, bind
from keyfob.http.server import HttpServer
from keyfob.server.audit import TokenEvent
from keyfob.server.audit_file import AuditFile
from keyfob.server.limits import LimitSettings
from keyfob.server.serve import make_server
from keyfob.server.settings import ServerSettings
from keyfob.server.stores.place import place_of
from keyfob.tokens.sign import SigningKey

__all__ = ["ISSUER"]

ISSUER: Final = "https://as.example"
_LISTEN: Final = Listen(port=0)
# All of the bench comes from one address; what is counted costs the same.
_NEVER_REACHED: Final = LimitSettings(
    client_burst=1_000_000_000, address_burst=1_000_000_000, address_rate=1_000_000.0
)
_HEADERS: Final = [
    (b"content-type", b"application/json"),
    (b"cache-control", b"no-store"),
    (b"pragma", b"no-cache"),
]


class _Floor:
    """Parses and signs."""

    def __init__(self) -> None:
        self._key = SigningKey.generate("ES256")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        form = dict(parse_qsl(body.decode()))
        basic = dict(scope["headers"])[b"authorization"].partition(b" ")[2]
        device = base64.b64decode(basic).decode().partition(":")[0]
        answer = self._answer(device, form["scope"])
        length = (b"content-length", str(len(answer)).encode())
        headers = [*_HEADERS, length]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    def _answer(self, device: str, scope: str) -> bytes:
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "sub": device,
            "client_id": device,
            "aud": "mqtt",
            "iat": now,
            "exp": now + 3600,
            "jti": secrets.token_urlsafe(16),
            "scope": scope,
        }
        document = {
            "access_token": self._key.sign(claims, typ="at+jwt"),
            "token_type": "Bearer",
            "expires_in": 3600,
            "scope": scope,
        }
        return msgspec.json.encode(document)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})


def _main(what: str, database: str = "", folder: str = "") -> None:
    def ready() -> None:
        calm_collector()
        print(json.dumps({"port": server.port}), flush=True)

    if what == "floor":
        server = HttpServer(_Floor(), _LISTEN, bind(_LISTEN), on_ready=ready)
        server.run()
        return
    settings = ServerSettings(
        issuer=ISSUER, audience="mqtt", database=place_of(database), limits=_NEVER_REACHED
    )
    with (
        (Path(folder) / "log").open("w", encoding="utf-8") as log,
        Console(log) as console,
        AuditFile(Path(folder) / "audit") as file,
    ):

        def audit(event: TokenEvent) -> None:
            file(event)
            console.show(f"issued a token to {event.subject}")

        server = make_server(settings, _LISTEN, audit=audit, on_ready=ready)
        server.run()


if __name__ == "__main__":
    _main(*sys.argv[1:])
