# SPDX-License-Identifier: Apache-2.0
"""What a worker decides by: the file as it is now, but for ``[guard]`` as its lead read it.

A change of ``[guard]`` counts from the guard's next start. A worker that is started again before
that must have the same file of sessions and revocations, the same sockets and the same number of
workers beside it as the others, or it would decide about their clients and miss revocations.
"""

from __future__ import annotations

from dataclasses import replace

import msgspec

from keyfob.config import GuardSection, Settings, load
from keyfob.errors import ConfigError

__all__ = ["read_again", "spelled"]


def spelled(settings: Settings) -> str:
    """Write the ``[guard]`` section down, for a command line: it holds no secret."""
    return msgspec.json.encode(settings.guard, enc_hook=str).decode()


def read_again(settings: Settings, guard: str) -> Settings:
    """Read the configuration file again.

    Args:
        settings: What was read of it earlier.
        guard: The lead's ``[guard]`` section, as ``spelled`` has it.

    Raises:
        ConfigError: The file is wrong, or the section is none.
    """
    try:
        section = msgspec.json.decode(guard, type=GuardSection, dec_hook=_made)
    except msgspec.MsgspecError as error:
        raise ConfigError(f"this is for a lead to start: {error}") from error
    return replace(load(settings.path), guard=section)


def _made(kind: type, value: object) -> object:
    made: object = kind(value)
    return made
