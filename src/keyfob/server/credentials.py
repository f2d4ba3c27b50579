# SPDX-License-Identifier: Apache-2.0
"""Client secrets: made at random, shown once, kept as a versioned hash.

A secret has 256 random bits, so one SHA-256 protects it as well as any slow hash would: there is
nothing to guess. A secret that was made elsewhere is taken only where it may be as strong: a slow
hash for weak ones would let anybody keep the server busy by asking. The stored form says how it
was made, ``v1$sha256$<hex digest>``, so another form can follow without touching the old rows.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable
from typing import Final

from keyfob.errors import ConfigError

__all__ = [
    "INITIAL_TOKEN_PREFIX",
    "MIN_GIVEN_LENGTH",
    "ACCESS_TOKEN_PREFIX",
    "DEVICE_CODE_PREFIX",
    "REFRESH_TOKEN_PREFIX",
    "REGISTRATION_TOKEN_PREFIX",
    "SECRET_PREFIX",
    "SecretVerifier",
    "check_given_secret",
    "generate_initial_token",
    "generate_registration_token",
    "generate_secret",
    "generate_secrets",
    "hash_secret",
    "verify_secret",
]

# Recognisable, so that secret scanners find one that strayed into a repository or a log.
SECRET_PREFIX: Final = "kfs_"  # noqa: S105 - the part that is not secret
REFRESH_TOKEN_PREFIX: Final = "kfr_"  # noqa: S105 - the same
ACCESS_TOKEN_PREFIX: Final = "kfa_"  # noqa: S105 - the same, of opaque ones
INITIAL_TOKEN_PREFIX: Final = "kfi_"  # noqa: S105 - of those that let clients register
REGISTRATION_TOKEN_PREFIX: Final = "kfm_"  # noqa: S105 - of those that manage one registration
DEVICE_CODE_PREFIX: Final = "kfd_"
_FORM: Final = "v1$sha256$"
# No secret hashes to it: what unknown clients are compared with, so that they cost the same work.
_NOBODY: Final = _FORM + "0" * 64

MIN_GIVEN_LENGTH: Final = 32
_MAX_GIVEN_LENGTH: Final = 256
_GIVEN: Final = re.compile(rf"[!-~]{{{MIN_GIVEN_LENGTH},{_MAX_GIVEN_LENGTH}}}")
_MIN_DIFFERENT: Final = 8

SecretVerifier = Callable[[str, str | None], bool]
"""``(presented, stored) -> proven``; ``stored`` is None where there is nothing to compare with."""


def generate_secret() -> str:
    """Make a new secret of 256 random bits, safe in URLs, forms and HTTP Basic."""
    return SECRET_PREFIX + secrets.token_urlsafe(32)


def generate_secrets(count: int) -> list[str]:
    """Make many new secrets, of 258 random bits each, in a fraction of the time."""
    # Four characters of three bytes: each secret has 44 of its own, of which the last is left out.
    text = base64.urlsafe_b64encode(secrets.token_bytes(33 * count)).decode()
    return [SECRET_PREFIX + text[start : start + 43] for start in range(0, 44 * count, 44)]


def check_given_secret(secret: str) -> None:
    """Refuse a secret that was made elsewhere and could be guessed.

    Raises:
        ConfigError: It is too short or too plain; the message does not repeat it.
    """
    if secret.startswith(_FORM.partition("$")[0] + "$"):
        raise ConfigError("the secret is a hash; only secrets themselves are taken")
    if not _GIVEN.fullmatch(secret):
        raise ConfigError(
            f"a given secret has {MIN_GIVEN_LENGTH} to {_MAX_GIVEN_LENGTH} characters of printable "
            "ASCII without spaces; leave it out, and a strong one is made"
        )
    # Sixteen hexadecimal digits at random, twice over, have 14 different ones on average; seven or
    # fewer once in many million. What is repeated from its start is as weak as its first part.
    if len(set(secret)) < _MIN_DIFFERENT or (secret + secret).find(secret, 1) < len(secret):
        raise ConfigError("the given secret repeats itself; leave it out, and a strong one is made")


def generate_initial_token() -> str:
    """Make an initial access token (RFC 7591 section 3), as strong as a secret."""
    return INITIAL_TOKEN_PREFIX + secrets.token_urlsafe(32)


def generate_registration_token() -> str:
    """Make a registration access token (RFC 7592 section 3), as strong as a secret."""
    return REGISTRATION_TOKEN_PREFIX + secrets.token_urlsafe(32)


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
