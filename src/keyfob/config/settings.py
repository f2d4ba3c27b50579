# SPDX-License-Identifier: Apache-2.0
"""Settings: the effective configuration, and where each of its values came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from keyfob.config.audit_targets import AuditTarget
from keyfob.config.checks import check_document
from keyfob.config.document import typed
from keyfob.config.sections import GuardSection, IssuerSection, MosquittoSection, ServerSection
from keyfob.config.server_database import with_directory
from keyfob.config.source import Origin, Source
from keyfob.errors import ConfigError

__all__ = ["FILE_NAME", "Settings", "load"]

FILE_NAME: Final = "keyfob.toml"
_DEFAULT: Final = Origin(kind="default")
_S = TypeVar("_S", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The effective configuration.

    Paths are absolute. Keys are dotted, such as ``server.port`` or ``issuer.0.audience``;
    ``origins`` has those that are no defaults.
    """

    server: ServerSection
    guard: GuardSection
    issuers: tuple[IssuerSection, ...]
    mosquitto: MosquittoSection
    origins: Mapping[str, Origin]
    source: Source

    @property
    def path(self) -> Path:
        """The file."""
        return self.source.path

    @property
    def directory(self) -> Path:
        """The folder that relative paths in the file are relative to."""
        return self.path.parent

    @property
    def audit(self) -> tuple[AuditTarget, ...]:
        """Where decisions are written."""
        return tuple(AuditTarget.parse(text, self.directory) for text in self.guard.audit)

    def origin(self, key: str) -> Origin:
        """Say where the value of a dotted key came from."""
        return self.origins.get(key, _DEFAULT)

    def wrong(self, key: str, message: str) -> ConfigError:
        """Make the error for a value: ``FILE:LINE: KEY: what is wrong; write …``."""
        return self.source.wrong(key, message)


def load(path: Path) -> Settings:
    """Read and check a configuration file.

    Args:
        path: The file, usually ``DIR/keyfob.toml``.

    Raises:
        ConfigError: It cannot be read, is not TOML, holds an unknown key or a wrong value. The
            message says file, line, key and what to write.
    """
    source = Source.read(path)
    document, origins = typed(source)
    check_document(document, source)
    directory = source.path.parent
    server = _with_paths(document.server, directory)
    database = with_directory(server.database, directory)
    return Settings(
        server=msgspec.structs.replace(server, database=database),
        guard=_with_paths(document.guard, directory),
        issuers=tuple(_with_paths(issuer, directory) for issuer in document.issuer),
        mosquitto=_with_paths(document.mosquitto, directory),
        origins=origins,
        source=source,
    )


def _with_paths(section: _S, directory: Path) -> _S:
    """Make every path of a section absolute, those of the sections in it too."""
    changes: dict[str, object] = {}
    for name in section.__struct_fields__:
        value = getattr(section, name)
        if isinstance(value, Path):
            changes[name] = directory / value
        elif isinstance(value, msgspec.Struct):
            changes[name] = _with_paths(value, directory)
        elif isinstance(value, tuple) and all(isinstance(row, msgspec.Struct) for row in value):
            changes[name] = tuple(_with_paths(row, directory) for row in value)
    return msgspec.structs.replace(section, **changes)
