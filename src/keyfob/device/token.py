# SPDX-License-Identifier: Apache-2.0
"""Token: what an authorization server gave a device, and since when (RFC 6749 section 5.1)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from keyfob.device.clock import Moment

__all__ = ["LONGEST_TOKEN", "Token", "is_token_text"]

LONGEST_TOKEN: Final = 65_535
"""Bytes that fit into a field of a CONNECT (MQTT 5.0 section 1.5.4)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """An access token and what belongs to it; its repr shows no secret.

    Attributes:
        access_token: What is shown to the broker.
        token_type: ``Bearer``, or, where it is bound to a key, ``DPoP`` (RFC 9449) or ``PoP``
            (RFC 9200).
        scope: What it allows, as the server says; empty: what was asked for.
        lifetime: Seconds that it lives, from ``obtained``.
        obtained: When it was asked for: a little before its life began.
        refresh_token: What the next one is asked for with, if the server gave any.
        origin: A digest of who asked whom for what; one that was kept is of no use to others.
        proof_key: The symmetric key that came with it and that it is bound to (RFC 9201 section
            3.2), if the server gave any.
    """

    access_token: str = field(repr=False)
    token_type: str
    scope: str
    lifetime: float
    obtained: Moment
    refresh_token: str | None = field(default=None, repr=False)
    origin: str = ""
    proof_key: bytes | None = field(default=None, repr=False)

    @property
    def expires_at(self) -> float:
        """When its life ends, in Unix seconds, by this machine's clock at the time."""
        return self.obtained.wall + self.lifetime


def is_token_text(text: str) -> bool:
    """Tell whether it is what RFC 6749 appendix A calls 1*VSCHAR, and fits into a CONNECT."""
    return 0 < len(text) <= LONGEST_TOKEN and all(" " <= character <= "~" for character in text)
