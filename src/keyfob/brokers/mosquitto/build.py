# SPDX-License-Identifier: Apache-2.0
"""Compiling the Mosquitto plugin: its C sources are in this package, a C compiler does the rest.

The plugin carries its own declarations of Mosquitto's API, so no header package is needed, and one
file loads in Mosquitto 2.0.11 and in 2.1.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Final

from keyfob.errors import ConfigError

__all__ = ["build_plugin", "compile_plugin"]

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
            _run([*command, *flags, "-o", "plugin.so", *units, *_LIBRARIES], place)
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
