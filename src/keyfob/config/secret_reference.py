# SPDX-License-Identifier: Apache-2.0
"""SecretReference: where a secret is kept, which is all that a configuration may say of it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from keyfob.errors import ConfigError

__all__ = ["SecretReference"]


@dataclass(frozen=True, slots=True)
class SecretReference:
    """Where a secret is kept: ``file:PATH`` or ``env:NAME``; never the secret itself."""

    kind: Literal["file", "env"]
    place: str
    directory: Path

    @classmethod
    def parse(cls, text: str, directory: Path) -> SecretReference:
        """Read a reference; a bare secret in the configuration is refused.

        Args:
            text: ``file:PATH`` (relative to ``directory``) or ``env:NAME``.
            directory: The folder of the configuration file.

        Raises:
            ConfigError: Neither of the two forms. The message does not repeat the text.
        """
        kind, separator, place = text.partition(":")
        if not separator or not place or kind not in ("file", "env"):
            raise ConfigError(
                "a secret never stands here itself; write where it is, file:PATH or env:NAME"
            )
        return cls("file" if kind == "file" else "env", place, directory)

    def read(self) -> str:
        """Return the secret.

        Raises:
            ConfigError: The file or variable is missing or empty.
        """
        if self.kind == "env":
            secret = os.environ.get(self.place, "")
        else:
            try:
                secret = (self.directory / self.place).read_text(encoding="utf-8").strip()
            except (OSError, ValueError) as error:  # not UTF-8, or NUL in the path
                raise ConfigError(f"cannot read the secret {self.kind}:{self.place}") from error
        if not secret:
            raise ConfigError(f"the secret {self.kind}:{self.place} is empty or not set")
        return secret
