# SPDX-License-Identifier: Apache-2.0
"""Compiling the Mosquitto plugin: its C sources are in this package, a C compiler does the rest.

The plugin carries its own declarations of Mosquitto's API, so no header package is needed, and one
file loads in Mosquitto 2.0.11 and in 2.1.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final

from keyfob.errors import ConfigError

__all__ = [
    "PLUGIN_FILE",
    "Mark",
    "build_plugin",
    "compile_plugin",
    "own_mark",
    "prebuilt_plugin",
    "provide_plugin",
    "read_mark",
]

PLUGIN_FILE: Final = "keyfob_mosquitto.so"

_MARK: Final = re.compile(rb"keyfob-mosquitto-plugin wire=(\d+) sources=([0-9a-f]{16})\0")
_WIRE: Final = re.compile(rb"WIRE_VERSION = (\d+)")

_FLAGS: Final = (
    "-fPIC",
    "-shared",
    "-std=c11",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-fvisibility=hidden",
    "-D_GNU_SOURCE",
)
_RELEASE: Final = (
    "-O2",
    "-fstack-protector-strong",
    "-U_FORTIFY_SOURCE",  # some distributions predefine it with another value
    "-D_FORTIFY_SOURCE=2",
    "-Wl,-z,relro,-z,now",
)
_SANITIZE: Final = (
    "-O1",
    "-g",
    "-fno-omit-frame-pointer",
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all",
)
_LIBRARIES: Final = ("-ldl",)
_TIMEOUT: Final = 300  # seconds; a slow single-board computer needs some ten


@dataclass(frozen=True, slots=True)
class Mark:
    """What a compiled plugin says of itself: the version of the guard link, and its sources."""

    wire: int
    sources: str


def own_mark() -> Mark:
    """The mark of the plugin that this Keyfob compiles.

    Raises:
        ConfigError: The sources are not there.
    """
    return _mark(_sources())


def read_mark(content: bytes) -> Mark | None:
    """Return what a plugin's file says it was built from; None: it is not this plugin."""
    found = _MARK.search(content)
    return Mark(int(found[1]), found[2].decode()) if found else None


def prebuilt_plugin() -> Path | None:
    """Return the plugin that this package came with, where it was built from its sources."""
    file = Path(__file__).with_name(PLUGIN_FILE)
    try:
        return file if read_mark(file.read_bytes()) == own_mark() else None
    except OSError:
        return None


def provide_plugin(target: Path) -> None:
    """Make ``target`` of what the package came with, or else compile it.

    Raises:
        ConfigError: As ``compile_plugin``.
    """
    prebuilt = prebuilt_plugin()
    if prebuilt is None:
        compile_plugin(target)
        return
    try:
        with tempfile.TemporaryDirectory(prefix=".keyfob-build-", dir=target.parent) as scratch:
            made = Path(scratch) / PLUGIN_FILE
            shutil.copyfile(prebuilt, made)
            made.chmod(0o755)
            made.replace(target)
    except OSError as error:
        raise ConfigError(f"cannot write the plugin to {target}: {error.strerror}") from error


def compile_plugin(
    target: Path,
    *,
    compiler: str | None = None,
    sanitize: bool = False,
    extra_flags: Sequence[str] = (),
) -> None:
    """Compile the plugin to ``target``, which is replaced at once or not at all.

    Args:
        target: The file to make; its directory must exist.
        compiler: The command to compile with; by default that of the environment's ``CC``, or
            ``cc``.
        sanitize: Build with AddressSanitizer and UBSan instead of optimised, for tests.
        extra_flags: More flags for the compiler.

    Raises:
        ConfigError: There is no compiler, it refused the sources, or the target cannot be written.
    """
    _compile(target, _sources(), _flags(sanitize, extra_flags), compiler)


def build_plugin(
    directory: Path,
    *,
    compiler: str | None = None,
    sanitize: bool = False,
    extra_flags: Sequence[str] = (),
) -> Path:
    """Return the plugin in ``directory``, compiled if it is not there yet.

    The name holds a hash of the sources, the flags and the machine, so a new version of Keyfob
    makes a new file and never changes one that a broker has loaded. A compiler is only needed
    where there is something to compile.

    Raises:
        ConfigError: As ``compile_plugin``.
    """
    sources, flags = _sources(), _flags(sanitize, extra_flags)
    target = directory / f"keyfob-mosquitto-{_fingerprint(sources, flags)}.so"
    if not target.is_file():
        if compiler is None and not sanitize and not extra_flags:
            provide_plugin(target)
        else:
            _compile(target, sources, flags, compiler)
    return target


def _flags(sanitize: bool, extra_flags: Sequence[str]) -> tuple[str, ...]:
    return (*_FLAGS, *(_SANITIZE if sanitize else _RELEASE), *extra_flags)


def _sources() -> dict[str, bytes]:
    folder = resources.files(__package__) / "plugin"
    if not folder.is_dir():
        raise ConfigError("this installation lacks the plugin's C sources; install keyfob again")
    return {
        entry.name: entry.read_bytes()
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name)
        if entry.name.endswith((".c", ".h"))
    }


def _mark(sources: Mapping[str, bytes]) -> Mark:
    digest = hashlib.sha256()
    for name, content in sources.items():
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    wire = _WIRE.search(sources["wire.h"])
    assert wire is not None  # noqa: S101 - a test compares it with the guard's
    return Mark(int(wire[1]), digest.hexdigest()[:16])


def _define(mark: Mark) -> str:
    return f'-DKEYFOB_MARK="keyfob-mosquitto-plugin wire={mark.wire} sources={mark.sources}"'


def _fingerprint(sources: Mapping[str, bytes], flags: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for part in (platform.machine(), *flags):
        digest.update(part.encode() + b"\0")
    for name, content in sources.items():
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:16]


def _compile(
    target: Path, sources: Mapping[str, bytes], flags: Sequence[str], compiler: str | None
) -> None:
    command = shlex.split(compiler or os.environ.get("CC") or "cc")
    units = [name for name in sources if name.endswith(".c")]
    try:
        # Beside the target, so that the last step is a rename within one file system.
        with tempfile.TemporaryDirectory(prefix=".keyfob-build-", dir=target.parent) as scratch:
            place = Path(scratch)
            for name, content in sources.items():
                (place / name).write_bytes(content)
            # Bare names only: no path of this machine gets into the plugin.
            made_of = _define(_mark(sources))
            _run([*command, *flags, made_of, "-o", "plugin.so", *units, *_LIBRARIES], place)
            made = place / "plugin.so"
            made.chmod(0o755)
            made.replace(target)
    except OSError as error:
        raise ConfigError(f"cannot write the plugin to {target}: {error.strerror}") from error


def _run(command: list[str], directory: Path) -> None:
    try:
        done = subprocess.run(
            command,
            cwd=directory,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT,
            check=False,
        )
    except FileNotFoundError:
        raise ConfigError(
            f"no C compiler: {command[0]} is not installed. On Debian: apt install gcc libc6-dev. "
            "Another one can be named in the environment variable CC"
        ) from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError(f"the C compiler {command[0]} did not run: {error}") from error
    if done.returncode != 0:
        raise ConfigError(
            f"{command[0]} could not compile the plugin (exit {done.returncode}); "
            "where headers of the C library are missing, on Debian: apt install libc6-dev\n"
            f"{done.stderr.strip()}"
        )
