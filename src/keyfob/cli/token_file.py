# SPDX-License-Identifier: Apache-2.0
"""A token in a file, for programs that cannot ask for one themselves.

The file is there as long as what is in it may be shown: it is replaced as a whole when the token
is renewed, and removed when the token ends before there is a new one, or when nobody keeps it
fresh any more. A program that reads it meets a good token or no file.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from keyfob.device import Freshness, Token, TokenSource
from keyfob.device.renewal import margin_of
from keyfob.errors import ConfigError, TokenRequestError, TokenUnavailableError

__all__ = ["TokenFile", "keep_fresh", "mosquitto", "plain"]

_SHORTEST_PAUSE: Final = 0.02
_LONGEST_PAUSE: Final = 1.0
"""Seconds between two looks at the clock: it may have been set."""

Written = Callable[[Token | None], object]
"""Is told what the file holds now; None: it is gone."""


class TokenFile:
    """A file that only its owner reads.

    Args:
        path: Where.
        form: What is written of a token; see ``plain`` and ``mosquitto``.

    Raises:
        ConfigError: Its folder is not there.
    """

    def __init__(self, path: Path, form: Callable[[str], str]) -> None:
        if not path.parent.is_dir():
            raise ConfigError(f"{path.parent}: no such folder; make it, with mode 0700")
        if path.exists() and not path.is_file():
            raise ConfigError(f"{path} is not an ordinary file")
        self.path = path
        self._form = form

    def write(self, token: Token) -> None:
        """Replace what is there.

        Raises:
            OSError: It cannot be written; what was there is there still.
        """
        # mkstemp makes it 0600, whatever the umask is.
        handle, name = tempfile.mkstemp(prefix=f".{self.path.name}.", dir=self.path.parent)
        try:
            with os.fdopen(handle, "w", encoding="ascii") as file:
                file.write(self._form(token.access_token))
            Path(name).replace(self.path)
        except BaseException:
            with suppress(OSError):
                Path(name).unlink()
            raise

    def remove(self) -> None:
        """Remove it, if it is there."""
        self.path.unlink(missing_ok=True)


def plain(access_token: str) -> str:
    """Return the token alone, in one line."""
    return f"{access_token}\n"


def mosquitto(username: str) -> Callable[[str], str]:
    """Return what writes options as the configuration file of mosquitto_pub has them.

    Raises:
        ConfigError: The name does not fit into a line.
    """
    if not username.isprintable() or username != username.strip():
        raise ConfigError("a username in such a file has no control characters and no outer blanks")
    return lambda access_token: f"-u {username}\n-P {access_token}\n"


def keep_fresh(
    source: TokenSource, file: TokenFile, ended: threading.Event, written: Written
) -> None:
    """Keep a token in a file until it is to end.

    A server that is away is waited for. One that refuses the first token ends it.

    Args:
        source: Where tokens come from.
        file: Where they go to.
        ended: Set, possibly by a signal, when it is to end.
        written: Is told of each change.

    Raises:
        TokenRequestError: The server refuses the first token.
        OSError: The file cannot be written.
    """
    woken = threading.Event()
    unsubscribe = source.subscribe(lambda _: woken.set())
    last: Token | None = None
    there = False
    try:
        while not ended.is_set():
            woken.clear()
            if there and source.state is Freshness.EXPIRED:
                file.remove()
                there = False
                written(None)
            token = _usable(source, first=last is None)
            if token is not None and not (there and token == last):
                file.write(token)
                last, there = token, True
                written(token)
            woken.wait(_pause(last))
    finally:
        unsubscribe()
        file.remove()


def _usable(source: TokenSource, *, first: bool) -> Token | None:
    """Return a token that may be shown, after a try to get one; None: there is none now."""
    try:
        return source.get(_LONGEST_PAUSE)
    except TokenUnavailableError:
        return None
    except TokenRequestError:
        if first:
            raise
        return None


def _pause(token: Token | None) -> float:
    """Return how long to look at nothing: less than what the file has to be removed in."""
    if token is None:
        return _LONGEST_PAUSE
    return min(max(margin_of(token.lifetime) / 2, _SHORTEST_PAUSE), _LONGEST_PAUSE)
