# SPDX-License-Identifier: Apache-2.0
"""Device codes and user codes: begun by a client, polled for by it (RFC 8628 sections 3.2 to 3.5).

A poll changes nothing that is on the disk, however often somebody polls: when a code was polled
last is in memory, or in a table that nothing waits for where several processes share a database.
Only who is too fast has it written down, so that he has to slow down after a restart, too.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeVar

from keyfob.errors import UpstreamError
from keyfob.server.credentials import DEVICE_CODE_PREFIX
from keyfob.server.device_flow import INTERVAL, MAX_INTERVAL, DeviceRequest, Poll, judge
from keyfob.server.device_limits import PollTimes
from keyfob.server.limits import network_of
from keyfob.server.oauth_errors import OAuthError, unavailable
from keyfob.server.user_codes import generate_user_code, shown_user_code, user_code_hash

__all__ = ["BegunRequest", "DeviceCodeStore", "DeviceCodes"]

_T = TypeVar("_T")
# Of 25 thousand million user codes at most some ten thousand are taken.
_ATTEMPTS: Final = 8
_RETRY_SECONDS: Final = 30


class DeviceCodeStore(Protocol):
    """What device codes need of a store; each change is one transaction, durable on return."""

    async def find(self, code_hash: bytes) -> DeviceRequest | None:
        """Return the request of a device code."""

    async def add(self, request: DeviceRequest) -> str:
        """Keep a new request; say why where it is not kept."""

    async def slow_down(self, code_hash: bytes, interval: int) -> None:
        """Write down that a client has to wait for longer than ``interval``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BegunRequest:
    """What a client is told (RFC 8628 section 3.2); ``user_code`` is in two halves."""

    device_code: str = field(repr=False)
    user_code: str = field(repr=False)
    expires_in: int
    interval: int


class DeviceCodes:
    """The device codes of one server.

    Args:
        store: The requests.
        polls: When each was polled last.
        lifetime: Seconds that a code is good.
        clock: Unix seconds.
    """

    def __init__(
        self,
        store: DeviceCodeStore,
        polls: PollTimes,
        lifetime: int,
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._polls = polls
        self._lifetime = lifetime
        self._clock = clock

    async def begin(
        self, client_id: str, *, peer: str, scope: str | None, hint: str
    ) -> BegunRequest:
        """Begin a request.

        Args:
            client_id: The application, authenticated if it has something to authenticate with.
            peer: The address that it asks from.
            scope: What it asks for; None: all that the device is registered for.
            hint: The device that it names; empty: none.

        Raises:
            OAuthError: ``temporarily_unavailable``: too many are open (status 429), or the
                database could not be written.
        """
        now = self._clock()
        for _ in range(_ATTEMPTS):
            device_code = DEVICE_CODE_PREFIX + secrets.token_urlsafe(32)
            user_code = generate_user_code()
            request = DeviceRequest(
                code_hash=_hash(device_code),
                user_hash=user_code_hash(user_code),
                client_id=client_id,
                peer=peer,
                network=network_of(peer),
                scope=scope,
                hint=hint,
                created_at=now,
                expires_at=now + self._lifetime,
            )
            try:
                refused = await self._store.add(request)
            except UpstreamError as error:
                raise unavailable() from error
            if not refused:
                return BegunRequest(
                    device_code=device_code,
                    user_code=shown_user_code(user_code),
                    expires_in=self._lifetime,
                    interval=INTERVAL,
                )
            if refused != "user_code_taken":
                raise _too_many(refused)
        raise _too_many("limit_device_codes")

    async def poll(self, device_code: str, client_id: str) -> DeviceRequest:
        """Return an approved request, whose code is still to be used up.

        Args:
            device_code: What the client presented.
            client_id: Who it is, authenticated.

        Raises:
            OAuthError: ``authorization_pending``, ``slow_down``, ``access_denied``,
                ``expired_token`` (RFC 8628 section 3.5), or ``invalid_grant`` for a code that is
                unknown, another client's, or used; ``temporarily_unavailable``: the database could
                not be written.
        """
        code_hash, now = _hash(device_code), self._clock()
        request = await self._store.find(code_hash)
        last_poll = None
        # Of nobody else's codes, nor of made-up ones, is anything remembered.
        if request is not None and request.client_id == client_id and request.is_open(now):
            last_poll = await _written(self._polls.polled(code_hash, now))
        interval = INTERVAL if request is None else request.interval
        found = judge(request, client_id=client_id, now=now, last_poll=last_poll, interval=interval)
        if found is Poll.TOO_FAST and interval < MAX_INTERVAL:
            await _written(self._store.slow_down(code_hash, interval))
        if request is None or found is not Poll.APPROVED:
            raise _refused(found, request)
        return request


async def _written(change: Awaitable[_T]) -> _T:
    """Wait for the store; a pace that cannot be kept is no pace."""
    try:
        return await change
    except UpstreamError as error:
        raise unavailable() from error


def _hash(device_code: str) -> bytes:
    """Return what is kept of a code. 256 random bits need no slow hash."""
    return hashlib.sha256(device_code.encode()).digest()


def _too_many(reason: str) -> OAuthError:
    return OAuthError(
        "temporarily_unavailable",
        "too many requests wait for an approval; try again later",
        reason=reason,
        status=429,
        retry_after=_RETRY_SECONDS,
    )


def _refused(found: Poll, request: DeviceRequest | None) -> OAuthError:
    subject = "" if request is None else request.subject or request.hint
    match found:
        # Polls are no news: the audit is not told, and a client that waits makes no mistake.
        case Poll.PENDING:
            return OAuthError(
                "authorization_pending", "nobody has decided yet", reason=found.value, told=False
            )
        case Poll.TOO_FAST:
            return OAuthError(
                "slow_down",
                "wait five seconds longer between polls",
                reason=found.value,
                told=False,
            )
        case Poll.DENIED:
            return OAuthError("access_denied", "it was denied", reason=found.value, subject=subject)
        case Poll.EXPIRED:
            return OAuthError(
                "expired_token", "the device code has expired", reason=found.value, subject=subject
            )
        case _:
            return OAuthError("invalid_grant", "the device code is not valid", reason=found.value)
