# SPDX-License-Identifier: Apache-2.0
"""A token in a file that is of no use without a key, which lies elsewhere."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from keyfob.device.kept import decode_token, encode_token
from keyfob.device.store import FileStore
from keyfob.device.token import Token
from keyfob.errors import ConfigError
from keyfob.tokens.sealing import NONCE_BYTES, Sealer, UnsealableError

__all__ = ["EncryptedFileStore"]

_VERSION: Final = b"kft1:"
_ABOUT: Final = b"keyfob device token"
_TELL: Final = "`openssl rand -base64 32` makes one"


class EncryptedFileStore(FileStore):
    """A ``FileStore`` whose file is encrypted (AES-256-GCM); it shows nothing of its key.

    It helps where the key is kept better than the file: in a TPM, a secrets manager, or on another
    medium. What was encrypted with another key counts as nothing.

    Args:
        path: As ``FileStore``.
        key: 32 random bytes in base64, or as 64 hexadecimal digits.

    Raises:
        ConfigError: The folder is not there, or it is no such key.
    """

    def __init__(self, path: str | os.PathLike[str], *, key: str) -> None:
        super().__init__(path)
        try:
            self._sealer = Sealer(key, version=_VERSION)
        except ValueError:
            said = "the key of a token's file is 32 random bytes in base64 (or 64 hex digits)"
            raise ConfigError(f"{said}: {_TELL}") from None

    @classmethod
    def with_key_file(
        cls, path: str | os.PathLike[str], key_file: str | os.PathLike[str]
    ) -> EncryptedFileStore:
        """Take the key from a file.

        Raises:
            ConfigError: It cannot be read, or there is no such key in it.
        """
        try:
            with Path(key_file).open("rb") as file:
                key = file.read(1024).decode("ascii", "replace")
        except OSError as error:
            raise ConfigError(f"{key_file}: {error.strerror}") from error
        return cls(path, key=key)

    @classmethod
    def with_key_variable(cls, path: str | os.PathLike[str], variable: str) -> EncryptedFileStore:
        """Take the key from a variable of the environment.

        Raises:
            ConfigError: There is none, or no such key in it.
        """
        if (key := os.environ.get(variable)) is None:
            raise ConfigError(f"the environment has no {variable}")
        return cls(path, key=key)

    def _encoded(self, token: Token) -> bytes:
        nonce = os.urandom(NONCE_BYTES)
        return self._sealer.seal(encode_token(token), about=_ABOUT, nonce=nonce)

    def _decoded(self, data: bytes) -> Token | None:
        try:
            return decode_token(self._sealer.open(data, about=_ABOUT))
        except UnsealableError:
            return None
