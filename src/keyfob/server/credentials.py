# SPDX-License-Identifier: Apache-2.0
"""Client secrets: made at random, shown once, kept as a versioned hash.

A secret has 256 random bits, so one SHA-256 protects it as well as any slow hash would: there is
nothing to guess. The stored form says how it was made, ``v1$sha256$<hex digest>``, so another form
can follow without touching the old rows.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable
from typing import Final

__all__ = [
    "ACCESS_TOKEN_PREFIX",
    "REFRESH_TOKEN_PREFIX",
    "SECRET_PREFIX",
    "SecretVerifier",
    "generate_secret",
    "hash_secret",
    "verify_secret",
]

# Recognisable, so that secret scanners find one that strayed into a repository or a log.
SECRET_PREFIX: Final = "kfs_"  # noqa: S105 - the part that is not secret
REFRESH_TOKEN_PREFIX: Final = "kfr_"  # noqa: S105 - the same
ACCESS_TOKEN_PREFIX: Final = "kfa_"  # noqa: S105 - the same, of opaque ones
_FORM: Final = "v1$sha256$"
# No secret hashes to it: what unknown clients are compared with, so that they cost the same work.
_NOBODY: Final = _FORM + "0" * 64

SecretVerifier = Callable[[str, str | None], bool]
"""``(presented, stored) -> proven``; ``stored`` is None where there is nothing to compare with."""


def generate_secret() -> str:
    """Make a new secret of 256 random bits, safe in URLs, forms and HTTP Basic."""
    return SECRET_PREFIX + secrets.token_urlsafe(32)


def hash_secret(secret: str) -> str:
    """Return the form in which a secret is stored."""
    return _FORM + hashlib.sha256(secret.encode()).hexdigest()


def verify_secret(presented: str, stored: str | None) -> bool:
    """Say whether a presented secret is the stored one.

    Every call computes one hash and one comparison of equal length in constant time, whether or
    not there is a stored secret: the time tells nobody which clients exist.

    Args:
        presented: What the client sent; may be empty.
        stored: The result of ``hash_secret``, or None for an unknown client.
    """
    proven = hmac.compare_digest(hash_secret(presented), stored or _NOBODY)
    return proven and stored is not None
