# SPDX-License-Identifier: Apache-2.0
"""An authorization server of another project, run for tests: real tokens, real keys that rotate.

Every server knows the same two kinds of devices, in its own words: a *sensor* publishes below
``devices/<itself>`` and hears ``commands/<itself>``, a *dashboard* reads every temperature.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import httpx

from tests.interop.fetched import ROOT
from tests.running import until

AUDIENCE = "mqtt"
SCRIPT = ROOT / "scripts" / "foreign-servers"
START_TIMEOUT = 300.0
STOP_TIMEOUT = 20.0

KEYS_KEPT = 6
"""Keys that stay published after rotations, as long as tokens of theirs may be about: the guard
reads no more than 64 of a set."""

Kind = Literal["sensor", "dashboard"]


@dataclass(frozen=True, kw_only=True)
class TokenRequest:
    """A client credentials request (RFC 6749 section 4.4), for whichever HTTP client sends it."""

    url: str
    credentials: tuple[str, str] = field(repr=False)
    form: Mapping[str, str]


class ForeignServer(ABC):
    """One running server.

    Attributes:
        name: What it is called.
        issuer: What its tokens carry as ``iss``.
        id_token_refused: What keeps its ID tokens out, once issuer, signature and audience fit.
        http: A client with no state, for this server alone.
    """

    name: str
    issuer: str
    id_token_refused: str

    def __init__(self) -> None:
        self.http = httpx.Client(timeout=120, trust_env=False)

    def token(self, client: str) -> str:
        """Ask for a token as a device does."""
        return self._answer(self.token_request(client))

    @abstractmethod
    def settings(self, *more: str) -> list[str]:
        """Return the lines of the ``[[issuer]]`` section that trusts it, ``more`` before tables."""

    @abstractmethod
    def add(self, kind: Kind, *clients: str) -> None:
        """Register devices that are not registered yet."""

    @abstractmethod
    def token_request(self, client: str) -> TokenRequest:
        """Return the request for a device's token."""

    @abstractmethod
    def short_lived(self, client: str) -> str:
        """Return a token that lives for some seconds only."""

    @abstractmethod
    def token_for_another_audience(self, client: str) -> str:
        """Return a device's token for another resource server."""

    @abstractmethod
    def id_token(self) -> tuple[str, str]:
        """Return an ID token whose ``aud`` is the broker's, and the device that it seems to be.

        It comes to that where a client is called what the audience is called.
        """

    @abstractmethod
    def publish_key(self) -> None:
        """Publish a new key that does not sign yet."""

    @abstractmethod
    def use_key(self) -> None:
        """Sign with the key that was published last; those before it stay published."""

    @abstractmethod
    def rotate_unannounced(self) -> None:
        """Publish a new key and sign with it at once."""

    @abstractmethod
    def keys_asked(self) -> int:
        """How often somebody fetched the key set."""

    def _answer(self, request: TokenRequest, member: str = "access_token") -> str:
        response = self.http.post(request.url, data=dict(request.form), auth=request.credentials)
        assert response.status_code == 200, response.text
        token: str = response.json()[member]
        return token


@contextlib.contextmanager
def running(
    command: Sequence[str], log_file: Path, ready: str, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program and all that it starts, from its line ``ready`` until the block ends."""
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=os.environ | (environment or {}),
            start_new_session=True,
        )
    try:
        until(
            f"{command[0]} is ready",
            lambda: ready in log_file.read_text() or process.poll() is not None,
            START_TIMEOUT,
        )
        assert process.poll() is None, log_file.read_text()
        yield process
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_TIMEOUT)
            return
