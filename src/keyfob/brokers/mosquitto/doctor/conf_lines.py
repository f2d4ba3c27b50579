# SPDX-License-Identifier: Apache-2.0
"""The lines of a mosquitto.conf and of what it includes, split as Mosquitto splits them.

Its rules are those of ``src/conf.c`` (2.0.11 and 2.1.2 agree): a line whose first byte is ``#`` is
a comment, one that begins with spaces is not. Words are told apart by spaces, never by tabs.
``include_dir`` counts in the main file only; of the folder the names that end in ``.conf`` are
read, sorted without regard to case (and by case where only that differs).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Line", "Place", "read_lines"]

ReadText = Callable[[Path], str]
ListFolder = Callable[[Path], Sequence[str]]


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands; line 0: the whole file."""

    file: Path
    line: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else str(self.file)


@dataclass(frozen=True, slots=True)
class Line:
    """One option: its name, and all that stands behind the space after it."""

    name: str
    rest: str
    place: Place

    @property
    def word(self) -> str:
        """The first word, which is what switches and numbers are read from."""
        return self.rest.strip(" ").partition(" ")[0]

    @property
    def text(self) -> str:
        """The whole value without what is blank around it, which is what paths are read from."""
        return self.rest.strip()

    @property
    def plugin_value(self) -> str:
        """The value as a plugin is given it: blanks behind it are part of it."""
        return self.rest.lstrip(" \t")


def read_lines(
    file: Path, read: ReadText, list_folder: ListFolder, *, level: int = 0
) -> Iterator[Line]:
    """Yield the options in the order in which Mosquitto obeys them.

    Args:
        file: The main file.
        read: Returns the text of a file.
        list_folder: Returns the names in a folder.
        level: 0 for the main file, 1 for what it includes.

    Raises:
        OSError: A file or a folder cannot be read; its ``filename`` says which.
    """
    for number, raw in enumerate(read(file).split("\n"), start=1):
        if raw.startswith(("#", "\r")):
            continue
        name, _, rest = raw.rstrip("\r").lstrip(" ").partition(" ")
        if not name:
            continue
        if name == "include_dir":
            if level == 0:
                yield from _included(Path(rest), read, list_folder)
            continue
        yield Line(name, rest, Place(file, number))


def _included(folder: Path, read: ReadText, list_folder: ListFolder) -> Iterator[Line]:
    names = [name for name in list_folder(folder) if name.endswith(".conf") and name != ".conf"]
    for name in sorted(names, key=lambda name: (name.upper(), name)):
        yield from read_lines(folder / name, read, list_folder, level=1)
