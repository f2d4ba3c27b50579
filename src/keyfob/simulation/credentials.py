# SPDX-License-Identifier: Apache-2.0
"""Who the devices of a fleet are: a file of names and secrets, as ``--secrets-out`` writes it."""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from keyfob.errors import ConfigError
from keyfob.simulation.plan import Credential

__all__ = ["read_credentials"]

_NAMES: Final = ("device", "client_id")
_SECRETS: Final = ("secret", "client_secret")
_LONGEST: Final = 64 * 1024


def read_credentials(file: Path, count: int) -> tuple[Credential, ...]:
    """Read the first devices of a file: CSV, or JSON lines where its name ends in ``.jsonl``.

    Args:
        file: Its columns, or members, are ``device`` (or ``client_id``) and ``secret`` (or
            ``client_secret``); others are passed over.
        count: How many.

    Raises:
        ConfigError: It cannot be read, a row has no name or no secret, a name is there twice, or
            they are too few.
    """
    found: dict[str, Credential] = {}
    try:
        with file.open(encoding="utf-8", newline="") as stream:
            rows = _json_rows(stream) if file.suffix == ".jsonl" else _csv_rows(stream)
            for line, row in itertools.islice(rows, count):
                client_id, secret = _member(row, _NAMES), _member(row, _SECRETS)
                if not client_id or not secret:
                    said = "a row has `device` (or `client_id`) and `secret` (or `client_secret`)"
                    raise ConfigError(f"{file}, line {line}: {said}")
                if client_id in found:
                    raise ConfigError(f"{file}, line {line}: {client_id!r} was there already")
                found[client_id] = Credential(client_id=client_id, secret=secret)
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise ConfigError(f"{file}: no text in UTF-8") from None
    except csv.Error as error:
        raise ConfigError(f"{file}: {error}") from None
    if len(found) < count:
        raise ConfigError(f"{file} has {len(found):,} devices: --devices {count} are too many")
    return tuple(found.values())


def _csv_rows(stream: Iterator[str]) -> Iterator[tuple[int, object]]:
    reader = csv.DictReader(stream)
    for row in reader:
        yield reader.line_num, row


def _json_rows(stream: Iterator[str]) -> Iterator[tuple[int, object]]:
    for number, line in enumerate(stream, start=1):
        try:
            row = json.loads(line) if len(line) <= _LONGEST else None
        except (ValueError, RecursionError):
            row = None
        yield number, row


def _member(row: object, names: tuple[str, ...]) -> str:
    """Return the first of some members that is a text; empty: none is."""
    if not isinstance(row, dict):
        return ""
    texts = (row.get(name) for name in names)
    return next((text for text in texts if isinstance(text, str) and text), "")
