# SPDX-License-Identifier: Apache-2.0
"""TokenSource: the device's present token, renewed before it runs out.

Theory of operation. A token is FRESH until the age at which it is to be renewed (``renewal``),
then STALE: still used, while a new one is fetched in the background; then EXPIRED: never shown
again. Whoever asks while it is EXPIRED waits, with everybody else, for one and the same renewal.
A renewal that failed is tried again after a while that grows (full jitter, or what the server
says), never because somebody asked again in between. Nothing but the token's own end makes it
EXPIRED: a server that is away costs nothing until then.

Renewals run in threads of their own, so they serve programs with and without an event loop alike.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import ssl
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Final

from keyfob.device.clock import Clock, Moment, age, stepped, system_clock
from keyfob.device.driving import drive
from keyfob.device.flow import Flow, Pause
from keyfob.device.grants import ClientCredentials, DeviceCode, Grant
from keyfob.device.renewal import Freshness, freshness, renewal_age
from keyfob.device.requesting import Requesting, Wish
from keyfob.device.store import MemoryStore, TokenStore
from keyfob.device.token import Token
from keyfob.errors import (
    ConfigError,
    KeyfobError,
    TokenRequestError,
    TokenUnavailableError,
)
from keyfob.oauth.client_authentication import (
    ClientAuthentication,
    ClientSecretBasic,
    PublicClient,
)
from keyfob.tokens.sign import SigningKey

__all__ = ["Renewed", "TokenSource"]

_log = logging.getLogger("keyfob.device")
_RANDOM: Final = random.SystemRandom()

TURN_POLL: Final = 0.05
"""Seconds between two looks whether another process has renewed."""

FIRST_CEILING: Final = 1.0
MOST_CEILING: Final = 300.0
LEAST_CEILING: Final = 5.0

REFUSED_AGAIN: Final = 900.0
"""Seconds after which a refused device asks again: somebody may have enabled it."""

YOUNG: Final = 30.0
"""Seconds in which a broker's refusal is not the token's age: a new one would fare no better."""

Renewed = Callable[[Token], object]
"""Is told of each new token, in the thread that fetched it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """The present token, and when to renew it."""

    token: Token
    renewal: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Failure:
    """The last renewal failed."""

    error: KeyfobError = field(repr=False)
    at: Moment
    wait: float
    count: int


