# SPDX-License-Identifier: Apache-2.0
"""``keyfob config``: is the configuration good, and what does it say in the end?"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from keyfob.cli import checking
from keyfob.cli.directory_option import DEFAULT_DIRECTORY, Directory
from keyfob.cli.installation import settings_of
from keyfob.cli.output import Json, answer, here, table
from keyfob.config import IssuerSection, Origin, Settings, nearest
from keyfob.errors import ConfigError

__all__ = ["app"]

app = typer.Typer(
    help="Check the configuration, and explain it.",
    no_args_is_help=True,
)


@app.command()
def check(directory: Directory = DEFAULT_DIRECTORY, as_json: Json = False) -> None:
    """Say whether the configuration is good.

    Every certificate, key file and secret that it names is looked for; no issuer is asked.
    """
    settings = settings_of(directory).settings
    checking.check(settings)
    rows = [_summary(issuer) for issuer in settings.issuers]
    data = {"good": True, "file": str(settings.path), "issuers": rows}
    lines = table(
        ("NAME", "ISSUER", "PRESET", "KEYS", "INTROSPECTION", "RIGHTS"),
        [[str(value or "-") for value in row.values()] for row in rows],
    )
    answer(data, f"{lines}\n\ngood: {here(settings.path)}", as_json=as_json)


@app.command()
def explain(
    key: Annotated[
        str, typer.Argument(metavar="[KEY]", help="One key, or a section; else everything.")
    ] = "",
    directory: Directory = DEFAULT_DIRECTORY,
    as_json: Json = False,
) -> None:
    """Show the effective values, and where each came from.

    Of a secret only the reference is shown.
    """
    settings = settings_of(directory).settings
    values = list(_values(settings))
    chosen = [one for one in values if f"{one.key}.".startswith(f"{key}.")] if key else values
    if not chosen:
        known = sorted({one.key for one in values})
        raise ConfigError(f"there is no key {key!r}; write {nearest(key, known)}")
    answer(
        [_as_data(one) for one in chosen],
        _aligned([_as_row(settings, one) for one in chosen]),
        as_json=as_json,
    )


# check


def _summary(issuer: IssuerSection) -> dict[str, str]:
    """Tell an issuer in short, by the columns of the answer."""
    rights: list[str] = [*issuer.rights]
    if count := len(issuer.policy):
        rights.append(f"{count} policy row{'s' if count > 1 else ''}")
    asked = "" if issuer.introspection is None else issuer.introspection.use
    return {
        "name": issuer.name,
        "issuer": issuer.issuer,
        "preset": issuer.preset,
        "keys": _keys(issuer),
        "introspection": asked,
        "rights": ", ".join(rights),
    }


def _keys(issuer: IssuerSection) -> str:
    if issuer.jwks:
        return "in the section"
    if issuer.jwks_file is not None:
        return here(issuer.jwks_file)
    return issuer.jwks_uri or "by discovery"


# explain


@dataclass(frozen=True, slots=True)
class _Value:
    key: str
    value: object
    origin: Origin


def _values(settings: Settings) -> Iterator[_Value]:
    sections: Mapping[str, object] = {
        "server": settings.server,
        "guard": settings.guard,
        "issuer": settings.issuers,
        "mosquitto": settings.mosquitto,
    }
    for key, section in sections.items():
        yield from _inside(settings, key, section)


def _inside(settings: Settings, key: str, value: object) -> Iterator[_Value]:
    """Walk into sections, lists of them and tables; everything else is a value."""
    for name, inner in _parts(value):
        yield from _inside(settings, f"{key}.{name}", inner)
    if not any(True for _ in _parts(value)):
        yield _Value(key, value, settings.origin(key))


def _parts(value: object) -> Iterator[tuple[object, object]]:
    if isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            yield name, getattr(value, name)
    elif isinstance(value, Mapping):
        yield from value.items()
    elif isinstance(value, tuple) and value and isinstance(value[0], msgspec.Struct):
        yield from enumerate(value)


def _as_data(one: _Value) -> dict[str, Any]:
    value = str(one.value) if isinstance(one.value, Path) else one.value
    origin: dict[str, Any] = {"kind": one.origin.kind}
    if one.origin.line:
        origin["line"] = one.origin.line
    if one.origin.preset:
        origin["preset"] = one.origin.preset
    return {"key": one.key, "value": value, "origin": origin}


def _as_row(settings: Settings, one: _Value) -> tuple[str, str, str]:
    key = one.key if one.key.isprintable() else ascii(one.key)  # a quoted key may hold anything
    return key, _as_toml(one.value), _place(settings, one.origin)


def _place(settings: Settings, origin: Origin) -> str:
    match origin.kind:
        case "file":
            return f"{here(settings.path)}:{origin.line}"
        case "preset":
            return f"preset {origin.preset}"
        case "default":
            return "default"


def _as_toml(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, str | Path):
        return json.dumps(str(value), ensure_ascii=not str(value).isprintable())
    if isinstance(value, tuple):
        return f"[{', '.join(map(_as_toml, value))}]"
    if isinstance(value, Mapping):
        return "{}"
    return json.dumps(value)


def _aligned(rows: list[tuple[str, str, str]]) -> str:
    longest = max(len(key) for key, _, _ in rows)
    # One long value, such as a key set, must not push every origin out of sight.
    width = min(max(len(value) for _, value, _ in rows), 48)
    return "\n".join(f"{key:<{longest}} = {value:<{width}}  ({at})" for key, value, at in rows)
