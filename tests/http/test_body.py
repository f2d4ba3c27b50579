# SPDX-License-Identifier: Apache-2.0
"""A body is read to its end, or refused for its size or its slowness, whoever sends it."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import httpx
import pytest

from keyfob.http.listen import Listen
from keyfob.http.server import HttpServer
from tests.http.running import MAX_BODY, PATIENCE, running


@pytest.fixture(scope="module")
def server() -> Iterator[HttpServer]:
    with running(Listen(port=0)) as made:
        yield made


@pytest.mark.parametrize(("length", "status"), [(0, 200), (MAX_BODY, 200), (MAX_BODY + 1, 413)])
def test_a_body_up_to_the_limit_is_read(server: HttpServer, length: int, status: int) -> None:
    url = f"http://127.0.0.1:{server.port}/length"
    answer = httpx.post(url, content=b"x" * length, trust_env=False)
    text = str(length) if status == 200 else "body_too_large"
    assert (answer.status_code, answer.text) == (status, text)


def test_a_body_that_does_not_come_is_not_waited_for(server: HttpServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as connection:
        connection.sendall(b"POST /length HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx")
        assert connection.recv(65_536).startswith(b"HTTP/1.1 408")
