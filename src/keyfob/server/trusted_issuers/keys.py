# SPDX-License-Identifier: Apache-2.0
"""Where the keys of trusted issuers come from: the configuration, a file, or their ``jwks_uri``.

Nothing here is steered by an assertion: an address comes from the configuration alone, and a key
that is not known causes at most one fetch in a cooldown, whoever asks how often. What is fetched is
bounded in time and size, redirects are not followed, and the last good keys stay in use while an
issuer is down.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit

import httpx

from keyfob.errors import ConfigError, KeyfobError, UpstreamError
from keyfob.server.trusted_issuers.settings import TrustedAssertionIssuer
from keyfob.tokens.keys import MAX_JWKS_BYTES, KeySet

__all__ = ["FetchedKeys", "FileKeys", "IssuerKeys", "StaticKeys", "keys_of"]

REFRESH: Final = 900.0
COOLDOWN: Final = 30.0
DEADLINE: Final = 5.0


class IssuerKeys(Protocol):
    """The keys of one issuer."""

    async def current(self, *, again: bool = False) -> KeySet:
        """Return the keys.

        Args:
            again: Whether the last answer did not know a key, so that a newer one is wanted.

        Raises:
            UpstreamError: There are none.
        """


def keys_of(issuer: TrustedAssertionIssuer, monotonic: Callable[[], float]) -> IssuerKeys:
    """Return where an issuer's keys come from.

    Raises:
        ConfigError: Its file or its CA cannot be read.
    """
    if issuer.jwks:
        return StaticKeys(issuer.inline_keys())
    if issuer.jwks_file is not None:
        return FileKeys(issuer.jwks_file)
    return FetchedKeys(issuer.jwks_uri, monotonic, ca=issuer.ca)


class StaticKeys:
    """Keys that never change.

    Args:
        keys: They.
    """

    def __init__(self, keys: KeySet) -> None:
        self._keys = keys

    async def current(self, *, again: bool = False) -> KeySet:  # noqa: ARG002 - there are no others
        """Return them."""
        return self._keys


class FileKeys:
    """Keys in a file, which is read again when it has changed.

    Args:
        path: The file.

    Raises:
        ConfigError: It cannot be read, or holds no usable key.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._stamp, self._keys = self._read()
        except (OSError, UpstreamError) as error:
            raise ConfigError(f"{path}: {_why(error)}", key="jwks_file") from error

    async def current(self, *, again: bool = False) -> KeySet:  # noqa: ARG002 - looked at each time
        """Return them; a file that became unreadable leaves the last good ones."""
        try:
            if self._stamp_now() != self._stamp:
                self._stamp, self._keys = self._read()
        except (OSError, UpstreamError):
            pass
        return self._keys

    def _stamp_now(self) -> tuple[int, int, int]:
        found = self._path.stat()
        return found.st_mtime_ns, found.st_size, found.st_ino

    def _read(self) -> tuple[tuple[int, int, int], KeySet]:
        stamp = self._stamp_now()  # before: a change in between is seen the next time
        with self._path.open("rb") as file:
            keys = KeySet.from_jwks(file.read(MAX_JWKS_BYTES + 1))
        if not keys.keys:
            raise UpstreamError("holds no usable public key", code="upstream_invalid")
        return stamp, keys


class FetchedKeys:
    """Keys at an address.

    Args:
        url: The address, https or on this machine; from the configuration.
        monotonic: Seconds that only pass.
        ca: What its certificate is checked with; None: what the system trusts.
        transport: What carries the requests instead of the network (httpx).

    Raises:
        ConfigError: The CA file is unusable.
    """

    def __init__(
        self,
        url: str,
        monotonic: Callable[[], float],
        *,
        ca: Path | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._url = url
        self._monotonic = monotonic
        self._transport = transport
        self._keys: KeySet | None = None
        self._fetched_at = self._tried_at = float("-inf")
        self._one_at_a_time = asyncio.Lock()
        try:
            self._tls = ssl.create_default_context(cafile=ca)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(f"cannot use the CA file {ca}: {error}", key="ca") from error

    async def current(self, *, again: bool = False) -> KeySet:
        """Return the keys, fetched where they are old, missing, or lack what somebody wants."""
        asked_at = self._monotonic()
        fetching = self._one_at_a_time.locked() and (again or self._keys is None)
        if fetching or self._is_wanted(again=again):
            async with self._one_at_a_time:
                # Whoever waited here meanwhile has what the one before him fetched.
                if self._tried_at < asked_at and self._is_wanted(again=again):
                    await self._fetch()
        if self._keys is None:
            raise UpstreamError("the issuer's keys are not at hand")
        return self._keys

    def _is_wanted(self, *, again: bool) -> bool:
        now = self._monotonic()
        if now < self._tried_at + COOLDOWN:
            return False
        return again or self._keys is None or now >= self._fetched_at + REFRESH

    async def _fetch(self) -> None:
        self._tried_at = self._monotonic()
        try:
            keys = KeySet.from_jwks(await self._get())
        except (KeyfobError, httpx.HTTPError, httpx.InvalidURL, TimeoutError):
            return  # the last good ones stay
        if keys.keys:
            self._keys, self._fetched_at = keys, self._tried_at

    async def _get(self) -> bytes:
        body = bytearray()
        async with (
            asyncio.timeout(DEADLINE),
            httpx.AsyncClient(
                verify=self._tls,
                transport=self._transport,
                follow_redirects=False,
                # A proxy from the environment serves the world, not this machine's own ports.
                trust_env=urlsplit(self._url).scheme == "https",
                # A small compressed body can unfold into a huge one.
                headers={"Accept": "application/json", "Accept-Encoding": "identity"},
                timeout=None,  # noqa: S113 - the whole exchange is bounded, not each read
            ) as client,
            client.stream("GET", self._url) as response,
        ):
            encoding = response.headers.get("content-encoding", "identity")
            if response.status_code != 200 or encoding != "identity":
                raise UpstreamError("no key set there", code="upstream_invalid")
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > MAX_JWKS_BYTES:
                    raise UpstreamError("too long", code="upstream_invalid")
        return bytes(body)


def _why(error: OSError | UpstreamError) -> str:
    return error.message if isinstance(error, UpstreamError) else str(error.strerror)
