# SPDX-License-Identifier: Apache-2.0
"""Which OpenID issuer says who an operator is."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from keyfob.config.urls import url_fault
from keyfob.errors import ConfigError

__all__ = ["OpenIdSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenIdSettings:
    """The issuer, and what this server is there.

    Args:
        issuer: Its identifier, from which it is discovered.
        client_id: Of this server.
        client_secret: The same.
        claim: The claim of an ID token that says which operator it is.
        ca: A file of CA certificates that alone are trusted; None: the system's.

    Raises:
        ConfigError: A value is not what it has to be.
    """

    issuer: str
    client_id: str
    client_secret: str = field(repr=False)
    claim: str = "sub"
    ca: Path | None = None

    def __post_init__(self) -> None:
        fault = url_fault(self.issuer)
        if fault is not None:
            raise ConfigError(fault, key="issuer")
        for key in ("client_id", "client_secret", "claim"):
            if not getattr(self, key):
                raise ConfigError("is empty; an issuer is asked with it", key=key)

    @property
    def name(self) -> str:
        """What operators know the issuer by: its host."""
        return urlsplit(self.issuer).hostname or self.issuer
