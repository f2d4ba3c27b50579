# SPDX-License-Identifier: Apache-2.0
"""Cuts off what an interrupted piece of work wrote to its file of secrets and did not commit.

Only what is void is cut off: where the file is another one by now, and what would be cut off is
the only copy of a secret that works, nothing is.
"""

from __future__ import annotations

from typing import Final

import msgspec

from keyfob.errors import ConflictError
from keyfob.server.credentials import hash_secret
from keyfob.server.private_file import PrivateFile
from keyfob.server.stores.store import Store

__all__ = ["cut_void"]

# More than the lines of one transaction, each with the longest name.
_MOST: Final = 4 << 20


def cut_void(store: Store, file: PrivateFile, size: int) -> None:
    """Leave so many bytes of a file of secrets.

    Raises:
        ConfigError: It is shorter than that.
        ConflictError: What follows holds a secret that counts, or is more than void secrets are.
    """
    tail = file.read(size, _MOST + 1)
    if len(tail) > _MOST or any(_counts(store, line) for line in tail.splitlines()):
        raise ConflictError(
            f"{file.path} holds secrets of something else by now: put it away, and begin anew with "
            "a new file"
        )
    file.cut(size)


def _counts(store: Store, line: bytes) -> bool:
    try:
        text = line.decode()
        if text.startswith("{"):
            row = msgspec.json.decode(text, type=dict[str, str])
            name, secret = row["device"], row["secret"]
        else:
            name, _, secret = text.partition(",")
    except (ValueError, KeyError):  # the last line may have been cut short
        return False
    stored = store.secret(name, now=0)
    return stored is not None and hash_secret(secret) in (stored.secret_hash, stored.old_hash)
