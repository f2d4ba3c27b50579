# SPDX-License-Identifier: Apache-2.0
"""Requesting: one client of one authorization server asks for tokens; flows, without any I/O.

Where the endpoints are is known, or the issuer says so (RFC 8414) and is believed for an hour.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from keyfob.device.clock import Clock, Moment, age
from keyfob.device.dpop import dpop_proof
from keyfob.device.flow import Answer, Exchange, Flow, Pause
from keyfob.device.grants import DeviceCode, Grant, Invitation, JWTBearer
from keyfob.device.token import Token
from keyfob.device.token_answers import error_of, read_json, read_token, refusal
from keyfob.errors import (
    ConfigError,
    TokenRequestError,
    TokenUnavailableError,
    UpstreamError,
)
from keyfob.oauth.client_authentication import (
    ClientAuthentication,
    ClientSecretBasic,
    NoClient,
    PublicClient,
)
from keyfob.oauth.metadata import Metadata, metadata_urls, read_metadata
from keyfob.oauth.urls import require_safe
from keyfob.tokens import base64url
from keyfob.tokens.sign import SigningKey

__all__ = ["Requesting", "Wish", "authentication_of"]

METADATA_FRESH: Final = 3600.0
"""Seconds for which the issuer's metadata are believed."""

INTERVAL: Final = 5.0
"""Seconds between two questions about a device code, where the server names none (RFC 8628 3.2)."""

LEAST_INTERVAL: Final = 1.0
LONGEST_INTERVAL: Final = 300.0
SLOWER: Final = 5.0
LONGEST_LOGIN: Final = 3600.0

_DISTINCT: Final = ("login_hint", "authorization_details", "req_cnf")
"""Parameters, none of them a secret, that say whose a token is, what it allows or what proves it
(OpenID Connect Core section 3.1.2.1, RFC 9396 section 2, RFC 9201 section 3.1)."""

