# SPDX-License-Identifier: Apache-2.0
"""One renewal, in its turn among those who share the store; a flow.

Whoever has the turn looks into the store first: another process may have renewed meanwhile. What
it then gets is stored before anybody uses it, for the refresh token in it is the only one that
still works. A process that is killed in between leaves the spent one behind; a server with a grace
period gives whoever comes next the same answer again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from keyfob.device.clock import Clock, age, stepped
from keyfob.device.flow import Flow, Pause
from keyfob.device.grants import DeviceCode, Grant, RefreshToken
from keyfob.device.renewal import margin_of, renewal_age
from keyfob.device.requesting import Requesting
from keyfob.device.store import TokenStore
from keyfob.device.token import Token
from keyfob.device.turns import TURN_PATIENCE, TURN_POLL, Turn, endless
from keyfob.errors import TokenRequestError, TokenUnavailableError

__all__ = ["Renewing"]

_log = logging.getLogger("keyfob.device")


class Renewing:
    """Renews what a store keeps.

    Args:
        requesting: Asks the server.
        grant: How to begin anew.
        store: Keeps the token.
        clock: Tells the time.
        leeway: Seconds before the end by which a renewal should be done; None: by the lifetime.
    """

    def __init__(
        self,
        requesting: Requesting,
        grant: Grant,
        *,
        store: TokenStore,
        clock: Clock,
        leeway: float | None,
    ) -> None:
        self._requesting = requesting
        self._grant = grant
        self._store = store
        self._clock = clock
        self._leeway = leeway
        self.spending = False
        """Whether a refresh token is being spent: its successor would be lost with the process."""

    def stored(self) -> Token | None:
        """Return what the store keeps, if it is of use here; a fault of the store is logged."""
        try:
            token = self._store.load()
        except Exception as error:  # noqa: BLE001 - the store may be anybody's
            _log.warning("the stored token cannot be read: %s", _said(error))
            return None
        if token is not None and token.origin != self._requesting.origin:
            _log.warning("the stored token is another client's, or for something else: not used")
            return None
        return token

    def renewal(self, before: Token | None, *, anew: bool = False) -> Flow[Token]:
        """Get a new token, from the server or from whoever shares the store.

        Args:
            before: The present one.
            anew: Begin with the grant again, whatever is kept.

        Raises:
            TokenRequestError: The server refuses it.
            TokenUnavailableError: It cannot be asked, or cannot answer, now.
        """
        turn = self._store.turn()
        yield from self._await(turn)
        try:
            stored = self.stored()
            if stored is not None and not anew and self._is_news(stored, before):
                return stored
            token = yield from self._next(None if anew else self._newer(stored, before))
        finally:
            self._give_back(turn)
        if age(token.obtained, self._clock()) >= token.lifetime - margin_of(token.lifetime):
            said = "the new token had ended before it was here"
            raise TokenUnavailableError(said, code="upstream_invalid")
        return token

    def _await(self, turn: Turn) -> Flow[None]:
        for _ in range(round(TURN_PATIENCE / TURN_POLL)):
            try:
                taken = turn.take()
            except Exception as error:  # noqa: BLE001 - the store may be anybody's
                # Then nobody can save either, so nobody else has a newer one.
                _log.warning("the store cannot be locked: %s", _said(error))
                return
            if taken:
                return
            yield Pause(TURN_POLL)
        raise endless()

    def _give_back(self, turn: Turn) -> None:
        try:
            turn.give_back()
        except Exception as error:  # noqa: BLE001 - the store may be anybody's
            _log.warning("the store cannot be unlocked: %s", _said(error))

    def _is_news(self, stored: Token, before: Token | None) -> bool:
        """Whether another process has renewed meanwhile."""
        if before is not None and stored.access_token == before.access_token:
            return False
        now = self._clock()
        latest = renewal_age(stored.lifetime, 0.0, first=False, leeway=self._leeway)
        return age(stored.obtained, now) < latest and not stepped(stored.obtained, now)

    def _newer(self, stored: Token | None, before: Token | None) -> Token | None:
        """Return the later one: what could not be saved is newer than what is kept."""
        if stored is None or before is None:
            return stored or before
        now = self._clock()
        return before if age(before.obtained, now) <= age(stored.obtained, now) else stored

    def _next(self, last: Token | None) -> Flow[Token]:
        if last is not None and last.refresh_token is not None:
            try:
                with self._spending():
                    return self._saved((yield from self._requesting.refreshed(last)))
            except TokenRequestError as error:
                # A person is not called for nothing; a client that is not known is known to none.
                if error.error == "invalid_client" or isinstance(self._grant, DeviceCode):
                    raise
        if isinstance(self._grant, RefreshToken):
            with self._spending():
                return self._saved((yield from self._requesting.token(self._grant)))
        return self._saved((yield from self._requesting.token(self._grant)))

    def _saved(self, token: Token) -> Token:
        try:
            self._store.save(token)
        except Exception as error:  # noqa: BLE001 - the store may be anybody's
            # It is used all the same: the refresh token that it replaces is spent.
            _log.warning("the new token cannot be stored: %s", _said(error))
        return token

    @contextmanager
    def _spending(self) -> Iterator[None]:
        self.spending = True
        try:
            yield
        finally:
            self.spending = False


def _said(error: Exception) -> str:
    """Tell what a store failed of, and nothing that could be a token."""
    return str(error.strerror) if isinstance(error, OSError) else type(error).__name__
