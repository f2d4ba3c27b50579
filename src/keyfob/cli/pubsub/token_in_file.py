# SPDX-License-Identifier: Apache-2.0
"""Tokens that somebody else keeps fresh in a file, such as ``keyfob token --watch``.

The file is looked at again whenever somebody asks: what stands there is the present token. When it
ends is known of a JWT alone, which is not verified here: the broker does that.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Final

from keyfob.device import Clock, Freshness, Token
from keyfob.device.clock import age, system_clock
from keyfob.device.token import LONGEST_TOKEN, is_token_text
from keyfob.errors import KeyfobError, TokenUnavailableError
from keyfob.tokens.jws import json_object, octets, segments

__all__ = ["TokenInFile"]

UNKNOWN: Final = 10.0 * 365 * 86400
"""Seconds that a token lives which says nothing about that."""


class TokenInFile:
    """The token in a file, and the next one as soon as it stands there.

    Args:
        path: A file with the token alone, in one line.
        clock: Tells the time.
    """

    def __init__(self, path: Path, clock: Clock | None = None) -> None:
        self._path = path
        self._clock = clock or system_clock()
        self._lock = threading.Lock()
        self._held: Token | None = None

    @property
    def token(self) -> Token | None:
        """The token that stands there now; None: there is none, or its time is up."""
        with self._lock:
            text = self._read()
            if self._held is None or self._held.access_token != text:
                self._held = self._token(text) if text else None
            held = self._held
        return held if held is not None and self.age_of(held) < held.lifetime else None

    @property
    def state(self) -> Freshness:
        """Whether there is one."""
        return Freshness.EXPIRED if self.token is None else Freshness.FRESH

    def get(self, timeout: float = 30.0) -> Token:  # noqa: ARG002 - nothing is waited for
        """Return the token that stands there now.

        Raises:
            TokenUnavailableError: There is none that is good.
        """
        token = self.token
        if token is None:
            raise TokenUnavailableError(f"{self._path}: there is no good token in it now")
        return token

    async def aget(self, timeout: float = 30.0) -> Token:  # noqa: ASYNC109 - as get
        """Return the token that stands there now, in an event loop; as ``get``."""
        return self.get(timeout)

    def renew(self, *, anew: bool = False) -> Future[Token]:  # noqa: ARG002 - another one does that
        """Return what stands there now: whoever keeps it fresh has to do that."""
        renewed: Future[Token] = Future()
        try:
            renewed.set_result(self.get())
        except TokenUnavailableError as error:
            renewed.set_exception(error)
        return renewed

    def refused(self, token: Token) -> bool:
        """Return whether another one stands there already."""
        return self.token not in {None, token}

    def renewal_in(self) -> float:
        """Return 0: the file may have another one at any time."""
        return 0.0

    def age_of(self, token: Token) -> float:
        """Return how many seconds ago a token was first seen there."""
        return age(token.obtained, self._clock())

    def _read(self) -> str:
        try:
            with self._path.open(encoding="ascii") as file:
                text = file.read(LONGEST_TOKEN + 2).strip()
        except (OSError, ValueError):
            return ""
        return text if is_token_text(text) else ""

    def _token(self, text: str) -> Token:
        now = self._clock()
        end = _expiry(text)
        lifetime = UNKNOWN if end is None else max(end - now.wall, 0.0)
        return Token(
            access_token=text,
            token_type="Bearer",  # noqa: S106 - a type's name
            scope="",
            lifetime=lifetime,
            obtained=now,
        )


def _expiry(text: str) -> float | None:
    """Return when a JWT says that it ends, in Unix seconds; None: it says nothing."""
    try:
        claims = json_object(octets(segments(text)[1], "payload"), "payload")
    except KeyfobError:
        return None
    end = claims.get("exp")
    if isinstance(end, bool) or not isinstance(end, int | float) or not 0 < end < 1e11:
        return None
    return float(end)
