# SPDX-License-Identifier: Apache-2.0
"""What ``keyfob token`` asks any authorization server, by way of ``TokenSource``."""

from __future__ import annotations

import contextlib
import getpass
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

from keyfob.cli.output import Exit, answer, finish, here, print_line
from keyfob.cli.shown import time_of
from keyfob.cli.token_file import TokenFile, keep_fresh
from keyfob.device import (
    ClientCredentials,
    ClientSecretBasic,
    Grant,
    Password,
    PrivateKeyJwt,
    PublicClient,
    Token,
    TokenSource,
)
from keyfob.errors import ConfigError, TokenRequestError
from keyfob.oauth.client_authentication import ClientAuthentication

__all__ = [
    "CLIENT_SECRET",
    "DEVICE_SECRET",
    "Asked",
    "Asking",
    "ask_once",
    "no_word_of_a_next_try",
    "refused",
    "secret_of",
    "stay",
]

CLIENT_SECRET: Final = "KEYFOB_CLIENT_SECRET"  # noqa: S105 - a variable's name
DEVICE_SECRET: Final = "KEYFOB_PASSWORD"  # noqa: S105 - a variable's name


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """Whom to ask for which token, and as whom.

    Attributes:
        issuer: The issuer identifier.
        ca: Certificates that alone are trusted; None: the system's.
        client_id: The client.
        username: The device, for the password grant; else empty.
        scope: As RFC 6749 section 3.3 writes it, or empty.
        audience: For servers that have such a parameter, or empty.
        resource: RFC 8707, or empty.
        private_key: A file with the client's key, as PEM; None: it has a secret.
    """

    issuer: str
    ca: Path | None
    client_id: str
    username: str
    scope: str
    audience: str
    resource: str
    private_key: Path | None

    def source(self) -> TokenSource:
        """Return what gets these tokens; secrets are looked for now.

        Raises:
            ConfigError: There is no secret, or something does not fit.
        """
        return self.asked().source

    def asked(self) -> Asked:
        """Return the same, with the names of how it is asked.

        Raises:
            ConfigError: There is no secret, or something does not fit.
        """
        authentication, grant = self._authentication(), self._grant()
        source = TokenSource(
            self.issuer,
            auth=authentication,
            grant=grant,
            scope=self.scope,
            audience=self.audience,
            resource=self.resource,
            ca=self.ca,
        )
        return Asked(
            source=source,
            grant_type=grant.parameters()["grant_type"],
            authentication=_METHODS[type(authentication)],
        )

    def _authentication(self) -> ClientAuthentication:
        if self.private_key is not None:
            return PrivateKeyJwt.from_pem(
                self.private_key.read_bytes(), client_id=self.client_id, audience=self.issuer
            )
        if self.username:  # then an application may be without a secret
            secret = os.environ.get(CLIENT_SECRET, "")
        else:
            secret = secret_of(CLIENT_SECRET, self.client_id)
        if not secret:
            return PublicClient(client_id=self.client_id)
        return ClientSecretBasic(client_id=self.client_id, client_secret=secret)

    def _grant(self) -> Grant:
        if not self.username:
            return ClientCredentials()
        password = secret_of(DEVICE_SECRET, self.username)
        return Password(username=self.username, password=password)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What gets tokens, and how it asks, in the names of RFC 6749 and RFC 8414.

    Attributes:
        source: What gets them.
        grant_type: As a token request names the grant.
        authentication: As metadata name the client's authentication.
    """

    source: TokenSource
    grant_type: str
    authentication: str


_METHODS: Final[dict[type, str]] = {
    ClientSecretBasic: "client_secret_basic",
    PrivateKeyJwt: "private_key_jwt",
    PublicClient: "none",
}


def ask_once(make: Callable[[], TokenSource], *, as_json: bool) -> None:
    """Get one token and print it.

    Raises:
        TokenUnavailableError: The server is away.
    """
    try:
        with no_word_of_a_next_try():
            token = make().get()
    except TokenRequestError as error:
        refused(error, as_json=as_json)
    else:
        data = {
            "access_token": token.access_token,
            "token_type": token.token_type,
            "expires_in": int(token.lifetime),
            "scope": token.scope,
        }
        answer(data, token.access_token, as_json=as_json)


def stay(make: Callable[[], TokenSource], file: TokenFile, *, as_json: bool) -> None:
    """Keep a token in a file until SIGINT or SIGTERM.

    Raises:
        OSError: The file cannot be written.
    """
    ended = threading.Event()
    source = make()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())

    def written(token: Token | None) -> None:
        until = None if token is None else time_of(token.expires_at)
        text = f"{here(file.path)}: " + (f"good until {until}" if until else "no token now")
        # One line each, for who reads along.
        print_line(json.dumps({"file": str(file.path), "until": until}) if as_json else text)

    try:
        keep_fresh(source, file, ended, written)
    except TokenRequestError as error:
        refused(error, as_json=as_json)


@contextlib.contextmanager
def no_word_of_a_next_try() -> Iterator[None]:
    """Keep the source from telling when it will try again: it will not, the command ends."""
    log = logging.getLogger("keyfob.device")
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(before)


def refused(error: TokenRequestError, *, as_json: bool) -> NoReturn:
    """Tell that the server refuses, and end the command with 1."""
    data = {"error": error.error, "message": error.message}
    answer(data, f"{error.message} ({error.error})", as_json=as_json)
    finish(Exit.REFUSED)


def secret_of(variable: str, owner: str) -> str:
    """Return a secret from the environment, a pipe, or the person who sits there.

    Raises:
        ConfigError: There is none.
    """
    secret = os.environ.get(variable, "")
    if not secret and sys.stdin.isatty():
        secret = getpass.getpass(f"secret of {owner}: ")
    elif not secret:
        secret = sys.stdin.readline().strip()
    if not secret:
        raise ConfigError(f"no secret of {owner}: set {variable}, or pipe it in")
    return secret
