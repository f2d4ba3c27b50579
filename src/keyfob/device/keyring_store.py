# SPDX-License-Identifier: Apache-2.0
"""A token in the operating system's keyring, by the ``keyring`` library (an optional extra)."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from keyfob.device.kept import decode_token, encode_token
from keyfob.device.token import Token
from keyfob.device.turns import FileTurn, Turn
from keyfob.errors import ConfigError

__all__ = ["KeyringStore"]


class KeyringStore:
    """Keeps the token in the keyring of whoever is logged in.

    A keyring has no locks. Whose turn it is, the processes of one user settle by an empty file.
    Some keyrings take little: Windows' about 1,280 characters, which many a JWT exceeds.

    Args:
        name: What the entry is called: one for each source.
        service: What the keyring shows as the program.
        locks: A folder for the empty files; None: ``keyfob`` below ``$XDG_STATE_HOME``, which is
            ``~/.local/state`` where nobody says otherwise.

    Raises:
        ConfigError: The library is not installed, there is no keyring, or no such folder.
    """

    def __init__(
        self,
        name: str,
        *,
        service: str = "keyfob",
        locks: str | os.PathLike[str] | None = None,
    ) -> None:
        try:
            import keyring  # noqa: PLC0415 - it takes 0.1 s, which others need not wait
        except ImportError:
            said = "the keyring needs a library: pip install 'keyfob[keyring]'"
            raise ConfigError(said) from None
        if not keyring.get_keyring().priority > 0:
            raise ConfigError("this machine has no keyring; use a FileStore")
        self._keyring, self._name, self._service = keyring, name, service
        folder = Path(locks) if locks is not None else _state()
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"{folder}: {error.strerror}") from error
        digest = hashlib.sha256(f"{service}\0{name}".encode()).hexdigest()
        self._lock = folder / f"{digest[:32]}.lock"

    def load(self) -> Token | None:
        """Read the entry; what is no token of ours counts as nothing.

        Raises:
            OSError: The keyring is locked, or does not answer.
        """
        try:
            kept = self._keyring.get_password(self._service, self._name)
        except Exception as error:  # noqa: BLE001 - a backend raises what it likes
            raise _unusable(error) from None
        return None if kept is None else decode_token(kept.encode("utf-8", "replace"))

    def save(self, token: Token) -> None:
        """Write the entry.

        Raises:
            OSError: The keyring is locked, does not answer, or takes no text of that length.
        """
        try:
            self._keyring.set_password(self._service, self._name, encode_token(token).decode())
        except Exception as error:  # noqa: BLE001 - a backend raises what it likes
            raise _unusable(error) from None

    def turn(self) -> Turn:
        """Return the turn of this user's processes that use this entry."""
        return FileTurn(self._lock)


def _state() -> Path:
    home = os.environ.get("XDG_STATE_HOME") or ""
    return (Path(home) if home else Path.home() / ".local" / "state") / "keyfob"


def _unusable(error: Exception) -> OSError:
    # Not what it says: that may be the entry.
    return OSError(None, f"the keyring failed ({type(error).__name__})")
