# SPDX-License-Identifier: Apache-2.0
"""Issued and refused tokens as JSON lines in a file.

Each line is given to the operating system before its answer is sent, so a server that is killed
owes none; a thread brings the lines to the disk once a second, which is what a power cut may cost.
Where the file cannot be written (a full disk) the lines wait in memory, so many of them, and follow
as soon as it can; tokens are issued all the same.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
import threading
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec

from keyfob.errors import ConfigError
from keyfob.server.audit import TokenEvent

__all__ = ["AuditFile"]

MAX_WAITING: Final = 10_000
_SYNC_SECONDS: Final = 1.0
_log: Final = logging.getLogger(__name__)


class AuditFile:
    """A sink for token events; a context manager that brings the last ones to the disk.

    Args:
        path: The file; made with mode 0600 when missing, and its folder with 0700.

    Raises:
        ConfigError: It cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = _opened(path)
        self._waiting: deque[bytes] = deque()
        self._dropped = 0
        self._failing = False
        self._torn = _ends_torn(path)
        self._unsynced = threading.Event()
        self._ending = threading.Event()
        self._lock = threading.Lock()  # nobody closes the file while it is brought to the disk
        self._thread = threading.Thread(target=self._sync, name="keyfob-audit", daemon=True)

    @property
    def dropped(self) -> int:
        """How many lines were lost because the file could not be written for too long."""
        return self._dropped

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._write_waiting()
        self._dropped += len(self._waiting)
        self._waiting.clear()
        self._ending.set()
        self._thread.join()
        os.close(self._file)

    def __call__(self, event: TokenEvent) -> None:
        """Append an event; it neither waits for the disk nor raises."""
        self._waiting.append(msgspec.json.encode(event) + b"\n")
        if len(self._waiting) > MAX_WAITING:
            self._waiting.popleft()
            self._dropped += 1
        self._write_waiting()

    def _write_waiting(self) -> None:
        try:
            while self._waiting:
                self._write(self._waiting[0])
                self._waiting.popleft()
        except OSError as error:
            if not self._failing:
                _log.error("the audit waits: %s: %s", self._path, error.strerror)
            self._failing = True
        else:
            if self._failing:
                _log.warning("the audit goes on: %s (%d lines lost)", self._path, self._dropped)
            self._failing = False
            self._unsynced.set()

    def reopen(self) -> None:
        """Go on in a new file of the same name, when somebody has moved the old one away.

        Raises:
            ConfigError: It cannot be opened; the old one stays.
        """
        new = _opened(self._path)
        with self._lock:
            old, self._file = self._file, new
            self._torn = _ends_torn(self._path)
            self._to_disk(old)
            os.close(old)

    def _write(self, line: bytes) -> None:
        if self._torn:  # by a disk that was full in the middle of a line
            line = b"\n" + line
        written = os.write(self._file, line)
        self._torn = written < len(line)
        if self._torn:
            raise OSError(0, "the disk is full", str(self._path))

    def _sync(self) -> None:
        while not self._ending.wait(_SYNC_SECONDS):
            self._bring_to_disk()
        self._bring_to_disk()

    def _bring_to_disk(self) -> None:
        if not self._unsynced.is_set():
            return
        self._unsynced.clear()
        with self._lock:
            self._to_disk(self._file)

    def _to_disk(self, file: int) -> None:
        try:
            os.fdatasync(file)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EROFS):  # a pipe or device has no disk
                _log.error("%s: %s", self._path, error.strerror)


def _ends_torn(path: Path) -> bool:
    """Say whether a file ends in the middle of a line, as after a disk that was full."""
    try:
        with path.open("rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode) or file.seek(0, os.SEEK_END) == 0:
                return False
            file.seek(-1, os.SEEK_END)
            return file.read(1) != b"\n"
    except OSError:
        return False


def _opened(path: Path) -> int:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
