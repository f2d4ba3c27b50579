# SPDX-License-Identifier: Apache-2.0
"""A file that only its owner reads, that only grows, and that is on the disk when one says so."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from keyfob.errors import ConfigError, ConflictError, UpstreamError

__all__ = ["PrivateFile"]


class PrivateFile:
    """Made with mode 0600 when missing, locked while it is open; a context manager.

    Args:
        path: Where it is.

    Raises:
        ConfigError: It cannot be opened, is no file of ours, or others may read it.
        ConflictError: Another process writes it now.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            # No O_APPEND: `cut` and `write` go by the size that the register knows.
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}") from error
        try:
            self._admit()
        except BaseException:
            os.close(self._file)
            raise
        self.size = os.fstat(self._file).st_size

    def _admit(self) -> None:
        found = os.fstat(self._file)
        if not stat.S_ISREG(found.st_mode):
            raise ConfigError(f"{self.path} is not an ordinary file")
        if found.st_uid != os.geteuid():  # its owner could read what is written into it
            raise ConfigError(f"{self.path} belongs to another user")
        if found.st_mode & 0o077:
            raise ConfigError(f"{self.path}: others may open it: chmod 600 it")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConflictError(f"{self.path}: another process writes it") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        os.close(self._file)

    def cut(self, size: int) -> None:
        """Drop what follows after so many bytes.

        Raises:
            ConfigError: It is shorter than that.
        """
        if self.size < size:
            raise ConfigError(
                f"{self.path} is {self.size} bytes long and was {size}: it is not the file from "
                "before"
            )
        os.ftruncate(self._file, size)
        self.size = size

    def read(self, start: int, most: int) -> bytes:
        """Return what stands in it from some byte on, so many bytes at most."""
        return os.pread(self._file, most, start)

    def write(self, text: str) -> None:
        """Add text at the end.

        Raises:
            UpstreamError: The disk is full, or fails.
        """
        data = text.encode("utf-8", "backslashreplace")
        with self._telling():
            while data:
                done = os.pwrite(self._file, data, self.size)
                self.size += done
                data = data[done:]

    def sync(self) -> None:
        """Return when all of it is on the disk, also its place in its folder.

        Raises:
            UpstreamError: The disk is full, or fails.
        """
        with self._telling():
            os.fsync(self._file)
            folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UpstreamError(f"{self.path}: {error.strerror}") from error
