# SPDX-License-Identifier: Apache-2.0
"""keyfob.toml, parsed once into frozen settings.

An unknown key is an error that names the nearest valid one, every error names the file and the
key, relative paths are relative to the file, and every value knows where it came from
(``Settings.origin``). Secrets are only ever references: ``file:PATH`` or ``env:NAME``.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, get_args, get_type_hints

import msgspec

from keyfob.errors import ConfigError

__all__ = [
    "FILE_NAME",
    "GuardSection",
    "IssuerSection",
    "MosquittoSection",
    "PolicySection",
    "SecretReference",
    "ServerSection",
    "Settings",
    "load",
]

FILE_NAME: Final = "keyfob.toml"
_S = TypeVar("_S", bound=msgspec.Struct)
Origin = Literal["file", "default"]


class ServerSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[server]``: the authorization server.

    ``issuer`` is the URL that tokens carry as ``iss`` and that clients discover the server by;
    ``audience`` is what they carry as ``aud``; ``token_lifetime`` is in seconds.
    """

    issuer: str = "https://localhost:8443"
    host: str = "127.0.0.1"
    port: int = 8443
    audience: str = "mqtt"
    token_lifetime: int = 3600
    database: Path = Path("server.db")
    certificate: Path = Path("server.pem")
    private_key: Path = Path("server.key")


class GuardSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[guard]``: the resource server beside the broker.

    ``token_fields`` are the CONNECT fields that may carry a token. ``socket_users`` are users,
    beside our own and root, that the broker may run as, and ``socket_group`` is a group that may
    reach the socket: a broker that runs as another user needs both. ``ready_timeout`` is how many
    seconds the guard waits for an issuer's keys and revocations before it opens its socket without
    them.
    """

    database: Path = Path("guard.db")
    socket: Path = Path("run/guard.sock")
    audit: Path = Path("log/audit.jsonl")
    socket_users: tuple[str, ...] = ()
    socket_group: str = ""
    token_fields: tuple[Literal["password", "username"], ...] = ("password", "username")
    empty_client_id: Literal["accept", "refuse"] = "accept"
    ready_timeout: float = 10.0


class PolicySection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[[issuer.policy]]``: what a scope, or the value of a claim, allows.

    Exactly one of ``scope`` and ``claim`` (with ``value``) is given. Filters may hold the
    placeholders ``{device}``, ``{sub}``, ``{client_id}`` and ``{claim:NAME}``.
    """

    scope: str = ""
    claim: str = ""
    value: str = ""
    publish: tuple[str, ...] = ()
    subscribe: tuple[str, ...] = ()


class IssuerSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[[issuer]]``: an authorization server whose tokens are trusted.

    Its keys come from ``jwks_file``, or ``jwks_uri``, or else by discovery from ``issuer``
    (RFC 8414). ``leeway`` in seconds applies to ``nbf`` and ``iat``, ``expiry_leeway`` to ``exp``.
    ``revocation_client`` and ``revocation_secret`` are what the guard reads the issuer's
    revocations with; empty where the issuer has no such feed.
    """

    name: str
    issuer: str
    audience: tuple[str, ...]
    algorithms: tuple[str, ...] = ("ES256",)
    required_scopes: tuple[str, ...] = ("mqtt.connect",)
    device_claim: str = "sub"
    types: tuple[str, ...] = ("at+jwt",)
    leeway: int = 60
    expiry_leeway: int = 0
    max_lifetime: int = 0
    client_id_template: str = "{device}"
    jwks_uri: str = ""
    jwks_file: Path | None = None
    ca: Path | None = None
    revocation_client: str = ""
    revocation_secret: str = ""
    native_scopes: bool = True
    policy: tuple[PolicySection, ...] = ()


class MosquittoSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[mosquitto]``: the broker that ``keyfob up`` manages.

    ``plain_port`` opens a listener without TLS on the loopback address (0: none).
    ``save_every_change`` writes the broker's state to disk after each change, so that even a
    killed broker owes nothing; it wears flash storage, so the default saves every
    ``autosave_interval`` seconds and at every orderly stop.
    """

    program: str = "mosquitto"
    host: str = "127.0.0.1"
    port: int = 8883
    plain_port: int = 0
    directory: Path = Path("mosquitto")
    save_every_change: bool = False
    autosave_interval: int = 60
    guard_timeout_ms: int = 200


