# SPDX-License-Identifier: Apache-2.0
"""An authorization server that answers about opaque tokens (RFC 7662), or misbehaves as told.

A program of its own, so that nothing of the test's process makes it slow: it prints its port and
serves until it is killed. Its keys are at /jwks; tests put tokens and moods into it at /control.
"""

from __future__ import annotations

import json
import time
from base64 import b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

CLIENT, SECRET = "guard", "guard-secret-of-the-test"
AUTHORIZATION = "Basic " + b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
FOREVER = 3600.0


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    mood = "well"
    """well, slow, hang, status, garbage, page, drip."""
    asked = 0

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.tokens: dict[str, dict[str, Any]] = {}
        self.keys: dict[str, Any] = {"keys": []}

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a guard that gives up closes its connections."""


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._answer(self.server.keys)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/control":
            self._control(json.loads(body))
        else:
            self.server.asked += 1
            getattr(self, f"_{self.server.mood}")(body)

    def log_message(self, *_: object) -> None:
        """Print nothing."""

    def _control(self, orders: dict[str, Any]) -> None:
        self.server.tokens.update(orders.get("tokens", {}))
        for token in orders.get("revoke", ()):
            self.server.tokens.pop(token, None)
        self.server.keys = orders.get("keys", self.server.keys)
        self.server.mood = orders.get("mood", self.server.mood)
        self._answer({"asked": self.server.asked})

    def _well(self, body: bytes) -> None:
        if self.headers["Authorization"] != AUTHORIZATION:
            self._answer({"error": "invalid_client"}, status=401)
            return
        token = parse_qs(body.decode())["token"][0]
        members = self.server.tokens.get(token)
        self._answer({"active": False} if members is None else {"active": True, **members})

    def _slow(self, body: bytes) -> None:
        time.sleep(0.5)
        self._well(body)

    def _hang(self, _: bytes) -> None:
        time.sleep(FOREVER)

    def _status(self, _: bytes) -> None:
        self._answer({"error": "server_error"}, status=500)

    def _garbage(self, _: bytes) -> None:
        self._answer({"active": "true", "sub": ["?"]})

    def _page(self, _: bytes) -> None:
        self._send(200, "text/html", b"<html>Please log in</html>")

    def _drip(self, _: bytes) -> None:
        body = b'{"active": true, "sub": "dripped", "aud": "mqtt"}'
        self._head(200, "application/json", len(body))
        for byte in body:
            self.wfile.write(bytes([byte]))
            time.sleep(0.5)

    def _answer(self, document: Any, *, status: int = 200) -> None:
        self._send(status, "application/json", json.dumps(document).encode())

    def _send(self, status: int, media_type: str, body: bytes) -> None:
        self._head(status, media_type, len(body))
        self.wfile.write(body)

    def _head(self, status: int, media_type: str, length: int) -> None:
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(length))
        self.end_headers()


def main() -> None:
    with Server() as server:
        print(server.server_port, flush=True)
        server.serve_forever(0.05)


if __name__ == "__main__":
    main()
