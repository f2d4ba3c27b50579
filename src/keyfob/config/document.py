# SPDX-License-Identifier: Apache-2.0
"""From a file's values to typed sections, laid over the presets that they name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from keyfob.config.presets import PRESETS
from keyfob.config.sections import Document
from keyfob.config.source import Origin, Source
from keyfob.config.type_errors import NO_PATH, type_error
from keyfob.config.unknown_keys import nearest, refuse_unknown_keys

__all__ = ["typed"]


def typed(source: Source) -> tuple[Document, Mapping[str, Origin]]:
    """Give a file's values their types.

    Returns:
        The sections, with paths as written, and where every value came from that is no default.

    Raises:
        ConfigError: An unknown key or preset, or a value of another type.
    """
    refuse_unknown_keys(source)
    origins = {key: Origin(kind="file", line=source.line(key)) for key in _leaf_keys(source.data)}
    data = dict(source.data)
    rows = data.get("issuer")
    if isinstance(rows, list):
        data["issuer"] = [
            _with_preset(source, f"issuer.{place}", row, origins) if isinstance(row, dict) else row
            for place, row in enumerate(rows)
        ]
    try:
        return msgspec.convert(data, Document, dec_hook=_path_from_text), origins
    except msgspec.ValidationError as error:
        raise type_error(source, error) from error


def _leaf_keys(data: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in data.items():
        if isinstance(value, dict):
            yield from _leaf_keys(value, f"{prefix}{key}.")
        elif isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
            for place, row in enumerate(value):
                yield from _leaf_keys(row, f"{prefix}{key}.{place}.")
        else:
            yield prefix + key


def _with_preset(
    source: Source, key: str, row: dict[str, Any], origins: dict[str, Origin]
) -> dict[str, Any]:
    """Lay what a section says over the preset that it names, tables key by key."""
    name = row.get("preset")
    if not isinstance(name, str) or not name:
        return row
    if name not in PRESETS:
        near = nearest(name, PRESETS)
        raise source.wrong(f"{key}.preset", f"there is no such preset; write {near}")
    origin = Origin(kind="preset", preset=name)
    merged = dict(row)
    for part, value in PRESETS[name].items():
        own = row.get(part, {})
        if not isinstance(value, dict):
            if part not in row:
                merged[part] = value
                origins[f"{key}.{part}"] = origin
        elif isinstance(own, dict):
            merged[part] = value | own
            origins.update({f"{key}.{part}.{one}": origin for one in value if one not in own})
    return merged


def _path_from_text(kind: type, value: object) -> object:
    if kind is Path and isinstance(value, str) and value and "\0" not in value:
        return Path(value)
    raise ValueError(NO_PATH)
