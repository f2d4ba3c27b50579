# SPDX-License-Identifier: Apache-2.0
"""A configuration file as written: its values, the line of each, and how its errors look.

Every error is ``FILE:LINE: KEY: what is wrong; write …``. A key is written with dots, and the
sections of a list are counted from 0: ``issuer.0.audience``.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from keyfob.config.lines import locate
from keyfob.errors import ConfigError

__all__ = ["Origin", "Source"]

_SYNTAX: Final = re.compile(r"(.*) \(at (?:line (\d+), column \d+|end of document)\)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a value came from.

    Attributes:
        kind: The file itself, the preset that it names, or what holds where nobody says.
        line: The line of the file; 0: it is not from there.
        preset: The preset's name, if it is from one.
    """

    kind: Literal["file", "preset", "default"]
    line: int = 0
    preset: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A file that was read.

    Attributes:
        path: The file, absolute.
        data: Its values.
        lines: For every key the line that it begins on, counted from 1.
    """

    path: Path
    data: Mapping[str, Any]
    lines: Mapping[str, int]

    @classmethod
    def read(cls, path: Path) -> Source:
        """Read a TOML file.

        Raises:
            ConfigError: There is none, or it is not TOML.
        """
        path = path.absolute()
        try:
            # TOML knows two line ends; a lone CR stays, to be refused.
            text = path.read_bytes().decode("utf-8").replace("\r\n", "\n")
            data = tomllib.loads(text)
            lines = locate(text)
        except FileNotFoundError:
            raise ConfigError(f"{path}: no such file; `keyfob init` makes one") from None
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            line = path.read_bytes()[: error.start].count(b"\n") + 1
            raise ConfigError(f"{path}:{line}: not UTF-8; save the file in it") from error
        except (ValueError, RecursionError) as error:
            # Beside its own error (a ValueError), tomllib lets Python's limits through: integers
            # of thousands of digits, values nested a thousand deep.
            raise _no_toml(path, error) from error
        return cls(
            path=path,
            data=data,
            lines={".".join(map(str, place)): line for place, line in reversed(lines.items())},
        )

    def line(self, key: str) -> int:
        """Return the line of a key, or of the section that it would stand in; else the first."""
        while key not in self.lines:
            key, dot, _ = key.rpartition(".")
            if not dot:
                return 1
        return self.lines[key]

    def wrong(self, key: str, message: str) -> ConfigError:
        """Make the error for a key.

        Args:
            key: With dots.
            message: What is wrong with it, and what to write.
        """
        shown = key if key.isprintable() else ascii(key)  # a quoted key may hold anything
        return ConfigError(f"{self.path}:{self.line(key)}: {shown}: {message}", key=key)


def _no_toml(path: Path, error: Exception) -> ConfigError:
    message = str(error)
    place = str(path)
    if found := _SYNTAX.fullmatch(message):
        message = found[1]
        # At the end of the document no line is named: it is the last that is unfinished.
        line = found[2] or path.read_bytes().count(b"\n") + 1
        place = f"{path}:{line}"
    return ConfigError(f"{place}: not valid TOML: {message}; write KEY = VALUE (https://toml.io)")
