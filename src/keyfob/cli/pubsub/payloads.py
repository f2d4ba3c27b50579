# SPDX-License-Identifier: Apache-2.0
"""What ``keyfob pub`` sends: read as it comes, and never more than one message of it."""

from __future__ import annotations

import os
import select
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from keyfob.errors import ConfigError

__all__ = ["LONGEST", "lines", "whole_file", "whole_stream"]

LONGEST: Final = 268_435_455
"""Bytes that a packet of MQTT can have (5.0 section 1.5.5), which a payload has to fit into."""

_PIECE: Final = 65_536


def lines(stream: int, woken: int, look: Callable[[], None]) -> Iterator[bytes]:
    r"""Read lines, each as soon as it is there, without its ``\n``.

    Args:
        stream: A file descriptor.
        woken: Another one; when it can be read, ``look`` is called.
        look: Raises whatever ends the reading.

    Raises:
        ConfigError: A line is longer than a message can be.
    """
    rest = bytearray()
    while True:
        ready, _, _ = select.select([stream, woken], [], [])
        if woken in ready:
            os.read(woken, _PIECE)
            look()
        if stream not in ready:
            continue
        piece = os.read(stream, _PIECE)
        if not piece:
            break
        seen = len(rest)
        rest += piece
        if rest.find(b"\n", seen) < 0:
            _check(len(rest))
            continue
        *whole, left = bytes(rest).split(b"\n")
        rest = bytearray(left)
        _check(max(map(len, (*whole, left))))
        yield from whole
    if rest:
        yield bytes(rest)


def whole_file(path: Path) -> bytes:
    """Read a file.

    Raises:
        ConfigError: It is more than a message can be.
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        return whole_stream(file.fileno())


def whole_stream(stream: int) -> bytes:
    """Read everything that comes.

    Raises:
        ConfigError: It is more than a message can be.
    """
    found = bytearray()
    while piece := os.read(stream, _PIECE):
        found += piece
        _check(len(found))
    return bytes(found)


def _check(size: int) -> None:
    if size > LONGEST:
        raise ConfigError(f"a message has at most {LONGEST} bytes")
