# SPDX-License-Identifier: Apache-2.0
"""Whose way to which broker is looked at, and how far that may go."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from keyfob.cli.broker_target import BrokerTarget
from keyfob.cli.doctor.issuer_checks import ClientKind
from keyfob.device import TokenSource

__all__ = ["BrokerWish", "Subject"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Whose way is looked at.

    Attributes:
        client: Which client asks which server.
        ca: Certificates that alone are trusted there; None: the system's.
        certificate: The client's own; None: it has none.
        source: Where its tokens come from; None: there can be none, and ``why`` says why.
        why: Why there is no source.
        names: What the device is called, as far as that is known without a token.
    """

    client: ClientKind
    ca: Path | None
    certificate: Path | None = None
    source: TokenSource | None = None
    why: str = ""
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerWish:
    """Which broker is tried, and how far that may go.

    Attributes:
        target: Where it is, and what the device shows it.
        carry: How this device carries its token; empty: that is not said.
        identifier: A client identifier that no device runs under; empty: the broker assigns one.
        take_over: Whether the device's own may be used.
        methods: More authentication methods to try.
        publish: A topic name to publish to; empty: none.
        patience: Seconds to wait for each answer.
    """

    target: BrokerTarget
    carry: str = ""
    identifier: str = ""
    take_over: bool = False
    methods: tuple[str, ...] = ()
    publish: str = ""
    patience: float = 10.0