class _Document(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    server: ServerSection = ServerSection()
    guard: GuardSection = GuardSection()
    issuer: tuple[IssuerSection, ...] = ()
    mosquitto: MosquittoSection = MosquittoSection()


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The effective configuration.

    Paths are absolute. ``origins`` maps a dotted key such as ``server.port`` or
    ``issuer.0.audience`` to ``file`` for every value that the file gave; the rest are defaults.
    """

    path: Path
    server: ServerSection
    guard: GuardSection
    issuers: tuple[IssuerSection, ...]
    mosquitto: MosquittoSection
    origins: Mapping[str, Origin]

    def origin(self, key: str) -> Origin:
        """Say where the value of a dotted key came from."""
        return self.origins.get(key, "default")

    @property
    def directory(self) -> Path:
        """The folder that relative paths in the file are relative to."""
        return self.path.parent


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
                "a secret is written as a reference, file:PATH or env:NAME, never as itself"
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
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigError(f"cannot read the secret {self.kind}:{self.place}") from error
        if not secret:
            raise ConfigError(f"the secret {self.kind}:{self.place} is empty or not set")
        return secret


def load(path: Path) -> Settings:
    """Read and check a configuration file.

    Args:
        path: The file, usually ``DIR/keyfob.toml``.

    Raises:
        ConfigError: It cannot be read, is not TOML, holds an unknown key or a wrong value. The
            message names file and key and says what to write.
    """
    path = path.absolute()
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file (`keyfob init` makes one)") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    except (ValueError, RecursionError) as error:
        # Beside its own error (a ValueError), tomllib lets Python's limits through: integers of
        # thousands of digits, values nested a thousand deep.
        raise ConfigError(f"{path}: not valid TOML: {error}") from error
    for key, known in _unknown_keys(data, _Document):
        near = difflib.get_close_matches(key.rsplit(".", 1)[-1], known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(sorted(known))}"
        raise ConfigError(f"{path}: unknown key {key!r}; {hint}")
    try:
        document = msgspec.convert(data, _Document, dec_hook=_path_from_text)
    except msgspec.ValidationError as error:
        message, _, where = str(error).partition(" - at ")
        key = where.strip("`").removeprefix("$.") or "the file"
        raise ConfigError(f"{path}: {key}: {message}") from error
    settings = Settings(
        path=path,
        server=_with_paths(document.server, path.parent),
        guard=_with_paths(document.guard, path.parent),
        issuers=tuple(_with_paths(issuer, path.parent) for issuer in document.issuer),
        mosquitto=_with_paths(document.mosquitto, path.parent),
        origins=dict.fromkeys(_leaf_keys(data), "file"),
    )
    _check(settings)
    return settings


def _path_from_text(kind: type, value: object) -> object:
    if kind is Path and isinstance(value, str) and value:
        return Path(value)
    raise ValueError("Expected a path")


def _unknown_keys(
    data: Mapping[str, Any], struct: type[msgspec.Struct], prefix: str = ""
) -> Iterator[tuple[str, tuple[str, ...]]]:
    hints = get_type_hints(struct)
    for key, value in data.items():
        if key not in hints:
            yield prefix + key, struct.__struct_fields__
            continue
        inner = [
            kind
            for kind in (hints[key], *get_args(hints[key]))
            if isinstance(kind, type) and issubclass(kind, msgspec.Struct)
        ]
        if not inner:
            continue
        rows = value if isinstance(value, list) else [value]
        for number, row in enumerate(rows):
            if isinstance(row, dict):
                step = f"{key}.{number}." if isinstance(value, list) else f"{key}."
                yield from _unknown_keys(row, inner[0], prefix + step)


def _leaf_keys(data: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in data.items():
        if isinstance(value, dict):
            yield from _leaf_keys(value, f"{prefix}{key}.")
        elif isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
            for number, row in enumerate(value):
                yield from _leaf_keys(row, f"{prefix}{key}.{number}.")
        else:
            yield prefix + key


def _with_paths(section: _S, directory: Path) -> _S:
    changes = {
        name: directory / value
        for name in section.__struct_fields__
        if isinstance(value := getattr(section, name), Path)
    }
    return msgspec.structs.replace(section, **changes)


_BOUNDS: Final = (
    ("server", "port", 1, 65_535),
    ("server", "token_lifetime", 1, 86_400),
    ("guard", "ready_timeout", 0, 3_600),
    ("mosquitto", "port", 1, 65_535),
    ("mosquitto", "plain_port", 0, 65_535),
    ("mosquitto", "autosave_interval", 1, 86_400),
    ("mosquitto", "guard_timeout_ms", 1, 60_000),
)


def _check(settings: Settings) -> None:
    for section, name, lowest, highest in _BOUNDS:
        # Written so that a NaN is outside.
        if not lowest <= getattr(getattr(settings, section), name) <= highest:
            raise _wrong(settings, f"{section}.{name}", f"between {lowest} and {highest}")
    for section in ("server", "mosquitto"):
        if not getattr(settings, section).host:
            raise _wrong(settings, f"{section}.host", "an address, or 0.0.0.0 for all")
    if not settings.guard.token_fields:
        raise _wrong(settings, "guard.token_fields", 'write ["password", "username"] or one')
    for kind in ("name", "issuer"):
        values = [getattr(issuer, kind) for issuer in settings.issuers]
        twice = sorted({value for value in values if values.count(value) > 1})
        if twice:
            raise _wrong(settings, f"issuer.{kind}", f"{twice[0]!r} stands twice")
    for number, issuer in enumerate(settings.issuers):
        _check_issuer(settings, f"issuer.{number}", issuer)


def _check_issuer(settings: Settings, key: str, issuer: IssuerSection) -> None:
    if not issuer.audience or "" in issuer.audience:
        raise _wrong(settings, f"{key}.audience", "write at least one audience of the tokens")
    if not issuer.name or ":" in issuer.name:
        raise _wrong(settings, f"{key}.name", "a short name without ':' (shown before the subject)")
    if bool(issuer.revocation_client) != bool(issuer.revocation_secret):
        raise _wrong(settings, f"{key}.revocation_client", "goes with revocation_secret")
    if issuer.revocation_secret:
        SecretReference.parse(issuer.revocation_secret, settings.directory)
    for row in issuer.policy:
        if bool(row.scope) == bool(row.claim) or (row.claim and not row.value):
            raise _wrong(settings, f"{key}.policy", "give either scope, or claim and value")


def _wrong(settings: Settings, key: str, message: str) -> ConfigError:
    return ConfigError(f"{settings.path}: {key}: {message}")
