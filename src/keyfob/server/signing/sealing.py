# SPDX-License-Identifier: Apache-2.0
"""Private keys at rest: encrypted with a key that is not in the database.

AES-256-GCM (NIST SP 800-38D). What is stored is ``kfk1:``, a random nonce of 96 bits, and the
ciphertext with its tag. The key's name and algorithm are associated data, so that no stored key
can be put in another's place. A database holds a handful of keys: random nonces never come near
their bound of 2^32.
"""

from __future__ import annotations

import base64
import binascii
import os
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from keyfob.errors import ConfigError

__all__ = ["KeySealer", "is_sealed"]

_VERSION: Final = b"kfk1:"
_NONCE_BYTES: Final = 12
_KEY_BYTES: Final = 32
_TELL: Final = "`openssl rand -base64 32` makes one"


class KeySealer:
    """Encrypts and decrypts private keys; shows nothing of its own key.

    Args:
        text: The key-encryption key: 32 bytes in base64 or as 64 hexadecimal digits. A passphrase
            is refused: it could be guessed by whoever has the database.

    Raises:
        ConfigError: It is not that. The message does not repeat it.
    """

    __slots__ = ("_cipher",)

    def __init__(self, text: str) -> None:
        key = _decoded(text.strip())
        if len(key) != _KEY_BYTES:
            raise ConfigError(
                f"the key that signing keys are encrypted with is {_KEY_BYTES} random bytes in"
                f" base64 (or 64 hexadecimal digits): {_TELL}",
                key="key_encryption",
            )
        self._cipher = AESGCM(key)

    def seal(self, plain: bytes, *, kid: str, algorithm: str) -> bytes:
        """Encrypt a private key."""
        nonce = os.urandom(_NONCE_BYTES)
        return _VERSION + nonce + self._cipher.encrypt(nonce, plain, _about(kid, algorithm))

    def open(self, sealed: bytes, *, kid: str, algorithm: str) -> bytes:
        """Decrypt a private key.

        Raises:
            ConfigError: It was encrypted with another key, or it was tampered with.
        """
        body = sealed[len(_VERSION) :]
        nonce, ciphertext = body[:_NONCE_BYTES], body[_NONCE_BYTES:]
        try:
            return self._cipher.decrypt(nonce, ciphertext, _about(kid, algorithm))
        except (InvalidTag, ValueError):  # ValueError: cut off within the nonce
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


def _decoded(text: str) -> bytes:
    try:
        if len(text) == 2 * _KEY_BYTES:
            return bytes.fromhex(text)
        return base64.b64decode(text, altchars=b"-_" if set(text) & set("-_") else None,
                                validate=True)  # fmt: skip
    except (ValueError, binascii.Error):
        return b""
