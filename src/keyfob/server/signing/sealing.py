# SPDX-License-Identifier: Apache-2.0
"""Private keys at rest: encrypted with a key that is not in the database.

What is stored is sealed (``tokens.sealing``) and begins with ``kfk1:``; it is about the key's name
and algorithm.
"""

from __future__ import annotations

import os
from typing import Final

from keyfob.errors import ConfigError
from keyfob.tokens.sealing import KEY_BYTES, NONCE_BYTES, Sealer, UnsealableError

__all__ = ["KeySealer", "is_sealed"]

_VERSION: Final = b"kfk1:"
_TELL: Final = "`openssl rand -base64 32` makes one"


class KeySealer:
    """Encrypts and decrypts private keys; shows nothing of its own key.

    Args:
        text: The key-encryption key: 32 bytes in base64 or as 64 hexadecimal digits. A passphrase
            is refused: it could be guessed by whoever has the database.

    Raises:
        ConfigError: It is not that. The message does not repeat it.
    """

    __slots__ = ("_sealer",)

    def __init__(self, text: str) -> None:
        try:
            self._sealer = Sealer(text, version=_VERSION)
        except ValueError:
            raise ConfigError(
                f"the key that signing keys are encrypted with is {KEY_BYTES} random bytes in"
                f" base64 (or 64 hexadecimal digits): {_TELL}",
                key="key_encryption",
            ) from None

    def seal(self, plain: bytes, *, kid: str, algorithm: str) -> bytes:
        """Encrypt a private key."""
        about, nonce = _about(kid, algorithm), os.urandom(NONCE_BYTES)
        return self._sealer.seal(plain, about=about, nonce=nonce)

    def open(self, sealed: bytes, *, kid: str, algorithm: str) -> bytes:
        """Decrypt a private key.

        Raises:
            ConfigError: It was encrypted with another key, or it was tampered with.
        """
        try:
            return self._sealer.open(sealed, about=_about(kid, algorithm))
        except UnsealableError:
            raise ConfigError(
                f"the signing key {kid} cannot be decrypted: server.key_encryption is not what it"
                " was encrypted with, or the database was changed",
                key="key_encryption",
            ) from None


def is_sealed(stored: bytes) -> bool:
    """Say whether a stored private key is encrypted; a PEM never begins so."""
    return stored.startswith(_VERSION)


def _about(kid: str, algorithm: str) -> bytes:
    return f"{algorithm}:{kid}".encode()
