# SPDX-License-Identifier: Apache-2.0
"""TokenSource: the device's present token, renewed before it runs out.

Theory of operation. A token is FRESH until the age at which it is to be renewed (``renewal``),
then STALE: still used, while a new one is fetched in the background; then EXPIRED: never shown
again. Whoever asks while it is EXPIRED waits, with everybody else, for one and the same renewal.
A renewal that failed is tried again after a while that grows (full jitter, or what the server
says), never because somebody asked again in between. Nothing but the token's own end makes it
EXPIRED: a server that is away costs nothing until then.

A renewal runs in a thread of its own with an event loop of its own, so it serves programs with and
without one alike. Such a thread keeps no program from ending, but while it spends a refresh token
the interpreter waits for it: what the server gives for that must be stored.
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
from dataclasses import replace
from typing import Final

from keyfob.device.clock import Clock, age, system_clock
from keyfob.device.driving import drive, tls_context
from keyfob.device.forks import after_fork
from keyfob.device.grants import ClientCredentials, Grant, Password
from keyfob.device.held import Held
from keyfob.device.leaving import before_leaving
from keyfob.device.renewal import Freshness, freshness, renewal_age
from keyfob.device.renewing import Renewing
from keyfob.device.requesting import Requesting, Wish, authentication_of
from keyfob.device.resolving import RenewalLoop
from keyfob.device.retrying import Failure, again, wait_after
from keyfob.device.store import MemoryStore, TokenStore
from keyfob.device.subscribers import Renewed, Subscribers
from keyfob.device.token import Token
from keyfob.device.watching import Watch
from keyfob.errors import ConfigError, KeyfobError, TokenUnavailableError
from keyfob.oauth.client_authentication import ClientAuthentication
from keyfob.tokens.sign import SigningKey

__all__ = ["Renewed", "TokenSource"]

_log = logging.getLogger("keyfob.device")
_RANDOM: Final = random.SystemRandom()

YOUNG: Final = 30.0
"""Seconds in which a broker's refusal is not the token's age: a new one would fare no better."""


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
        ca: A file of CA certificates that alone are trusted, or an ``ssl.SSLContext``, which many
            sources may share; None: the system's certificates.
        certificate: A file with the client's TLS certificate and key (RFC 8705).
        clock: Tells the time.
        chance: Draws a number from 0 to 1.
        watch: Is told of each exchange with the server, for metrics.

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
        ca: str | os.PathLike[str] | ssl.SSLContext | None = None,
        certificate: str | os.PathLike[str] | None = None,
        clock: Clock | None = None,
        chance: Callable[[], float] = _RANDOM.random,
        watch: Watch | None = None,
    ) -> None:
        if auth is not None and (client_id or client_secret):
            raise ConfigError("give auth, or client_id and client_secret, not both")
        if leeway is not None and not leeway >= 0:
            raise ConfigError("leeway is a number of seconds")
        self._clock = clock or system_clock()
        self._chance = chance
        grant = grant or ClientCredentials()
        self._leeway = leeway
        self._watch = watch
        self._context = tls_context(ca, certificate)
        requesting = Requesting(
            issuer,
            auth or authentication_of(client_id, client_secret, grant),
            wish=Wish(scope=scope, audience=audience, resource=resource, parameters=parameters),
            clock=self._clock,
            token_endpoint=token_endpoint,
            device_authorization_endpoint=device_authorization_endpoint,
            dpop=dpop,
            mutual_tls=certificate is not None,
            username=grant.username if isinstance(grant, Password) else "",
        )
        self._renewing = Renewing(
            requesting, grant, store=store or MemoryStore(), clock=self._clock, leeway=leeway
        )
        self._lock = threading.Lock()
        self._running: Future[Token] | None = None
        self._renewer: threading.Thread | None = None
        self._held: Held | None = None
        self._failure: Failure | None = None
        self._looked = False
        self._subscribers = Subscribers()
        after_fork(self)
        before_leaving(self)

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
        if running is None:
            return self._sound(token)
        if self._renewer is threading.current_thread():  # a grant's own function asks
            return self._sound(token, TokenUnavailableError("a renewal cannot wait for itself"))
        try:
            return running.result(timeout)
        except TimeoutError:
            late = TokenUnavailableError(f"no token within {timeout:g} s")
            return self._sound(token, late)
        except KeyfobError as error:
            return self._sound(token, error)

    async def aget(self, timeout: float = 30.0) -> Token:  # noqa: ASYNC109 - as get
        """Return a token that can be shown now, in an event loop; as ``get``."""
        if not self._looked:  # a keyring may ask somebody first
            await asyncio.to_thread(getattr, self, "token")
        token, running = self._usable()
        if running is None:
            return self._sound(token)
        try:
            # That this one waits no more ends nothing: a Future that runs cannot be cancelled.
            return await asyncio.wait_for(asyncio.wrap_future(running), timeout)
        except TimeoutError:
            late = TokenUnavailableError(f"no token within {timeout:g} s")
            return self._sound(token, late)
        except KeyfobError as error:
            return self._sound(token, error)

    def renew(self, *, anew: bool = False) -> Future[Token]:
        """Fetch a new token now, whatever the state of the present one, and whoever failed before.

        Args:
            anew: Begin with the grant again, without the refresh token that is there.

        Returns:
            What becomes the token; the same for everybody who asks meanwhile.
        """
        with self._lock:
            self._look()
            return self._begin(anew=anew)

    def refused(self, token: Token) -> bool:
        """Take note that a broker refused a token as such.

        One that is older than half a minute may have ended before its time: a new one is fetched,
        and whoever asks for a token waits for it; where there is none to be had, the old one
        serves on. A younger one would be followed by one that fares no better.

        Returns:
            Whether a new one is being fetched, or is there already.
        """
        with self._lock:
            held = self._held
            if held is not None and held.token != token:
                return True
            if age(token.obtained, self._clock()) < min(YOUNG, token.lifetime / 2):
                return False
            if self._running is None and self._pause() > 0:
                return False
            if held is not None:
                self._held = replace(held, refused=True)
            self._begin()
            return True

    def renewal_in(self) -> float:
        """Return in how many seconds a renewal is to be made; 0: now."""
        with self._lock:
            self._look()
            wait = 0.0
            if self._held is not None and self._freshness() is Freshness.FRESH:
                wait = self._held.renewal - age(self._held.token.obtained, self._clock())
            return max(wait, self._pause(), 0.0)

    def age_of(self, token: Token) -> float:
        """Return how many seconds ago a token was asked for, by this source's clock."""
        return age(token.obtained, self._clock())

    def subscribe(self, renewed: Renewed) -> Callable[[], None]:
        """Have somebody told of each new token.

        Returns:
            What ends that.
        """
        return self._subscribers.add(renewed)

    # Under the lock

    def _usable(self) -> tuple[Token | None, Future[Token] | None]:
        """Return what can be shown, and what is to be waited for before that."""
        with self._lock:
            self._look()
            held, state = self._held, self._freshness()
            if held is not None and state is Freshness.FRESH:
                return held.token, None
            if held is not None and state is Freshness.STALE:
                if self._pause() <= 0:
                    self._begin()
                return held.token, self._running if held.refused else None
            if self._running is None and (wait := self._pause()) > 0:
                assert self._failure is not None  # noqa: S101 - or it might try
                raise again(self._failure.error, retry_after=wait)
            return None, self._begin()

    def _freshness(self) -> Freshness:
        return Freshness.EXPIRED if self._held is None else self._held.freshness(self._clock())

    def _pause(self) -> float:
        """Return the seconds in which nothing is asked, after a failure."""
        return 0.0 if self._failure is None else self._failure.pause(self._clock())

    def _look(self) -> None:
        """Read the store, once."""
        if not self._looked:
            if (stored := self._renewing.stored()) is not None:
                self._hold(stored, kept=True)
            self._looked = True

    def _hold(self, token: Token, *, kept: bool = False) -> None:
        before, failed, now = self._held, self._failure is not None, self._clock()
        renewal = renewal_age(
            token.lifetime,
            self._chance(),
            first=before is None or not before.on_schedule(now, failed=failed),
            leeway=self._leeway,
            since=age(token.obtained, now),
        )
        self._held = Held(token=token, renewal=renewal, kept=kept)

    def _begin(self, *, anew: bool = False) -> Future[Token]:
        if self._running is not None:
            return self._running
        running: Future[Token] = Future()
        running.set_running_or_notify_cancel()  # many wait for it: none of them may cancel it
        self._running = running
        before = None if self._held is None else self._held.token
        self._renewer = threading.Thread(
            target=self._run, args=(running, before, anew), name="keyfob-renewal", daemon=True
        )
        try:
            self._renewer.start()
        except RuntimeError:  # too many threads, or the interpreter is ending
            error = TokenUnavailableError("no thread for a renewal")
            self._note(error)
            running.set_exception(error)
        return running

    def _note(self, error: KeyfobError) -> None:
        count = 1 if self._failure is None else self._failure.count + 1
        lifetime = 0.0 if self._held is None else self._held.token.lifetime
        wait = wait_after(error, count=count, lifetime=lifetime, chance=self._chance())
        self._failure = Failure(error=error, at=self._clock(), wait=wait, count=count)
        self._running = None
        _log.warning("no new token, next try in %.1f s: %s", wait, error.message)

    # In the thread of a renewal

    def _run(self, running: Future[Token], before: Token | None, anew: bool) -> None:
        try:
            with asyncio.Runner(loop_factory=RenewalLoop) as runner:
                runner.run(self._renew(running, before, anew))
        except BaseException as error:  # noqa: BLE001 - whoever waits must hear of it
            if not running.done():
                # Neither its message nor its context: either may hold a secret.
                said = f"a renewal failed: {type(error).__name__}"
                self._failed(running, TokenUnavailableError(said))
        if running.exception() is None:
            self._subscribers.tell(running.result())

    async def _renew(self, running: Future[Token], before: Token | None, anew: bool) -> None:
        """Let whoever waits go on as soon as it is known: the loop may take a while to close."""
        try:
            renewal = self._renewing.renewal(before, anew=anew)
            token = await drive(renewal, self._context, self._watch)
        except KeyfobError as error:
            self._failed(running, again(error, retry_after=getattr(error, "retry_after", None)))
            return
        with self._lock:
            self._hold(token)
            self._failure = None
            self._running = None
        running.set_result(token)

    def _failed(self, running: Future[Token], error: KeyfobError) -> None:
        with self._lock:
            self._note(error)
        running.set_exception(error)

    def _sound(self, token: Token | None, error: KeyfobError | None = None) -> Token:
        """Return a token, if it still lives; raise what kept a better one away."""
        if token is not None:
            lives = freshness(age(token.obtained, self._clock()), token.lifetime, 0.0)
            if error is None or lives is not Freshness.EXPIRED:
                return token
        with self._lock:
            wait = self._pause()
        error = error or TokenUnavailableError("no token")
        raise again(error, retry_after=wait if wait > 0 else None) from None

    def forked(self) -> None:
        """Begin anew in a forked process: the renewal that was under way is the parent's."""
        self._lock = threading.Lock()
        self._running = None
        self._renewing.spending = False
        self._subscribers.forked()

    def leaving(self) -> Future[Token] | None:
        """Say what the interpreter has to wait for before it ends."""
        return self._running if self._renewing.spending else None
