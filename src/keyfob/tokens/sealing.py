# SPDX-License-Identifier: Apache-2.0
"""Secrets at rest, encrypted with a key that lies elsewhere: AES-256-GCM (NIST SP 800-38D).

What is sealed is a version, a nonce of 96 bits, and the ciphertext with its tag. What it is about
is associated data, so that no sealed text can be put in another's place. The nonce is drawn by the
caller, at random: a key seals far fewer texts than the 2^32 that this bears.
"""

from __future__ import annotations

import base64
import binascii
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

__all__ = ["KEY_BYTES", "NONCE_BYTES", "Sealer", "UnsealableError"]

NONCE_BYTES: Final = 12
KEY_BYTES: Final = 32


class UnsealableError(ValueError):
    """It was sealed with another key, about something else, or changed since."""


class Sealer:
    """Encrypts and decrypts; shows nothing of its own key.

    Args:
        text: The key: 32 bytes in base64 or as 64 hexadecimal digits. No passphrase: whoever has
            what is sealed could guess it.
        version: What everything sealed begins with.

    Raises:
        ValueError: It is no such key. The message does not repeat it.
    """

    __slots__ = ("_cipher", "_version")

    def __init__(self, text: str, *, version: bytes) -> None:
        key = _decoded(text.strip())
        if len(key) != KEY_BYTES:
            raise ValueError(f"not {KEY_BYTES} bytes in base64, nor 64 hexadecimal digits")
        self._cipher = AESGCM(key)
        self._version = version

    def seal(self, plain: bytes, *, about: bytes, nonce: bytes) -> bytes:
        """Encrypt a text.

        Args:
            plain: The text.
            about: What it is about; it has to be known again to open it.
            nonce: 12 random bytes.
        """
        return self._version + nonce + self._cipher.encrypt(nonce, plain, about)

    def open(self, sealed: bytes, *, about: bytes) -> bytes:
        """Decrypt a text.

        Raises:
            UnsealableError: It is not what was sealed.
        """
        body = sealed.removeprefix(self._version)
        if body == sealed:
            raise UnsealableError("not sealed, or by another version")
        try:
            return self._cipher.decrypt(body[:NONCE_BYTES], body[NONCE_BYTES:], about)
        except (InvalidTag, ValueError):  # ValueError: cut off within the nonce
            raise UnsealableError("sealed with another key, or changed since") from None


def _decoded(text: str) -> bytes:
    try:
        if len(text) == 2 * KEY_BYTES:
            return bytes.fromhex(text)
        alphabet = b"-_" if set(text) & set("-_") else None
        return base64.b64decode(text, altchars=alphabet, validate=True)
    except (ValueError, binascii.Error):
        return b""
