# SPDX-License-Identifier: Apache-2.0
"""Passwords of people, kept as scrypt (RFC 7914).

A password that somebody chose can be guessed, so each guess has to be dear: 32 MiB and some tenths
of a second. The stored form,
``v1$scrypt$<log2 N>$<r>$<p>$<salt>$<key>``, says what it was made with, so stronger numbers can
follow without touching the old rows.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import re
import secrets
import unicodedata
from collections import Counter, OrderedDict
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from keyfob.errors import ConfigError
from keyfob.server.oauth_errors import OAuthError

__all__ = [
    "MAX_PASSWORD_LENGTH",
    "MIN_PASSWORD_LENGTH",
    "PasswordChecker",
    "check_password",
    "generate_password",
    "hash_password",
    "verify_password",
]

MIN_PASSWORD_LENGTH: Final = 12
MAX_PASSWORD_LENGTH: Final = 1_024
# What OWASP's Password Storage Cheat Sheet recommends for 32 MiB.
_LOG_N: Final = 15
_R: Final = 8
_P: Final = 3
_SALT_BYTES: Final = 16
_KEY_BYTES: Final = 32
_MAX_MEMORY: Final = 128 * 1_024 * 1_024
# A row of our own can be trusted; one that was damaged must not take all memory and time.
_STORED: Final = re.compile(
    r"v1\$scrypt\$(1[0-7])\$([1-8])\$([1-8])\$([A-Za-z0-9+/=]{24})\$([A-Za-z0-9+/=]{44})", re.ASCII
)
# More waiting sign-ins than this, and the next ones are told to come back. One network has a few
# places: whoever fills them keeps nobody out who is elsewhere. Strangers of a few networks fill
# all: a network that somebody has signed in from lately has its own places beside them.
_MAX_WAITING: Final = 16
_MAX_WAITING_OF_NETWORK: Final = 4
_MAX_FAMILIAR: Final = 256
_THREADS: Final = 1


def check_password(password: str) -> None:
    """Refuse a password that is too short or too long.

    Raises:
        ConfigError: It is not allowed; the message says what is.
    """
    if not MIN_PASSWORD_LENGTH <= len(password) <= MAX_PASSWORD_LENGTH:
        raise ConfigError(
            f"a password has between {MIN_PASSWORD_LENGTH} and {MAX_PASSWORD_LENGTH} characters"
        )
    if not password.isprintable():
        raise ConfigError("a password has no control characters")
    if len(set(password)) < 5:
        raise ConfigError("a password has at least five different characters")


def generate_password() -> str:
    """Make a password of 128 random bits, in groups that one can type."""
    text = base64.b32encode(secrets.token_bytes(16)).decode().rstrip("=").lower()
    return "-".join(text[place : place + 5] for place in range(0, len(text), 5))


def hash_password(password: str) -> str:
    """Return the form in which a password is stored."""
    salt = secrets.token_bytes(_SALT_BYTES)
    key = _scrypt(password, salt, _LOG_N, _R, _P)
    return f"v1$scrypt${_LOG_N}${_R}${_P}${_text(salt)}${_text(key)}"


def verify_password(presented: str, stored: str | None) -> bool:
    """Say whether a presented password is the stored one; the work is the same in each case.

    Args:
        presented: What was typed; may be empty.
        stored: The result of ``hash_password``, or None for somebody unknown.
    """
    match = _STORED.fullmatch(stored or _NOBODY)
    if match is None:
        return False
    log_n, r, p = int(match[1]), int(match[2]), int(match[3])
    try:
        salt, key = base64.b64decode(match[4]), base64.b64decode(match[5])
    except binascii.Error:
        return False
    proven = hmac.compare_digest(_scrypt(presented[:MAX_PASSWORD_LENGTH], salt, log_n, r, p), key)
    # scrypt begins with HMAC, to which a key and the same one with zeros after it are equal.
    typed = "\0" not in presented and len(presented) <= MAX_PASSWORD_LENGTH
    return proven and typed and stored is not None


class PasswordChecker:
    """Verifies passwords in a thread: it takes as long as hundreds of requests for tokens.

    One at a time, so that however many ask, devices keep the rest of the machine.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(_THREADS, thread_name_prefix="keyfob-password")
        self._waiting: Counter[str] = Counter()
        self._familiar: OrderedDict[str, None] = OrderedDict()

    async def verify(self, presented: str, stored: str | None, *, network: str) -> bool:
        """Say whether a presented password is the stored one; see ``verify_password``.

        Args:
            presented: What was typed.
            stored: What it is compared with.
            network: Where it comes from.

        Raises:
            OAuthError: ``temporarily_unavailable``: too many are waiting for that.
        """
        waiting = self._waiting
        full = waiting.total() >= _MAX_WAITING and network not in self._familiar
        if full or waiting[network] >= _MAX_WAITING_OF_NETWORK:
            raise OAuthError(
                "temporarily_unavailable",
                "too many people sign in at once; try again in a moment",
                reason="sign_in_busy",
            )
        waiting[network] += 1
        try:
            loop = asyncio.get_running_loop()
            right = await loop.run_in_executor(self._thread, verify_password, presented, stored)
        finally:
            waiting[network] -= 1
            if not waiting[network]:
                del waiting[network]
        if right:
            self._familiar[network] = None
            self._familiar.move_to_end(network)
            if len(self._familiar) > _MAX_FAMILIAR:
                self._familiar.popitem(last=False)
        return right

    def close(self) -> None:
        """Finish what was begun."""
        self._thread.shutdown(wait=True, cancel_futures=True)


def _scrypt(password: str, salt: bytes, log_n: int, r: int, p: int) -> bytes:
    # The same letters whatever the keyboard composes them of (NIST SP 800-63B section 5.1.1.2).
    data = unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")
    return hashlib.scrypt(
        data, salt=salt, n=1 << log_n, r=r, p=p, maxmem=_MAX_MEMORY, dklen=_KEY_BYTES
    )


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


# No password that anybody knows has this key: what unknown people are compared with.
_NOBODY: Final = f"v1$scrypt${_LOG_N}${_R}${_P}${_text(bytes(_SALT_BYTES))}${_text(bytes(32))}"
