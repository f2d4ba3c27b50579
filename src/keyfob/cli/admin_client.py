# SPDX-License-Identifier: Apache-2.0
"""Asks the admin API of a server somewhere else, as a service that is registered there."""

from __future__ import annotations

import json
import os
import re
import ssl
import stat
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias, TypeVar
from urllib.parse import quote, urlsplit

import httpx
import msgspec

from keyfob.errors import (
    ClaimError,
    ConfigError,
    ConflictError,
    KeyfobError,
    NotFoundError,
    ProtocolError,
    TopicError,
    UntrustedTokenError,
    UpstreamError,
)
from keyfob.loopback import is_loopback
from keyfob.server.admin.problems import Problem
from keyfob.server.admin_scopes import ADMIN_PATH
from keyfob.server.endpoints.metadata import TOKEN_PATH
from keyfob.server.fleet import Selection
from keyfob.server.json_body import LINES_TYPE
from keyfob.server.names import is_name

__all__ = [
    "NOTHING",
    "PAGE",
    "AdminClient",
    "Credentials",
    "gathered",
    "one",
    "read_credentials",
    "selected",
]

NOTHING: Final = type(None)
"""What an answer without content is."""
PAGE: Final = 1_000
"""So much of a list at a time."""

CLIENT_ID: Final = "KEYFOB_CLIENT_ID"
CLIENT_SECRET: Final = "KEYFOB_CLIENT_SECRET"  # noqa: S105 - a variable's name
_SECONDS: Final = 30.0
# A token is left that has less than this to live.
_SLACK: Final = 60
_MAX_FILE_BYTES: Final = 65_536
# A scheme, a host with a port perhaps, and a path: no user, query or fragment, and no spaces.
_SERVER: Final = re.compile(r"https?://[^\s@?#\\\x00-\x20\x7f]+", re.ASCII)
Query: TypeAlias = dict[str, str | int]
_T = TypeVar("_T")
_T_co = TypeVar("_T_co", covariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """A service's name and secret."""

    client_id: str
    client_secret: str = field(repr=False)


def read_credentials(file: Path | None) -> Credentials:
    """Return who asks, from a file or the environment; never from the command line.

    Args:
        file: What ``keyfob service add --json`` printed, which nobody else may read; None: the
            environment has both.

    Raises:
        ConfigError: There is none, or others may read the file.
    """
    if file is None:
        client_id, secret = os.environ.get(CLIENT_ID), os.environ.get(CLIENT_SECRET)
        where = f"set {CLIENT_ID} and {CLIENT_SECRET}, or name a file with --credentials"
    else:
        found = _document(file)
        client_id, secret = found.get("client_id"), found.get("client_secret")
        where = f"{file}: write what `keyfob service add --json` printed"
    if not isinstance(client_id, str) or not isinstance(secret, str) or not client_id or not secret:
        raise ConfigError(f"no credentials for the server: {where}")
    return Credentials(client_id=client_id, client_secret=secret)


class AdminClient:
    """One conversation with an admin API; a context manager that ends it.

    Args:
        server: The issuer's URL.
        credentials: Who asks.
        ca: A file of certificates to trust beside the system's.

    Raises:
        ConfigError: The URL is no https URL, or the certificates cannot be read.
    """

    def __init__(self, server: str, credentials: Credentials, *, ca: Path | None = None) -> None:
        self._base = _checked(server)
        self._credentials = credentials
        # The environment's proxies and netrc are none of our business.
        self._http = httpx.Client(verify=_context(ca), timeout=_SECONDS, trust_env=False)
        self._token, self._ends = "", 0.0

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def ask(
        self,
        method: str,
        *path: str,
        kind: type[_T],
        body: object = None,
        query: Mapping[str, str | int] | None = None,
        lines: bytes | None = None,
    ) -> _T:
        """Ask for something and return it.

        Args:
            method: Of HTTP.
            path: The parts of the path, which are not encoded yet.
            kind: What the answer is; NoneType for none.
            body: What is sent, as JSON.
            query: Parameters.
            lines: What is sent instead, as JSON lines.

        Raises:
            KeyfobError: As the register itself would say it; ``UpstreamError`` where the server
                does not answer, ``ClaimError`` where the service may not do this.
        """
        answer = self._asked(method, path, body=body, query=query, lines=lines)
        try:
            # Members that this Keyfob does not know are those of a newer server.
            return msgspec.convert(json.loads(answer.content or b"null"), kind)
        except (ValueError, msgspec.ValidationError) as error:
            where = self._base + ADMIN_PATH
            raise ProtocolError(f"{where} answers in another way than this Keyfob knows") from error

    def read_lines(self, *path: str, query: Mapping[str, str | int]) -> tuple[str, str | None]:
        """Ask for JSON lines; return them, and what ``after`` has to be for the next ones.

        Raises:
            KeyfobError: As ``ask``.
        """
        answer = self._asked("GET", path, query=query)
        following = answer.links.get("next", {}).get("url")
        after = None if following is None else httpx.URL(following).params.get("after")
        return answer.text, after

    def _asked(
        self,
        method: str,
        path: tuple[str, ...],
        *,
        query: Mapping[str, str | int] | None,
        body: object = None,
        lines: bytes | None = None,
    ) -> httpx.Response:
        if not self._token or time.monotonic() > self._ends:
            self._token = self._fetch_token()
        url = self._base + ADMIN_PATH + "".join("/" + quote(part, safe="") for part in path)
        headers = {"Authorization": f"Bearer {self._token}"}
        content = lines if body is None else msgspec.json.encode(body)
        if content is not None:
            headers["Content-Type"] = LINES_TYPE if body is None else "application/json"
        answer = self._sent(method, url, headers=headers, content=content, params=query)
        if not answer.is_success:
            raise _error(answer)
        return answer

    def _fetch_token(self) -> str:
        one = self._credentials
        # RFC 6749 section 2.3.1: both are form-encoded before they are put into HTTP Basic.
        basic = httpx.BasicAuth(quote(one.client_id, safe=""), quote(one.client_secret, safe=""))
        form = {"grant_type": "client_credentials"}
        answer = self._sent("POST", self._base + TOKEN_PATH, data=form, auth=basic)
        try:
            document = answer.json()
        except ValueError:
            document = None
        if answer.status_code == 200 and isinstance(document, dict):
            token = document.get("access_token")
            if isinstance(token, str) and token:
                # A long import needs several.
                lifetime = document.get("expires_in")
                seconds = lifetime if isinstance(lifetime, int) else 0
                self._ends = time.monotonic() + max(0, seconds - _SLACK)
                return token
        if answer.status_code == 400:
            raise ClaimError(
                f"the service {one.client_id!r} is registered for nothing of the admin API",
                code="scope_missing",
                claim="scope",
            )
        if answer.status_code == 401:
            raise UntrustedTokenError(
                f"the server does not take the credentials of {one.client_id!r}",
                code="token_inactive",
            )
        raise _failed(answer)

    def _sent(self, method: str, url: str, **options: Any) -> httpx.Response:
        try:
            return self._http.request(method, url, **options)
        except httpx.HTTPError as error:
            raise UpstreamError(f"{self._base}: {str(error) or type(error).__name__}") from error


def one(resource: str, name: str) -> tuple[str, str]:
    """Return the path of one thing.

    Raises:
        ConfigError: What is no name never gets into a URL, and so into no log.
    """
    if not is_name(name):
        raise ConfigError(f"that is no name of one of the {resource}")
    return resource, name


class _Page(Protocol[_T_co]):
    """A part of a list."""

    @property
    def items(self) -> tuple[_T_co, ...]:
        """What is in it."""

    @property
    def next(self) -> str | None:
        """What the next one begins behind."""


def gathered(
    ask: Callable[[Query], _Page[_T_co]], *, after: str = "", limit: int | None = None
) -> tuple[_T_co, ...]:
    """Return a list that comes in pages.

    Args:
        ask: Asks for one of them, by its place in the list.
        after: The name before the first; empty for the beginning.
        limit: How many at most; None: all.
    """
    items: list[_T_co] = []
    while limit is None or len(items) < limit:
        size = PAGE if limit is None else min(PAGE, limit - len(items))
        page = ask({"after": after, "limit": size})
        items += page.items
        if page.next is None:
            break
        after = page.next
    return tuple(items)


def selected(selection: Selection) -> Query:
    """Return the parameters that select devices."""
    query: Query = {"group": selection.group}
    if selection.label is not None:
        query["label"] = "=".join(selection.label)
    if selection.state is not None:
        query["state"] = selection.state
    return query


def _error(answer: httpx.Response) -> KeyfobError:
    """Return the error that a problem is, as the register itself would raise it."""
    try:
        problem = msgspec.json.decode(answer.content, type=Problem)
    except msgspec.DecodeError:
        return _failed(answer)
    detail, code = problem.detail, problem.code
    if answer.status_code == 401:
        return UntrustedTokenError(detail, code="token_inactive")
    if answer.status_code == 403:
        return ClaimError(detail, code="scope_missing", claim="scope")
    if answer.status_code == 404:
        return NotFoundError(detail)
    if answer.status_code == 409:
        return ConflictError(detail)
    if code in ("topic_invalid", "placeholder_refused"):
        return TopicError(detail, code=code)
    if answer.status_code < 500 and answer.status_code != 429:
        return ConfigError(detail)
    return UpstreamError(f"the server cannot do it now: {detail}")


def _failed(answer: httpx.Response) -> KeyfobError:
    return UpstreamError(f"{answer.url.copy_with(query=None)} answers {answer.status_code}")


def _checked(server: str) -> str:
    try:
        url = urlsplit(server)
        httpx.URL(server)  # what asks later
        plain = url.scheme == "http" and is_loopback(url.hostname or "")
        whole = bool(url.hostname) and url.port != 0
    except (ValueError, httpx.InvalidURL):
        raise _no_server() from None
    if not whole or not (url.scheme == "https" or plain) or not _SERVER.fullmatch(server):
        raise _no_server()
    return server.rstrip("/")


def _no_server() -> ConfigError:
    # What was given is not repeated: it may hold a password.
    return ConfigError("that is no server such as https://host:8443", key="server")


def _context(ca: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if ca is not None:
        try:
            context.load_verify_locations(ca)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(f"{ca}: no certificates to trust: {error.strerror}") from error
    return context


def _document(file: Path) -> Mapping[str, Any]:
    try:
        with file.open("rb") as opened:
            if stat.S_IMODE(os.fstat(opened.fileno()).st_mode) & 0o077:
                raise ConfigError(f"{file}: others may read it, and it has a secret: chmod 600 it")
            document = json.loads(opened.read(_MAX_FILE_BYTES))
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}") from error
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
