# SPDX-License-Identifier: Apache-2.0
"""Asks an issuer about its tokens (RFC 7662), without ever letting that harm anybody else.

Theory of operation. ``find`` says what the issuer answered lately; ``ask`` puts the question,
once per token however many ask it. Between a stranger and the issuer's server stand, in this
order: the bad answers kept, the breaker, an allowance for tokens that were never good before (a
storm of garbage is answered here), and a number of questions at a time. Whatever is not asked or
not answered in time is ``Unavailable``: it says nothing about the token.

``may_wait`` is for brokers that stop while they wait. They wait once for a server that has become
slow; from then on nobody does until it has answered as fast again. The questions go on, and a
device that comes again finds the answer.

A token is in memory for as long as its question is out, and nowhere else: answers are kept by
digest, and no error, log line or repr has any part of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Final

import httpx

from keyfob.errors import ConfigError, KeyfobError, TokenError, UpstreamError
from keyfob.guard.breaker import Breaker, BreakerState, Permit
from keyfob.guard.discovery import Endpoint
from keyfob.guard.fetching import MAX_CONNECTIONS, Fetcher
from keyfob.guard.introspection_answers import Active, Answers, Introspection, Refused, Unavailable
from keyfob.http.allowance import Allowance
from keyfob.oauth.client_authentication import ClientAuthentication
from keyfob.oauth.urls import require_safe
from keyfob.tokens.introspected import active_members
from keyfob.tokens.verify import TrustedIssuer, VerifiedToken, verify_introspected

__all__ = ["IntrospectionHealth", "Introspector"]

TIMEOUT: Final = 2.0
CACHE: Final = 30.0
NEGATIVE_CACHE: Final = 10.0
"""Seconds; the defaults of the configuration."""

MAX_ANSWER: Final = 64 * 1024
"""The largest answer read; it says what a token of 16 KiB could say, and some more."""

MAX_QUESTIONS: Final = 512
"""Questions that are out or wait for a connection: about as many as are answered in time."""

NEW_TOKENS: Final = 200
NEW_TOKENS_PER_SECOND: Final = 100.0
"""How many tokens that were never good before are asked about, at once and from then on. A fleet
of 10,000 that nobody knows any more is let in within two minutes."""

_log = logging.getLogger("keyfob.guard.introspection")


@dataclass(frozen=True, slots=True, kw_only=True)
class IntrospectionHealth:
    """The state of asking one issuer, and counts since the start.

    Attributes:
        source: Who is asked, for people.
        breaker: Whether it is asked at all.
        latency: Seconds that the last answer took; None: there was none.
        failure: Why the last question failed; empty: it did not.
        questions: How many came to an end.
        failures: How many of them had no answer.
        unasked: How many were not put, for one of the bounds.
        hits: How many were answered from memory.
        misses: How many were not.
        active: Good answers kept.
        refused: Bad answers kept.
        waiting: Questions that are out.
    """

    source: str
    breaker: BreakerState
    latency: float | None
    failure: str
    questions: int
    failures: int
    unasked: int
    hits: int
    misses: int
    active: int
    refused: int
    waiting: int


@dataclass(frozen=True, slots=True)
class _Flight:
    answer: asyncio.Future[Introspection]
    begun: float


def _nobody(_: str) -> None:
    """Tell nobody."""


class Introspector:
    """Asks one issuer; used from within one event loop.

    Args:
        issuer: Whose tokens, and by what rules they are good.
        authentication: How the guard proves to it who asks.
        endpoint: Where to ask; empty: where the issuer's metadata says.
        timeout: Seconds that an answer may take.
        cache: Seconds that a good answer is used again.
        negative_cache: Seconds that a bad answer is.
        ca: CA certificates that alone are trusted; None: the system's.
        clock: Unix seconds.
        monotonic: A clock that never steps.
        breaker: Whether the issuer is asked.
        allowance: For tokens that were never good before.
        transport: What carries the requests instead of the network (httpx).

    Raises:
        ConfigError: An address that is neither https nor this machine.
    """

    def __init__(
        self,
        issuer: TrustedIssuer,
        authentication: ClientAuthentication,
        *,
        endpoint: str = "",
        timeout: float = TIMEOUT,
        cache: float = CACHE,
        negative_cache: float = NEGATIVE_CACHE,
        ca: Path | None = None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        breaker: Breaker | None = None,
        allowance: Allowance | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._address = endpoint or issuer.issuer
        require_safe(self._address)
        self._issuer = issuer
        self._authentication = authentication
        self._endpoint = Endpoint(
            issuer.issuer, "introspection_endpoint", configured=endpoint, monotonic=monotonic
        )
        self._timeout = timeout
        self._clock = clock
        self._monotonic = monotonic
        self._breaker = breaker or Breaker(patience=2 * timeout)
        self._allowance = allowance or Allowance(rate=NEW_TOKENS_PER_SECOND, most=NEW_TOKENS)
        self._fetcher = Fetcher(ca=ca, transport=transport)
        self._answers = Answers(keep_active=cache, keep_refused=negative_cache)
        self._connections = asyncio.Semaphore(MAX_CONNECTIONS)
        self._flights: dict[bytes, _Flight] = {}
        self._tasks: set[asyncio.Task[Introspection]] = set()
        self._closed = False
        self._changed: Callable[[str], None] = _nobody
        self._latency: float | None = None
        self._failure = ""
        self._silent = False
        self._questions = self._failures = self._unasked = self._hits = self._misses = 0

    @staticmethod
    def digest(token: bytes) -> bytes:
        """Return the name that a token has here."""
        return sha256(token).digest()

    def prepare(self) -> None:
        """Do what the first question would take long for; a broker may stand still meanwhile."""
        with contextlib.suppress(ConfigError):  # each question will say so
            self._fetcher.prepare(self._address)

    def watch(self, changed: Callable[[str], None]) -> None:
        """Have somebody told why asking fails when it begins to, and "" when it works again."""
        self._changed = changed

    def find(self, digest: bytes, now: float) -> Active | Refused | None:
        """Return what the issuer answered about a token lately; whether it was revoked is not here.

        Args:
            digest: The token's ``digest``.
            now: Unix seconds.
        """
        answer = self._answers.find(digest, now)
        if answer is None:
            self._misses += 1
        else:
            self._hits += 1
        return answer

    def ask(
        self, token: bytes, *, presented: VerifiedToken | None = None, known: bool = False
    ) -> asyncio.Future[Introspection]:
        """Ask the issuer about a token, or join whoever asks already; called in the event loop.

        Args:
            token: As presented: ASCII.
            presented: The token as verified so far, if it is a JWT.
            known: It was good before, so that it needs no allowance.

        Returns:
            What will hold the answer; it never raises. Giving it up harms nobody.
        """
        digest = self.digest(token)
        flight = self._flights.get(digest)
        if flight is None:
            known = known or presented is not None or self._answers.knows(digest)
            if hindrance := self._hindrance(known):
                self._unasked += 1
                answer: asyncio.Future[Introspection] = asyncio.Future()
                answer.set_result(Unavailable(reason=hindrance))
                return answer
            flight = self._start(token, digest, presented, known)
        return asyncio.shield(flight.answer)

    def may_wait(self, seconds: float) -> bool:
        """Tell whether an answer may be expected within so many seconds.

        Not once the last one took longer or there was none, nor while another question has waited
        as long already.
        """
        now = self._monotonic()
        if self._silent or not self._breaker.allows(now):
            return False
        oldest = next(iter(self._flights.values()), None)
        if oldest is not None and now - oldest.begun >= seconds:
            return False
        return self._latency is None or self._latency <= seconds

    def health(self) -> IntrospectionHealth:
        """Tell the state."""
        return IntrospectionHealth(
            source=self._endpoint.shown,
            breaker=self._breaker.state(self._monotonic()),
            latency=self._latency,
            failure=self._failure,
            questions=self._questions,
            failures=self._failures,
            unasked=self._unasked,
            hits=self._hits,
            misses=self._misses,
            active=self._answers.active,
            refused=self._answers.refused,
            waiting=len(self._flights),
        )

    async def aclose(self) -> None:
        """Give the questions up: they are answered as unavailable; close the connections."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._fetcher.aclose()

    def _hindrance(self, known: bool) -> str:
        """Say why a question may not be put now; empty: it may."""
        now = self._monotonic()
        if self._closed:
            return "the guard stops asking"
        if not self._breaker.allows(now):
            return self._failure or "the issuer does not answer"
        if len(self._flights) >= MAX_QUESTIONS:
            return "too many questions at once"
        if not known and not self._allowance.take(now):
            return "too many unknown tokens at once"
        return ""

    def _start(
        self, token: bytes, digest: bytes, presented: VerifiedToken | None, known: bool
    ) -> _Flight:
        flight = _Flight(asyncio.Future(), self._monotonic())
        task = asyncio.create_task(
            self._answer(token, presented, known, flight.begun),
            name=f"introspection at {self._issuer.name}",
        )
        self._flights[digest] = flight
        self._tasks.add(task)
        task.add_done_callback(partial(self._landed, digest))
        return flight

    def _landed(self, digest: bytes, task: asyncio.Task[Introspection]) -> None:
        self._tasks.discard(task)
        flight = self._flights.pop(digest)
        if task.cancelled():
            answer: Introspection = Unavailable(reason="the guard stops asking")
        elif error := task.exception():
            # A mistake of ours; without its message, which might quote what was handled.
            _log.error("asking %s failed: %s", self._issuer.name, type(error).__name__)
            answer = Unavailable(reason="the guard failed to ask")
        else:
            answer = task.result()
        flight.answer.set_result(answer)

    async def _answer(
        self, token: bytes, presented: VerifiedToken | None, known: bool, begun: float
    ) -> Introspection:
        try:
            async with asyncio.timeout(self._timeout):
                await self._connections.acquire()
        except TimeoutError:
            self._unasked += 1
            return Unavailable(reason="too many questions at once")
        try:
            permit = self._breaker.enter(self._monotonic())
            if permit is None:
                self._unasked += 1
                return Unavailable(reason=self._failure)
            asked_at = self._clock()
            try:
                answer = await self._judged(token, presented)
            except KeyfobError as error:
                if error.code == "upstream_invalid" and not known:
                    return self._answered_of_no_use(permit, error.message)
                return self._failed(permit, error.message)
        finally:
            self._connections.release()
        self._succeeded(self._monotonic() - begun)
        self._answers.add(self.digest(token), answer, asked_at)
        return answer

    async def _judged(self, token: bytes, presented: VerifiedToken | None) -> Active | Refused:
        """Put the question and verify what is answered; raises what is not the token's fault."""
        text = token.decode("ascii")
        body = await self._post(text)
        try:
            members = active_members(body)
            # A server that repeats the token must not make it one of its claims.
            told = {name: value for name, value in members.items() if not _tells(name, value, text)}
            verified = verify_introspected(told, self._issuer, self._clock(), presented=presented)
        except TokenError as error:
            return Refused(code=error.code, message=error.message)
        return Active(token=verified, presented=presented)

    async def _post(self, token: str) -> bytes:
        proof = self._authentication.prove(self._clock())
        form = {
            "token": token,
            "token_type_hint": "access_token",
            **proof.parameters,
        }
        try:
            async with asyncio.timeout(self._timeout):
                url = await self._endpoint.address(self._fetcher)
                answer = await self._fetcher.post(
                    url, form, headers=proof.headers, deadline=self._timeout, limit=MAX_ANSWER
                )
        except TimeoutError:
            shown = self._endpoint.shown
            raise UpstreamError(f"{shown}: no answer in {self._timeout:g} s") from None
        if answer.media_type != "application/json":
            # RFC 7662 section 2.2. What a proxy or a login page says is nobody's answer.
            raise UpstreamError(f"{url}: answered no application/json", code="upstream_invalid")
        return answer.body

    def _succeeded(self, latency: float) -> None:
        self._questions += 1
        self._latency = latency
        self._silent = False
        self._breaker.succeeded()
        if self._failure:
            self._failure = ""
            self._changed("")

    def _failed(self, permit: Permit, message: str) -> Unavailable:
        self._breaker.failed(permit, self._monotonic())
        self._silent = True
        return self._without_answer(message)

    def _answered_of_no_use(self, permit: Permit, message: str) -> Unavailable:
        # A stranger may have made it so: by a text that a firewall refuses, or that the server
        # repeats too often. It must not keep anybody else from asking.
        self._breaker.undecided(permit, self._monotonic())
        return self._without_answer(message)

    def _without_answer(self, message: str) -> Unavailable:
        self._questions += 1
        self._failures += 1
        before, self._failure = self._failure, message
        if not before:
            self._changed(f"introspection: {message}")
        return Unavailable(reason=message)


def _tells(name: str, value: object, token: str) -> bool:
    """Tell whether a token stands anywhere in a JSON member; how deep it is, is bounded."""
    return token in name or _repeats(value, token)


def _repeats(value: object, token: str) -> bool:
    if isinstance(value, str):
        return token in value
    if isinstance(value, dict):
        return any(_tells(name, inner, token) for name, inner in value.items())
    return isinstance(value, list) and any(_repeats(inner, token) for inner in value)