class TokenSource:
    """A device's token from one authorization server; safe to use from any thread.

    Args:
        issuer: The issuer identifier: its metadata say where tokens are asked for.
        client_id: Who asks; with ``client_secret`` this is HTTP Basic.
        client_secret: Its secret.
        auth: Another way to authenticate, instead of these two.
        grant: How the first token is asked for.
        scope: What the token is to allow (RFC 6749 section 3.3).
        audience: Sent where the server has such a parameter.
        resource: RFC 8707.
        parameters: More parameters for the token request.
        token_endpoint: Where tokens are asked for, for a server without metadata.
        device_authorization_endpoint: The same, for ``DeviceCode``.
        dpop: A key that the tokens are to be bound to (RFC 9449).
        store: Where the token is kept; None: in memory.
        leeway: Seconds before the end by which a renewal should be done; None: by the lifetime.
        ca: A file of CA certificates that alone are trusted; None: the system's.
        certificate: A file with the client's TLS certificate and key (RFC 8705).
        clock: Tells the time.
        chance: Draws a number from 0 to 1.

    Raises:
        ConfigError: These do not fit together, or a file is unusable.
    """

    def __init__(
        self,
        issuer: str = "",
        *,
        client_id: str = "",
        client_secret: str = "",
        auth: ClientAuthentication | None = None,
        grant: Grant | None = None,
        scope: str = "",
        audience: str = "",
        resource: str = "",
        parameters: Mapping[str, str] | None = None,
        token_endpoint: str = "",
        device_authorization_endpoint: str = "",
        dpop: SigningKey | None = None,
        store: TokenStore | None = None,
        leeway: float | None = None,
        ca: str | os.PathLike[str] | None = None,
        certificate: str | os.PathLike[str] | None = None,
        clock: Clock | None = None,
        chance: Callable[[], float] = _RANDOM.random,
    ) -> None:
        self._clock = clock or system_clock()
        self._chance = chance
        self._grant: Grant = grant or ClientCredentials()
        self._store: TokenStore = store or MemoryStore()
        self._leeway = leeway
        self._context = _tls_context(ca, certificate)
        self._requesting = Requesting(
            issuer,
            auth or _authentication(client_id, client_secret),
            wish=Wish(scope=scope, audience=audience, resource=resource, parameters=parameters),
            clock=self._clock,
            token_endpoint=token_endpoint,
            device_authorization_endpoint=device_authorization_endpoint,
            dpop=dpop,
        )
        self._lock = threading.Lock()
        self._running: Future[Token] | None = None
        self._held: _Held | None = None
        self._failure: _Failure | None = None
        self._looked = False
        self._first = True
        self._renewed: list[Renewed] = []

    # The present token

    @property
    def token(self) -> Token | None:
        """The present token, whatever its state; None: there is none yet. Never waits."""
        with self._lock:
            self._look()
            return None if self._held is None else self._held.token

    @property
    def state(self) -> Freshness:
        """What the present token is good for."""
        with self._lock:
            self._look()
            return self._freshness()

    def get(self, timeout: float = 30.0) -> Token:
        """Return a token that can be shown now.

        Args:
            timeout: Seconds to wait for one.

        Raises:
            TokenUnavailableError: There is none: the server is away.
            TokenRequestError: There is none: the server refuses.
        """
        token, running = self._usable()
        if token is not None:
            return token
        assert running is not None  # noqa: S101 - one of the two
        try:
            return running.result(timeout)
        except TimeoutError:
            raise TokenUnavailableError(f"no token within {timeout:g} s") from None

    async def aget(self, timeout: float = 30.0) -> Token:  # noqa: ASYNC109 - as get
        """Return a token that can be shown now, in an event loop; as ``get``."""
        token, running = self._usable()
        if token is not None:
            return token
        assert running is not None  # noqa: S101 - one of the two
        waiting = asyncio.wrap_future(running)
        # Not wait_for: it would cancel what others wait for, too.
        await asyncio.wait([waiting], timeout=timeout)
        if not waiting.done():
            waiting.add_done_callback(_forget)
            raise TokenUnavailableError(f"no token within {timeout:g} s")
        return waiting.result()

    def renew(self) -> Future[Token]:
        """Fetch a new token now, whatever the state of the present one, and whoever failed before.

        Returns:
            What becomes the token; the same for everybody who asks meanwhile.
        """
        with self._lock:
            return self._begin()

    def refused(self, token: Token) -> bool:
        """Take note that a broker refused a token as such.

        One that is older than half a minute may have ended before its time: a new one is fetched.
        A younger one would be followed by one that fares no better.

        Returns:
            Whether a new one is being fetched, or is there already.
        """
        with self._lock:
            held = self._held
            if held is not None and held.token != token:
                return True
            if age(token.obtained, self._clock()) < min(YOUNG, token.lifetime / 2):
                return False
            if not self._may_try():
                return False
            self._begin()
            return True

    def renewal_in(self) -> float:
        """Return in how many seconds a renewal is to be made; 0: now."""
        with self._lock:
            self._look()
            now = self._clock()
            wait = 0.0
            if self._held is not None and self._freshness() is Freshness.FRESH:
                wait = self._held.renewal - age(self._held.token.obtained, now)
            if self._failure is not None:
                wait = max(wait, self._failure.wait - age(self._failure.at, now))
            return max(wait, 0.0)

    def age_of(self, token: Token) -> float:
        """Return how many seconds ago a token was asked for, by this source's clock."""
        return age(token.obtained, self._clock())

    def subscribe(self, renewed: Renewed) -> Callable[[], None]:
        """Have somebody told of each new token.

        Returns:
            What ends that.
        """
        with self._lock:
            self._renewed.append(renewed)

        def unsubscribe() -> None:
            with self._lock:
                if renewed in self._renewed:
                    self._renewed.remove(renewed)

        return unsubscribe

    # Under the lock

    def _usable(self) -> tuple[Token | None, Future[Token] | None]:
        with self._lock:
            self._look()
            state = self._freshness()
            if state is Freshness.FRESH:
                return self._present(), None
            if state is Freshness.STALE:
                if self._may_try():
                    self._begin()
                return self._present(), None
            if self._running is None and not self._may_try():
                assert self._failure is not None  # noqa: S101 - or it might try
                raise _again(self._failure.error)
            return None, self._begin()

    def _present(self) -> Token:
        assert self._held is not None  # noqa: S101 - asked after its freshness
        return self._held.token

    def _freshness(self) -> Freshness:
        if self._held is None:
            return Freshness.EXPIRED
        token, now = self._held.token, self._clock()
        found = freshness(age(token.obtained, now), token.lifetime, self._held.renewal)
        if found is Freshness.FRESH and stepped(token.obtained, now):
            # The clock that went on may be the wrong one: ask, and go on with the token meanwhile.
            return Freshness.STALE
        return found

    def _may_try(self) -> bool:
        failure = self._failure
        return failure is None or age(failure.at, self._clock()) >= failure.wait

    def _look(self) -> None:
        """Read the store, once."""
        if self._looked:
            return
        self._looked = True
        try:
            stored = self._store.load()
        except OSError as error:
            _log.warning("the stored token cannot be read: %s", error.strerror)
            return
        if stored is not None:
            self._hold(stored)

    def _hold(self, token: Token) -> None:
        renewal = renewal_age(
            token.lifetime,
            self._chance(),
            first=self._first,
            leeway=self._leeway,
            since=age(token.obtained, self._clock()),
        )
        self._held = _Held(token=token, renewal=renewal)
        self._first = False

    def _begin(self) -> Future[Token]:
        if self._running is None:
            self._running = Future()
            threading.Thread(
                target=self._run, args=(self._running,), name="keyfob-renewal", daemon=True
            ).start()
        return self._running

    # Renewing

    def _run(self, running: Future[Token]) -> None:
        try:
            token = asyncio.run(drive(self._renewal(), self._context))
        except KeyfobError as error:
            self._failed(error)
            running.set_exception(error)
        except BaseException as error:  # noqa: BLE001 - whoever waits must hear of it
            # Neither its message nor its context: either may hold a secret.
            _log.error("a renewal failed: %s", type(error).__name__)
            failure = TokenUnavailableError(f"a renewal failed: {type(error).__name__}")
            self._failed(failure)
            running.set_exception(failure)
        else:
            told = self._succeeded(token)
            running.set_result(token)
            for each in told:
                each(token)

    def _succeeded(self, token: Token) -> tuple[Renewed, ...]:
        with self._lock:
            self._hold(token)
            self._failure = None
            self._running = None
            return tuple(self._renewed)

    def _failed(self, error: KeyfobError) -> None:
        with self._lock:
            count = 1 if self._failure is None else self._failure.count + 1
            wait = self._wait_after(error, count)
            self._failure = _Failure(error=error, at=self._clock(), wait=wait, count=count)
            self._running = None
        _log.warning("no new token, next try in %.1f s: %s", wait, error.message)

    def _wait_after(self, error: KeyfobError, count: int) -> float:
        if isinstance(error, TokenRequestError):
            return REFUSED_AGAIN * (0.75 + 0.5 * self._chance())
        if isinstance(error, TokenUnavailableError) and error.retry_after is not None:
            return error.retry_after
        # A short life leaves no time for long pauses.
        lifetime = 0.0 if self._held is None else self._held.token.lifetime
        most = min(max(lifetime / 4, LEAST_CEILING), MOST_CEILING) if lifetime else MOST_CEILING
        ceiling = min(most, FIRST_CEILING * 2.0 ** min(count - 1, 32))
        return ceiling * self._chance()

    def _renewal(self) -> Flow[Token]:
        """One renewal, in its turn among those who share the store."""
        with self._lock:
            before = None if self._held is None else self._held.token
        turn = self._store.turn()
        while not turn.take():
            yield Pause(TURN_POLL)
        try:
            stored = self._stored()
            if stored is not None and self._is_news(stored, before):
                return stored
            token = yield from self._next(stored or before)
            try:
                # Before anybody uses it: its refresh token is the only one that still works.
                self._store.save(token)
            except OSError as error:
                _log.warning("the new token cannot be stored: %s", error.strerror)
            return token
        finally:
            turn.give_back()

    def _stored(self) -> Token | None:
        try:
            return self._store.load()
        except OSError as error:
            _log.warning("the stored token cannot be read: %s", error.strerror)
            return None

    def _is_news(self, stored: Token, before: Token | None) -> bool:
        """Whether another process has renewed meanwhile."""
        if before is not None and stored.access_token == before.access_token:
            return False
        now = self._clock()
        latest = renewal_age(stored.lifetime, 0.0, first=False, leeway=self._leeway)
        return age(stored.obtained, now) < latest and not stepped(stored.obtained, now)

    def _next(self, last: Token | None) -> Flow[Token]:
        if last is not None and last.refresh_token is not None:
            try:
                return (yield from self._requesting.refreshed(last))
            except TokenRequestError as error:
                if error.error != "invalid_grant" or isinstance(self._grant, DeviceCode):
                    raise
        return (yield from self._requesting.token(self._grant))


def _forget(done: asyncio.Future[Token]) -> None:
    """Nobody waits for it any more: its error, which was logged, is not to be told again."""
    if not done.cancelled():
        done.exception()


def _again(error: KeyfobError) -> KeyfobError:
    """Make an error anew: one that was raised before carries that place with it."""
    if isinstance(error, TokenRequestError):
        return TokenRequestError(error.message, error=error.error, status=error.status)
    return TokenUnavailableError(error.message, code=error.code)


def _authentication(client_id: str, client_secret: str) -> ClientAuthentication:
    if client_secret:
        return ClientSecretBasic(client_id=client_id, client_secret=client_secret)
    return PublicClient(client_id=client_id)


def _tls_context(
    ca: str | os.PathLike[str] | None, certificate: str | os.PathLike[str] | None
) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca)
        if certificate is not None:
            context.load_cert_chain(certificate)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"cannot use {ca or certificate}: {error}") from error
    return context
