# SPDX-License-Identifier: Apache-2.0
"""The other issuer over HTTP: what it publishes, and a code for an ID token.

Nothing is fetched that a browser or a token names: every address is the issuer's own, from its
metadata. Each exchange has a deadline and a limit, follows no redirect, and so many happen at once
at most.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlsplit

import httpx

from keyfob.config.urls import url_fault
from keyfob.errors import ConfigError, KeyfobError
from keyfob.server.openid.id_token import IdTokenError, read_id_token
from keyfob.server.openid.settings import OpenIdSettings
from keyfob.tokens.jws import json_object
from keyfob.tokens.keys import KeySet

__all__ = ["IssuerMetadata", "OpenIdIssuer", "OpenIdUnavailableError"]

_DEADLINE: Final = 5.0
_MAX_BODY: Final = 262_144
_AT_ONCE: Final = 8
_FRESH: Final = 900.0
# An issuer that failed is not asked for its metadata again for so many seconds: anybody may open
# the page that needs it.
_FAILED: Final = 5.0
# An unknown key causes no more fetches than that, in seconds.
_COOLDOWN: Final = 30.0
# A host that IDNA does not allow is an InvalidURL or a UnicodeError.
_NO_ANSWER: Final = (
    httpx.HTTPError,
    httpx.InvalidURL,
    UnicodeError,
    TimeoutError,
    ssl.SSLError,
)


class OpenIdUnavailableError(Exception):
    """The issuer gave no usable answer; the message is for operators."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerMetadata:
    """What is needed of an issuer's metadata (OpenID Connect Discovery 1.0 section 3)."""

    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    names_itself: bool
    """Whether answers to browsers have to say ``iss`` (RFC 9207)."""


