# SPDX-License-Identifier: Apache-2.0
"""Where a device keeps its token between two runs, and between two processes.

A store also says whose turn it is: of several processes that share one, the one that holds the
lock renews, and the others take what it brought. A refresh token that two of them spend at once
looks like a stolen one, and costs the family (RFC 9700 section 4.14.2).
"""

from __future__ import annotations

import os
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import msgspec

from keyfob.device.clock import Moment
from keyfob.device.token import Token
from keyfob.errors import ConfigError

try:
    import fcntl
except ImportError:  # no POSIX: then one process has the file to itself
    fcntl = None  # type: ignore[assignment]

__all__ = ["FileStore", "MemoryStore", "Turn", "TokenStore", "decode_token", "encode_token"]


class Turn(Protocol):
    """The right to renew."""

    def take(self) -> bool:
        """Take it if nobody has it; never waits."""

    def give_back(self) -> None:
        """Let the next one have it."""


class TokenStore(Protocol):
    """Keeps one token."""

    def load(self) -> Token | None:
        """Return what is kept; None: nothing that can be used.

        Raises:
            OSError: It cannot be read.
        """

    def save(self, token: Token) -> None:
        """Keep a token; it lasts when this returns.

        Raises:
            OSError: It cannot be written.
        """

    def turn(self) -> Turn:
        """Return this store's turn; one for each that wants to renew."""


class MemoryStore:
    """Keeps the token for as long as the process runs."""

    def __init__(self) -> None:
        self._token: Token | None = None
        self._lock = threading.Lock()

    def load(self) -> Token | None:
        """Return the token, if there is one."""
        return self._token

    def save(self, token: Token) -> None:
        """Keep the token."""
        self._token = token

    def turn(self) -> Turn:
        """Return the turn of those who share this object."""
        return _ThreadTurn(self._lock)


class _ThreadTurn:
    def __init__(self, lock: threading.Lock) -> None:
        self._lock = lock

    def take(self) -> bool:
        return self._lock.acquire(blocking=False)

    def give_back(self) -> None:
        self._lock.release()


class FileStore:
    """Keeps the token in a file that only its owner reads, replaced as a whole and synced.

    Args:
        path: Where. Its folder has to be there; beside it lies a file of the same name and
            ``.lock``.

    Raises:
        ConfigError: The folder is not there.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        if not self._path.parent.is_dir():
            raise ConfigError(f"{self._path.parent}: no such folder; make it, with mode 0700")

    def load(self) -> Token | None:
        """Read the file; what is no token of ours counts as nothing.

        Raises:
            OSError: It cannot be read.
        """
        try:
            return decode_token(self._path.read_bytes())
        except FileNotFoundError:
            return None

    def save(self, token: Token) -> None:
        """Write the file.

        Raises:
            OSError: It cannot be written; the old one is still there.
        """
        # mkstemp makes it 0600, whatever the umask is.
        handle, name = tempfile.mkstemp(prefix=f".{self._path.name}.", dir=self._path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(encode_token(token))
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(self._path)
        except BaseException:
            with suppress(OSError):
                Path(name).unlink()
            raise
        _sync_folder(self._path.parent)

    def turn(self) -> Turn:
        """Return the turn of all processes that use this file."""
        return _FileTurn(self._path.with_name(f"{self._path.name}.lock"))


class _FileTurn:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle: int | None = None

    def take(self) -> bool:
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
        if fcntl is not None:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(handle)
                return False
        self._handle = handle
        return True

    def give_back(self) -> None:
        handle, self._handle = self._handle, None
        if handle is not None:
            os.close(handle)  # and the lock with it


class _Kept(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What a store writes; a newer version's file reads as nothing."""

    version: int
    access_token: str
    token_type: str
    scope: str
    lifetime: float
    boot: str
    elapsed: float
    wall: float
    refresh_token: str | None = None


_VERSION = 1


def encode_token(token: Token) -> bytes:
    """Write a token as a store keeps it: JSON."""
    kept = _Kept(
        version=_VERSION,
        access_token=token.access_token,
        token_type=token.token_type,
        scope=token.scope,
        lifetime=token.lifetime,
        boot=token.obtained.boot,
        elapsed=token.obtained.elapsed,
        wall=token.obtained.wall,
        refresh_token=token.refresh_token,
    )
    return msgspec.json.encode(kept)


def decode_token(data: bytes) -> Token | None:
    """Read what ``encode_token`` wrote; None: it is something else."""
    try:
        kept = msgspec.json.decode(data, type=_Kept)
    except msgspec.MsgspecError:
        return None
    if kept.version != _VERSION or not kept.lifetime > 0:
        return None
    return Token(
        access_token=kept.access_token,
        token_type=kept.token_type,
        scope=kept.scope,
        lifetime=kept.lifetime,
        obtained=Moment(boot=kept.boot, elapsed=kept.elapsed, wall=kept.wall),
        refresh_token=kept.refresh_token,
    )


def _sync_folder(path: Path) -> None:
    with suppress(OSError):  # not every system lets folders be opened
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
