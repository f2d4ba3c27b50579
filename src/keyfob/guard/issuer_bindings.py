# SPDX-License-Identifier: Apache-2.0
"""A trusted issuer, and all that the guard needs of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from keyfob.authorization.policy import Policy
from keyfob.guard.introspection import Introspector
from keyfob.guard.key_sources import KeySource
from keyfob.guard.reasking import Reasking
from keyfob.guard.revocation_feed import RevocationFeed
from keyfob.tokens.issuers import TrustedIssuer
from keyfob.tokens.keys import KeySet

__all__ = ["CurrentKeys", "IssuerBinding"]


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerBinding:
    """A trusted issuer and what the guard needs of it.

    Attributes:
        trusted: By what rules its tokens are verified.
        keys: Where its keys come from.
        policy: What its tokens allow.
        revocations: Where its revocations come from, if it publishes them.
        introspector: What asks it about tokens, if ``trusted`` says that it is asked.
        opaque_prefix: How its opaque tokens begin; None: it has none.
        reasking: What asks it again about live sessions.
    """

    trusted: TrustedIssuer
    keys: KeySource
    policy: Policy
    revocations: RevocationFeed | None = None
    introspector: Introspector | None = None
    opaque_prefix: str | None = None
    reasking: Reasking[tuple[str, str]] | None = None


class CurrentKeys(Mapping[str, KeySet]):
    """The issuers' key sets as they are now."""

    def __init__(self, issuers: Mapping[str, IssuerBinding]) -> None:
        self._sources = {iss: binding.keys for iss, binding in issuers.items()}

    def now(self, issuer: str) -> KeySet | None:
        """Return the keys of a trusted issuer, if there are any."""
        return self._sources[issuer].keys

    def __getitem__(self, issuer: str) -> KeySet:
        keys = self._sources[issuer].keys
        if keys is None:
            raise KeyError(issuer)
        return keys

    def __iter__(self) -> Iterator[str]:
        return (iss for iss, source in self._sources.items() if source.keys is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)
