# SPDX-License-Identifier: Apache-2.0
"""Errors of a configuration say where it stands: file, line and key."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from keyfob.config import SecretReference, Settings
from keyfob.errors import ConfigError

__all__ = ["placed", "secret_at"]


@contextmanager
def placed(settings: Settings, section: str, prefix: str = "") -> Iterator[None]:
    """Say of errors within where they come from: their key stands in this section."""
    try:
        yield
    except ConfigError as error:
        key = f"{section}.{error.key}" if error.key else section
        message = error.message.removeprefix(prefix).removeprefix(f"{error.key}: ")
        raise settings.wrong(key, message) from error


def secret_at(reference: str, directory: Path, key: str) -> str:
    """Read the secret that a setting refers to; empty: it refers to none.

    Args:
        reference: What the setting says.
        directory: What relative paths are relative to.
        key: The setting, for the error.

    Raises:
        ConfigError: It is not there, or is none.
    """
    if not reference:
        return ""
    try:
        return SecretReference.parse(reference, directory).read()
    except ConfigError as error:
        raise ConfigError(error.message, key=key) from error
