# SPDX-License-Identifier: Apache-2.0
"""A broker that says nothing, or nothing of MQTT, holds nobody up."""

from __future__ import annotations

import gc
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from keyfob.cli.main import run
from tests.cli.commands import PATIENCE

# A command that is ended leaves its sockets to the end of its process, which is not that of a test.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(autouse=True)
def _no_other_test_finds_them() -> Iterator[None]:
    yield
    gc.collect()


@contextmanager
def listener(answer: Callable[[socket.socket], object]) -> Iterator[str]:
    """Something that takes one connection, and does that with it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(PATIENCE)
        accepted: list[socket.socket] = []

        def serve() -> None:
            connection, _ = server.accept()
            accepted.append(connection)
            connection.recv(65_536)
            answer(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"mqtt://127.0.0.1:{server.getsockname()[1]}"
        finally:
            thread.join()
            for one in accepted:
                one.close()


@pytest.fixture
def token(tmp_path: Path) -> tuple[str, ...]:
    file = tmp_path / "token"
    file.write_text("opaque", encoding="ascii")
    return ("--token-file", str(file))


@pytest.mark.parametrize(
    ("command", "number", "code"),
    [
        (("sub", "-t", "a"), signal.SIGINT, 0),
        (("sub", "-t", "a"), signal.SIGTERM, 0),
        (("pub", "-t", "a", "-m", "b"), signal.SIGINT, 130),
        (("pub", "-t", "a", "-m", "b"), signal.SIGTERM, 143),
    ],
)
def test_a_command_that_waits_for_an_answer_can_be_ended(
    capfd: pytest.CaptureFixture[str],
    token: tuple[str, ...],
    command: tuple[str, ...],
    number: int,
    code: int,
) -> None:
    with listener(lambda _: os.kill(os.getpid(), number)) as url:
        assert run([*command, *token, "--broker", url]) == code
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "said", [b"", b"\x20\x03\x00\x88\x00", b"HTTP/1.1 400 Bad Request\r\n\r\n"]
)
def test_one_that_ends_it_is_named_with_what_it_said(
    capfd: pytest.CaptureFixture[str], token: tuple[str, ...], said: bytes
) -> None:
    def answer(connection: socket.socket) -> None:
        connection.sendall(said)
        connection.shutdown(socket.SHUT_RDWR)

    with listener(answer) as url:
        code = run(["pub", "-t", "a", "-m", "b", *token, "--broker", url])
    told = capfd.readouterr().err
    refused = len(said) == 5
    assert code == (0x88 if refused else 2)
    assert url in told
    assert ("server unavailable (0x88)" in told) == refused
    assert told.count("\n") == 1
