# SPDX-License-Identifier: Apache-2.0
"""Presenting: what any MQTT client has to do with a token, without knowing the client.

Theory of operation. A client asks for credentials before each CONNECT, and tells what became of
them: ``accepted``, ``refused``, ``ended`` or ``failed``. The last three answer how many seconds to
wait before the next CONNECT. While it is connected it asks now and then for a ``successor``: the
next token, as soon as there is one, for a re-authentication or for a planned reconnect. Everything
else, such as when a new token is fetched and when it is not, is decided here.

``keyfob.device.paho`` and ``keyfob.device.aiomqtt`` are built on this, and any other client can be.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final

from keyfob.device.backoff import Backoff
from keyfob.device.carrying import Carry, Credentials, Field, carried
from keyfob.device.methods import Exchange, Method, bearer
from keyfob.device.renewal import Freshness
from keyfob.device.token import Token
from keyfob.device.tokens import Tokens
from keyfob.device.verdicts import NEAR, Verdict, of_connack, of_ending
from keyfob.errors import KeyfobError, TokenRequestError, TokenUnavailableError

__all__ = ["Presenting"]

_log = logging.getLogger("keyfob.device")
_RANDOM: Final = random.SystemRandom()

LAST_SHARE: Final = 0.25
LAST_MOST: Final = 5.0
"""What a token has to live at least to be shown in a CONNECT, as a share of its life and in
seconds: a broker that everybody comes back to at once reads it late."""


class Presenting:
    """Shows one client's tokens to its broker; used by one thread or task at a time.

    Args:
        source: Where the tokens come from.
        carry: Where a CONNECT carries them: ``password``, ``username``, ``header`` or
            ``auth:METHOD``.
        method: The client's side of another authentication method than those whose data is the
            token and nothing else.
        first: Seconds: the first wait before a new CONNECT is drawn from zero to this.
        most: Seconds: the highest such ceiling.
        chance: Draws a number from 0 to 1.

    Raises:
        ConfigError: ``carry`` is none of these.
    """

    def __init__(
        self,
        source: Tokens,
        *,
        carry: str = "password",
        method: Method = bearer,
        first: float = 1.0,
        most: float = 120.0,
        chance: Callable[[], float] = _RANDOM.random,
    ) -> None:
        self.source = source
        self.carry = Carry.parse(carry)
        self.first = first
        self.most = most
        self._method = method
        self._backoff = Backoff(chance, time.monotonic)
        self._shown: Token | None = None
        self._before: Token | None = None
        self._refused: Token | None = None
        if self.carry.field is Field.USERNAME:
            _log.warning("the token goes into the username, which brokers write into their logs")

    @property
    def shown(self) -> Token | None:
        """The token that the broker was shown last; None: none yet."""
        return self._shown

    # Before CONNECT

    def credentials(
        self,
        *,
        client_id: str = "",
        username: str | None = None,
        password: str | None = None,
        timeout: float = 30.0,
    ) -> Credentials:
        """Return what the next CONNECT shows; waits for a token where there is none.

        Args:
            client_id: The MQTT client identifier.
            username: What the username is where the token does not go there; None: none.
            password: The same for the password.
            timeout: Seconds to wait for a token.

        Raises:
            TokenUnavailableError: There is no token now, or it does not fit. It is an ``OSError``,
                as MQTT clients expect of a connection that cannot be made.
        """
        try:
            awaited = self._awaited()
            if awaited is not None:
                _settle(awaited, timeout)
            token = self._lasting(self.source.get(timeout))
        except TokenRequestError as error:
            raise TokenUnavailableError(error.message, code=error.code) from None
        return self._show(token, client_id, username, password)

    async def acredentials(
        self,
        *,
        client_id: str = "",
        username: str | None = None,
        password: str | None = None,
        timeout: float = 30.0,  # noqa: ASYNC109 - as credentials
    ) -> Credentials:
        """Return what the next CONNECT shows, in an event loop; as ``credentials``."""
        try:
            awaited = self._awaited()
            if awaited is not None:
                await asyncio.to_thread(_settle, awaited, timeout)
            token = self._lasting(await self.source.aget(timeout))
        except TokenRequestError as error:
            raise TokenUnavailableError(error.message, code=error.code) from None
        return self._show(token, client_id, username, password)

    # After CONNECT

    def accepted(self) -> None:
        """The broker has accepted the CONNECT."""
        self._backoff.connected()

    def refused(self, code: int) -> float:
        """The broker has refused the CONNECT, or a re-authentication.

        Args:
            code: The CONNACK's reason code (MQTT 5.0), or its return code (3.1.1).

        Returns:
            Seconds to wait before the next CONNECT.
        """
        return self._after(of_connack(code), code)

    def ended(self, code: int | None = None) -> float:
        """A connection that stood has ended, and the client did not want it.

        Args:
            code: The reason code of the broker's DISCONNECT; None: there was none.

        Returns:
            Seconds to wait before the next CONNECT.
        """
        return self._after(of_ending(code, self.left_at_broker()), code)

    def failed(self) -> float:
        """No connection could be made.

        Returns:
            Seconds to wait before the next CONNECT.
        """
        return self._backoff.next(self.first, self.most)

    # While connected

    def successor(self) -> Token | None:
        """Return the next token, once there is one; see to it that there will be. Never waits."""
        source = self.source
        if source.renewal_in() <= 0 and source.state is not Freshness.FRESH:
            source.renew()
        token = source.token
        if token is None or token == self._shown or source.state is Freshness.EXPIRED:
            return None
        return token

    def left(self) -> float:
        """Return the seconds that the token has to live that was shown last; infinite: none was."""
        return self._remaining(self._shown)

    def left_at_broker(self) -> float:
        """Return the seconds until a token ends by which the broker may still go.

        A broker that could not decide about the next one lets the old one count, without a word.
        """
        before = self._remaining(self._before)
        # The end of a token that was replaced is over at some time.
        return min(self.left(), before if before > -NEAR else float("inf"))

    def begin(self, token: Token) -> Exchange:
        """Begin the exchange of a re-authentication."""
        return self._method(token)

    def taken(self, token: Token) -> None:
        """The broker has taken a token by re-authentication."""
        self._before, self._shown = self._shown, token

    # Within

    def _show(
        self, token: Token, client_id: str, username: str | None, password: str | None
    ) -> Credentials:
        shown = carried(
            token,
            self.carry,
            client_id=client_id,
            username=username,
            password=password,
            method=self._method,
        )
        self._shown, self._before = token, None
        return shown

    def _awaited(self) -> Future[Token] | None:
        """The renewal to wait for, where the present token had better not be shown."""
        source, token = self.source, self.source.token
        refused, self._refused = self._refused, None
        if token is None or source.state is Freshness.EXPIRED:
            return None  # whoever asks for it waits
        if refused == token or (source.renewal_in() <= 0 and not self._lasts(token)):
            return source.renew()
        return None

    def _lasts(self, token: Token) -> bool:
        return self._remaining(token) >= min(LAST_SHARE * token.lifetime, LAST_MOST)

    def _lasting(self, token: Token) -> Token:
        """Refuse a token that may have ended when a busy broker reads it."""
        if not self._lasts(token):
            raise TokenUnavailableError("the token is about to end, and there is no other now")
        return token

    def _remaining(self, token: Token | None) -> float:
        return float("inf") if token is None else token.lifetime - self.source.age_of(token)

    def _after(self, verdict: Verdict, code: int | None) -> float:
        said = "" if code is None else f" (0x{code:02X})"
        if verdict is Verdict.EXPIRED:
            _log.info("%s%s", verdict.value, said)
            return self._backoff.soon(self.first)
        if verdict is Verdict.REFUSED and self._shown is not None:
            if self.source.refused(self._shown):
                self._refused = self._shown
                _log.warning("%s%s: a new one is fetched", verdict.value, said)
                return self._backoff.next(self.first, self.most)
            said += ": it is young, a new one would fare no better"
        wait = self._backoff.next(self.first, self.most)
        _log.warning("%s%s, next try in %.1f s", verdict.value, said, wait)
        return wait


def _settle(running: Future[Token], timeout: float) -> None:
    """Wait until a renewal is over, however it ends: the old token may still serve."""
    try:
        running.result(timeout)
    except (KeyfobError, TimeoutError):
        return
