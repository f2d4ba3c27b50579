# SPDX-License-Identifier: Apache-2.0
"""`keyfob receiver`: who is told of revocations, also of a server that runs."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from keyfob.cli.installation import Installation
from keyfob.tokens.verify import unverified
from tests.cli.commands import Shell, started, wait_for

SECRET = "0123456789abcdef"
URL = "https://guard.example/events"


@contextmanager
def listening(status: int, body: bytes = b"") -> Iterator[tuple[str, list[tuple[Any, str]]]]:
    """A receiver of the standard library; what came to it, with its headers."""
    came: list[tuple[Any, str]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            came.append((self.headers, self.rfile.read(length).decode()))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/events", came
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_without_receivers_the_list_says_what_to_type(shell: Shell) -> None:
    assert "keyfob receiver add" in shell.ok("receiver", "list").out
    assert shell.json("receiver", "list") == []


def test_a_receiver_is_added_listed_shown_and_removed(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\n")
    made = shell.json("receiver", "add", "guard", "--url", URL, "--audience", "guards",
                      "--authorization-file", str(file))  # fmt: skip
    assert (made["url"], made["audience"], made["authorization"]) == (URL, "guards", "Bearer")
    assert shell.json("receiver", "list") == [made]
    assert "guards" in shell.ok("receiver", "list").out
    shell.secret("dev1")
    shell.ok("device", "disable", "dev1")
    status = shell.json("receiver", "status", "guard")
    assert (status["pending"], status["delivered"], status["last_error"]) == (1, 0, None)
    everything = "".join(
        shell.ok("receiver", *words).out for words in (("list",), ("status", "guard"))
    )
    assert SECRET not in everything
    assert shell.json("receiver", "remove", "guard") == {"name": "guard", "removed": True}
    gone = shell("receiver", "status", "guard", "--json")
    assert (gone.code, gone.json["error"]) == (2, "not_found")


def test_what_is_wrong_is_one_line_without_the_secret(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    for content in (f"Bearer {SECRET}", ""):
        file.write_text(content)
        outcome = shell("receiver", "add", "g", "--url", URL, "--authorization-file", str(file))
        assert outcome.code == 2
        assert SECRET not in outcome.err
        assert outcome.err.count("\n") == 1
    for words in (["--url", "http://guard.example/"], ["--url", URL, "--ca", str(file)]):
        assert shell("receiver", "add", "g", *words).code == 2
    file.write_text("# Gemälde\n", encoding="utf-8")
    outcome = shell("receiver", "add", "g", "--url", URL, "--ca", str(file))
    assert (outcome.code, outcome.err.count("\n")) == (2, 1)
    assert "not ASCII" in outcome.err
    file.write_bytes(b"\xff\xfe")
    assert shell("receiver", "add", "g", "--url", URL, "--ca", str(file)).code == 2
    assert shell("receiver", "add", "g", "--url", URL, "--ca", str(tmp_path / "no")).code == 2


def test_a_running_server_pushes_what_a_command_revokes(
    installation: Installation, shell: Shell, tmp_path: Path
) -> None:
    directory = str(installation.directory)
    with (
        listening(202) as (url, came),
        started(tmp_path / "log", "server", "--dir", directory) as server,
    ):
        server.until("ready at")
        shell.ok("receiver", "add", "here", "--url", url)
        shell.secret("dev1")
        shell.ok("device", "disable", "dev1")
        wait_for("the event", lambda: came)
        wait_for("its note", lambda: shell.json("receiver", "status", "here")["delivered"] == 1)
    ((headers, token),) = came
    assert headers["Content-Type"] == "application/secevent+jwt"
    assert headers["Authorization"] is None
    keys = json.loads(shell.ok("key", "list", "--json").out)
    assert dict(unverified(token)[0]) == {
        "alg": "ES256",
        "kid": keys[0]["kid"],
        "typ": "secevent+jwt",
    }


def test_the_server_says_what_a_receiver_refuses(
    installation: Installation, shell: Shell, tmp_path: Path
) -> None:
    directory = str(installation.directory)
    refusal = b'{"err": "invalid_request", "description": "kfs_secret"}'
    with (
        listening(400, refusal) as (url, _),
        started(tmp_path / "log", "server", "--dir", directory) as server,
    ):
        shell.ok("receiver", "add", "here", "--url", url)
        shell.secret("dev1")
        shell.ok("device", "disable", "dev1")
        server.until("was refused for good: invalid_request; it is skipped")
        assert "kfs_secret" not in server.output()
    assert shell.json("receiver", "status", "here")["rejected"] == 1
