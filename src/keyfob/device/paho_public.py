# SPDX-License-Identifier: Apache-2.0
"""A paho-mqtt whose inside is not known: what its public callbacks allow.

Every CONNECT shows a good token in username or password. Connections end with their tokens. The
user's callbacks are called behind ours, if they were set before; one that is set afterwards takes
the place of ours, as paho has one place for each.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import paho.mqtt.client as mqtt

from keyfob.device.presenting import Presenting
from keyfob.device.token import Token

__all__ = ["PublicSession"]

_CALLBACKS = ("on_pre_connect", "on_connect", "on_disconnect", "on_connect_fail")


class PublicSession:
    """As ``Session``, with less.

    Args:
        client: The client.
        presenting: What it shows.
    """

    def __init__(self, client: mqtt.Client, presenting: Presenting) -> None:
        self._client = client
        self._presenting = presenting
        self._own = client.username, client.password
        self._theirs = {name: getattr(client, name) for name in _CALLBACKS}
        self._in = False
        for name, ours in zip(
            _CALLBACKS, (self._before, self._answered, self._ended, self._failed), strict=True
        ):
            setattr(client, name, _both(ours, self._theirs[name]))

    @property
    def token(self) -> Token | None:
        """The token that the broker was shown last; None: none yet."""
        return self._presenting.shown

    def refresh(self) -> Future[Token]:
        """Fetch a new token now; the next CONNECT shows it."""
        return self._presenting.source.renew()

    def close(self) -> None:
        """Let the client be as it was."""
        for name, theirs in self._theirs.items():
            setattr(self._client, name, theirs)
        self._client.username_pw_set(*self._own)

    def _before(self, *_: Any) -> None:
        username, password = self._own
        shown = self._presenting.credentials(username=username, password=password)
        self._client.username_pw_set(shown.username, shown.password)

    def _answered(self, _client: Any, _userdata: Any, _flags: Any, reason: Any, *_: Any) -> None:
        code = int(getattr(reason, "value", reason))
        self._in = code == 0
        if self._in:
            self._presenting.accepted()
        else:
            self._wait(self._presenting.refused(code))

    def _ended(self, *_: Any) -> None:
        if self._in:
            self._in = False
            self._wait(self._presenting.ended())

    def _failed(self, *_: Any) -> None:
        self._wait(self._presenting.failed())

    def _wait(self, seconds: float) -> None:
        # paho doubles from here on, until we are asked again.
        self._client.reconnect_delay_set(max(seconds, 0.001), self._presenting.most)  # type: ignore[arg-type]


def _both(ours: Callable[..., Any], theirs: Callable[..., Any] | None) -> Callable[..., Any]:
    def call(*arguments: Any) -> None:
        ours(*arguments)
        if theirs is not None:
            theirs(*arguments)

    return call