_NONCE: Final = re.compile(r"[\x21\x23-\x5B\x5D-\x7E]{1,1024}")  # RFC 9449 section 8.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the tokens are to be good for.

    Attributes:
        scope: As RFC 6749 section 3.3 writes it; empty: what the server gives by default.
        audience: For servers that have such a parameter (Auth0); empty: not sent.
        resource: Which resource server it is for (RFC 8707); empty: not sent.
        parameters: More parameters, as a server may want them.
    """

    scope: str = ""
    audience: str = ""
    resource: str = ""
    parameters: Mapping[str, str] | None = field(default=None, repr=False)

    def form(self, *, scope: bool = True) -> dict[str, str]:
        """Return the parameters that say so.

        Args:
            scope: Whether the scope is among them.
        """
        stated = {"scope": self.scope, "audience": self.audience, "resource": self.resource}
        if not scope:
            del stated["scope"]
        return {name: value for name, value in stated.items() if value} | dict(
            self.parameters or {}
        )


class Requesting:
    """Asks for tokens as one client.

    Args:
        issuer: The issuer identifier; empty where ``token_endpoint`` is given.
        authentication: Who asks.
        wish: For what.
        clock: Tells the time.
        token_endpoint: Its URL; empty: the issuer says it.
        device_authorization_endpoint: The same, for ``DeviceCode``.
        dpop: The key that tokens are to be bound to (RFC 9449); None: they are not.
        mutual_tls: Whether the client shows a certificate.
        username: Whose tokens they are, for ``Password``; empty: the client's, or nobody says.

    Raises:
        ConfigError: Neither issuer nor endpoint, or no URL that may be called.
    """

    def __init__(
        self,
        issuer: str,
        authentication: ClientAuthentication,
        *,
        wish: Wish,
        clock: Clock,
        token_endpoint: str = "",
        device_authorization_endpoint: str = "",
        dpop: SigningKey | None = None,
        mutual_tls: bool = False,
        username: str = "",
    ) -> None:
        if not issuer and not token_endpoint:
            raise ConfigError("name the authorization server: its issuer, or its token_endpoint")
        if issuer:
            metadata_urls(issuer)
        for endpoint in filter(None, (token_endpoint, device_authorization_endpoint)):
            require_safe(endpoint)
        self._issuer = issuer
        self._authentication = authentication
        self._wish = wish
        self._clock = clock
        self._configured = {
            "token_endpoint": token_endpoint,
            "device_authorization_endpoint": device_authorization_endpoint,
        }
        self._dpop = dpop
        self._mutual_tls = mutual_tls
        who = (authentication.client_id, username)
        self.origin = _origin(issuer or token_endpoint, who, wish, dpop)
        """A digest of who asks whom for what, for ``Token.origin``."""
        self._nonce = ""
        self._metadata: Metadata | None = None
        self._read_at: Moment | None = None

    def token(self, grant: Grant) -> Flow[Token]:
        """Ask for a token by a grant.

        Raises:
            TokenRequestError: The server refuses it.
            TokenUnavailableError: It cannot be asked, or cannot answer, now.
        """
        if isinstance(grant, DeviceCode):
            return (yield from self._by_device_code(grant))
        return (yield from self._ask({**grant.parameters(), **self._wish.form()}))

    def refreshed(self, token: Token) -> Flow[Token]:
        """Ask for the next token with the last one's refresh token (RFC 6749 section 6).

        A server that does not rotate refresh tokens sends none: the old one stays. No scope is
        named: it is the old one's then, even where the server had given less than was wanted.

        Raises:
            TokenRequestError: The server refuses it.
            TokenUnavailableError: It cannot be asked, or cannot answer, now.
        """
        old = token.refresh_token or ""
        form = {"grant_type": "refresh_token", "refresh_token": old}
        form |= self._wish.form(scope=False)
        return (yield from self._ask(form, refresh_token=old))

    def _ask(self, form: Mapping[str, str], refresh_token: str = "") -> Flow[Token]:
        url = yield from self._address("token_endpoint")
        obtained = self._clock()
        answer = yield from self._post(url, form)
        try:
            token = read_token(
                url,
                answer,
                obtained=obtained,
                scope=self._wish.scope,
                origin=self.origin,
                bound=self._dpop is not None,
            )
        except TokenUnavailableError as error:
            if error.code == "upstream_invalid":
                self._read_at = None  # it may have moved: ask the issuer again
            raise
        if token.refresh_token is None and refresh_token:
            return dataclasses.replace(token, refresh_token=refresh_token)
        return token

    def _post(self, url: str, form: Mapping[str, str]) -> Flow[Answer]:
        """Post as this client; once more where the server wants a nonce of its own in the proof."""
        answer = yield from self._post_once(url, form)
        if self._dpop is not None and error_of(answer) == "use_dpop_nonce":
            answer = yield from self._post_once(url, form)
        return answer

    def _post_once(self, url: str, form: Mapping[str, str]) -> Flow[Answer]:
        now = self._clock().wall
        proof = self._authentication.prove(now)
        headers = dict(proof.headers)
        if self._dpop is not None:
            headers["DPoP"] = dpop_proof(
                self._dpop, method="POST", url=url, now=now, nonce=self._nonce
            )
        answer = yield Exchange(url=url, form={**form, **proof.parameters}, headers=headers)
        assert answer is not None  # noqa: S101 - what an Exchange is answered with
        nonce = answer.headers.get("dpop-nonce", "")
        if _NONCE.fullmatch(nonce):
            self._nonce = nonce
        return answer

    # Where

    def _address(self, name: str) -> Flow[str]:
        if self._configured.get(name):
            return self._configured[name]
        if self._read_at is None or age(self._read_at, self._clock()) > METADATA_FRESH:
            try:
                self._metadata = yield from self._discover()
            except TokenUnavailableError:
                if self._metadata is None:
                    raise  # else: it has most likely not moved
            self._read_at = self._clock()
        assert self._metadata is not None  # noqa: S101 - read, or raised
        try:
            return self._metadata.address(name, mutual_tls=self._mutual_tls)
        except UpstreamError as error:
            raise TokenUnavailableError(error.message, code=error.code) from None

    def _discover(self) -> Flow[Metadata]:
        failure: TokenUnavailableError | None = None
        if not self._issuer:
            raise TokenUnavailableError("no issuer to ask for its endpoints")
        for url in metadata_urls(self._issuer):
            try:
                answer = yield Exchange(url=url)
                assert answer is not None  # noqa: S101 - what an Exchange is answered with
                return self._metadata_of(url, answer)
            except TokenUnavailableError as error:
                failure = failure or error
        assert failure is not None  # noqa: S101 - there are two URLs
        raise failure

    def _metadata_of(self, url: str, answer: Answer) -> Metadata:
        if answer.status != 200:
            later = answer.status >= 500
            code = "upstream_unavailable" if later else "upstream_invalid"
            raise TokenUnavailableError(f"{url}: no metadata ({answer.status})", code=code)
        try:
            metadata = read_metadata(self._issuer, url, answer.body)
        except UpstreamError as error:
            raise TokenUnavailableError(error.message, code=error.code) from None
        if metadata is None:
            said = f"{url}: the metadata are another issuer's than {self._issuer}"
            raise TokenUnavailableError(said, code="upstream_invalid")
        return metadata

    # By device code

    def _by_device_code(self, grant: DeviceCode) -> Flow[Token]:
        url = yield from self._address("device_authorization_endpoint")
        answer = yield from self._post(url, self._wish.form())
        if answer.status != 200:
            raise refusal(url, answer)
        members = read_json(url, answer)
        invitation, device_code = _invitation(url, members)
        interval = max(
            _seconds(members.get("interval"), INTERVAL, LONGEST_INTERVAL), LEAST_INTERVAL
        )
        form = {**grant.parameters(), "device_code": device_code}
        grant.prompt(invitation)
        began, wait = self._clock(), interval
        while age(began, self._clock()) + wait <= invitation.expires_in:
            yield Pause(wait)
            try:
                return (yield from self._ask(form))
            except TokenRequestError as error:
                if error.error != "authorization_pending":
                    raise
                wait = interval
            except TokenUnavailableError as error:
                # slow_down (RFC 8628 section 3.5), and what section 3.5 says of a lost connection.
                interval = min(interval + SLOWER, LONGEST_INTERVAL)
                wait = max(interval, error.retry_after or 0.0)
        raise TokenRequestError(f"{url}: nobody approved in time", error="expired_token")


def _invitation(url: str, members: Mapping[str, object]) -> tuple[Invitation, str]:
    texts = [members.get(name) for name in ("device_code", "user_code", "verification_uri")]
    complete = members.get("verification_uri_complete") or ""
    if not all(isinstance(text, str) and text.isprintable() for text in (*texts, complete)):
        raise TokenUnavailableError(f"{url}: answered with no device code", code="upstream_invalid")
    device_code, user_code, verification_uri = (str(text) for text in texts)
    try:
        for address in filter(None, (verification_uri, str(complete))):
            require_safe(address)
    except ConfigError:
        said = f"{url}: answered with a verification_uri that nobody should open"
        raise TokenUnavailableError(said, code="upstream_invalid") from None
    invitation = Invitation(
        user_code=user_code,
        verification_uri=verification_uri,
        verification_uri_complete=str(complete),
        expires_in=_seconds(members.get("expires_in"), LONGEST_LOGIN, LONGEST_LOGIN),
    )
    return invitation, device_code


def _seconds(value: object, default: float, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        return default
    return min(float(value), most)


def _origin(server: str, who: tuple[str, str], wish: Wish, dpop: SigningKey | None) -> str:
    more = wish.parameters or {}
    distinct = (more.get(name, "") for name in _DISTINCT)
    key = dpop.kid if dpop else ""
    parts = (server, *who, wish.scope, wish.audience, wish.resource, key, *distinct)
    digest = hashlib.sha256("\n".join(parts).encode("utf-8", "surrogatepass")).digest()
    return base64url.encode(digest[:16]).decode("ascii")


def authentication_of(client_id: str, client_secret: str, grant: Grant) -> ClientAuthentication:
    """Return how a client authenticates of which only name and secret are given.

    Raises:
        ConfigError: There is no name, and the grant is not ``JWTBearer``, which needs none.
    """
    if client_secret:
        return ClientSecretBasic(client_id=client_id, client_secret=client_secret)
    if not client_id and isinstance(grant, JWTBearer):
        return NoClient()
    return PublicClient(client_id=client_id)