class OpenIdIssuer:
    """One issuer.

    Args:
        settings: Which.
        clock: Unix seconds.
        ticks: Seconds that never step back.

    Raises:
        ConfigError: The CA file is unusable.
    """

    def __init__(
        self, settings: OpenIdSettings, clock: Callable[[], float], ticks: Callable[[], float]
    ) -> None:
        self.settings = settings
        self._clock = clock
        self._ticks = ticks
        self._http = httpx.AsyncClient(
            verify=_trusted(settings), timeout=_DEADLINE, trust_env=False, follow_redirects=False
        )
        self._at_once = asyncio.Semaphore(_AT_ONCE)
        self._metadata: tuple[float, IssuerMetadata] | None = None
        self._discovering = asyncio.Lock()
        self._failed: tuple[float, str] | None = None
        self._keys: tuple[float, KeySet] | None = None

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def metadata(self) -> IssuerMetadata:
        """Return the issuer's metadata, not older than a quarter of an hour.

        Raises:
            OpenIdUnavailableError: It cannot be had, or is not this issuer's.
        """
        known = self._known()
        if known is not None:
            return known
        async with self._discovering:  # those who waited have what the first one got
            return self._known() or await self._discover()

    def _known(self) -> IssuerMetadata | None:
        now = self._ticks()
        if self._metadata is not None and now < self._metadata[0] + _FRESH:
            return self._metadata[1]
        if self._failed is not None and now < self._failed[0] + _FAILED:
            raise OpenIdUnavailableError(self._failed[1])
        return None

    async def _discover(self) -> IssuerMetadata:
        where = self.settings.issuer.rstrip("/") + "/.well-known/openid-configuration"
        try:
            found = _metadata(await self._fetch("GET", where), self.settings)
        except OpenIdUnavailableError as error:
            self._failed = (self._ticks(), str(error))
            raise
        self._metadata = (self._ticks(), found)
        return found

    async def subject(self, code: str, *, verifier: str, redirect_uri: str, nonce: str) -> str:
        """Exchange a code, and return who its ID token says that it is.

        Args:
            code: What the browser brought.
            verifier: What the challenge was made of (RFC 7636).
            redirect_uri: Where the browser was sent back to.
            nonce: What the sign-in was begun with.

        Raises:
            IdTokenError: The issuer takes the code for no good one, or the token is none.
            OpenIdUnavailableError: The issuer gave no usable answer.
        """
        metadata = await self.metadata()
        answer = await self._fetch(
            "POST",
            metadata.token_endpoint,
            form={
                "grant_type": "authorization_code",
                "code": code,
                "redirect_uri": redirect_uri,
                "code_verifier": verifier,
            },
        )
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise IdTokenError("id_token_missing")
        for again in (False, True):
            try:
                keys = await self._key_set(metadata, again=again)
                now = self._clock()
                return read_id_token(token, self.settings, keys, nonce=nonce, now=now)
            except IdTokenError as error:
                if again or not error.key_unknown:
                    raise
        raise AssertionError("the second time returns or raises")

    async def _key_set(self, metadata: IssuerMetadata, *, again: bool) -> KeySet:
        oldest = self._ticks() - (_COOLDOWN if again else _FRESH)
        if self._keys is not None and self._keys[0] > oldest:
            return self._keys[1]
        try:
            keys = KeySet.from_jwks(await self._fetch("GET", metadata.jwks_uri))
        except KeyfobError:
            raise OpenIdUnavailableError("its key set is none") from None
        self._keys = (self._ticks(), keys)
        return keys

    async def _fetch(
        self, method: str, url: str, *, form: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        # RFC 6749 section 2.3.1: both are form-encoded before they become HTTP Basic.
        auth = None
        if form is not None:
            who, secret = self.settings.client_id, self.settings.client_secret
            auth = (quote(who, safe=""), quote(secret, safe=""))
        try:
            async with asyncio.timeout(_DEADLINE), self._at_once:
                status, body = await self._exchange(method, url, form, auth)
        except _NO_ANSWER as error:
            # What the library says may repeat the request.
            raise OpenIdUnavailableError(f"no answer ({type(error).__name__})") from None
        if form is not None and 400 <= status < 500:
            raise IdTokenError("code_refused")
        if status != 200:
            raise OpenIdUnavailableError(f"it answered {status}")
        try:
            return json_object(body, "answer")
        except KeyfobError:
            raise OpenIdUnavailableError("its answer is no JSON object") from None

    async def _exchange(
        self,
        method: str,
        url: str,
        form: Mapping[str, str] | None,
        auth: tuple[str, str] | None,
    ) -> tuple[int, bytes]:
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        async with self._http.stream(method, url, data=form, auth=auth, headers=headers) as answer:
            body = bytearray()
            async for piece in answer.aiter_raw():
                body += piece
                if len(body) > _MAX_BODY:
                    raise OpenIdUnavailableError("its answer is too long")
            return answer.status_code, bytes(body)


def _trusted(settings: OpenIdSettings) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=settings.ca)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"cannot be used: {error}", key="ca") from error


def _metadata(document: Mapping[str, Any], settings: OpenIdSettings) -> IssuerMetadata:
    if document.get("issuer") != settings.issuer:  # OpenID Connect Discovery 1.0 section 4.3
        raise OpenIdUnavailableError("its metadata names another issuer")
    scheme = urlsplit(settings.issuer).scheme
    return IssuerMetadata(
        authorization_endpoint=_url(document, "authorization_endpoint", scheme),
        token_endpoint=_url(document, "token_endpoint", scheme),
        jwks_uri=_url(document, "jwks_uri", scheme),
        names_itself=document.get("authorization_response_iss_parameter_supported") is True,
    )


def _url(document: Mapping[str, Any], name: str, scheme: str) -> str:
    url = document.get(name)
    if not isinstance(url, str) or url_fault(url) is not None:
        raise OpenIdUnavailableError(f"its {name} is no https URL")
    # Nobody who is elsewhere sends us, with our secret, to what listens on this machine.
    if scheme == "https" and urlsplit(url).scheme != "https":
        raise OpenIdUnavailableError(f"its {name} is no https URL")
    return url
