# SPDX-License-Identifier: Apache-2.0
"""How large a fleet may be that is run for real, and whom it may load.

Thousands of clients are an attack where nobody expects them. So they ask this machine alone, unless
somebody says otherwise; they are no more than one machine can be honest about; and they end.
"""

from __future__ import annotations

import resource
from typing import Final

from keyfob.errors import ConfigError
from keyfob.loopback import is_loopback

__all__ = ["LONGEST", "MOST_DEVICES", "need_descriptors", "refuse_far"]

MOST_DEVICES: Final = 5_000
"""Beyond that one machine measures itself."""

LONGEST: Final = 3_600
"""Seconds."""

_EACH: Final = 3
"""A device's socket, and the pair that paho wakes itself up by."""

_REST: Final = 1_000
"""Renewals under way, each with an event loop of its own, and what a process has anyway."""


def refuse_far(host: str, what: str, *, allowed: bool) -> None:
    """Refuse to load another machine.

    Args:
        host: Its name, as ``urlsplit`` gives it.
        what: What it is, for the message.
        allowed: Whether somebody has said that it may be loaded.

    Raises:
        ConfigError: It is not this machine, and nobody has.
    """
    if not allowed and not is_loopback(host):
        said = f"{what} is {host}, another machine: a fleet is a load, and may look like an attack"
        raise ConfigError(f"{said}; --allow-remote says that its owner expects it")


def need_descriptors(devices: int, processes: int) -> None:
    """See to it that this process, and those that it starts, may open what a fleet needs.

    Raises:
        ConfigError: The machine does not allow it.
    """
    needed = max(_EACH * -(-devices // processes), devices) + _REST
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if resource.RLIM_INFINITY in {soft, hard} and soft == resource.RLIM_INFINITY:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        said = f"{devices:,} devices need {needed:,} file descriptors, and {hard:,} are allowed"
        more = "`ulimit -Hn` as root, LimitNOFILE= of a unit, or nofile in limits.conf raises that"
        raise ConfigError(f"{said}: take fewer, or more --processes; {more}")
    if soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
