# SPDX-License-Identifier: Apache-2.0
"""User codes: what a person reads on a device and types into a browser (RFC 8628 section 6.1).

Eight of the twenty consonants that no word and no other letter is mistaken for: 34 bits, which the
limits of the page make enough for the ten minutes that a code lives. Whoever types it may write it
in small letters, with dashes, with blanks, or without any.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from typing import Final

__all__ = ["ALPHABET", "generate_user_code", "read_user_code", "shown_user_code", "user_code_hash"]

ALPHABET: Final = "BCDFGHJKLMNPQRSTVWXZ"
_LENGTH: Final = 8
_CODE: Final = re.compile(f"[{ALPHABET}]{{{_LENGTH}}}")
# A code with a blank around each letter, and some more: nobody types so much by accident.
_MAX_TYPED: Final = 64
_HASHED: Final = b"keyfob user code\0"


def generate_user_code() -> str:
    """Make a new code, as ``read_user_code`` returns it."""
    return "".join(secrets.choice(ALPHABET) for _ in range(_LENGTH))


def read_user_code(typed: str) -> str | None:
    """Return the code that somebody typed; None for what cannot be one.

    Case, blanks, dashes and other punctuation mean nothing (RFC 8628 section 6.1).
    """
    if len(typed) > _MAX_TYPED:
        return None
    kept = "".join(letter for letter in typed if letter.isalnum())
    # Only ASCII may change its case: other letters become two, or one that looks like ours.
    code = kept.upper() if kept.isascii() else ""
    return code if _CODE.fullmatch(code) else None


def shown_user_code(code: str) -> str:
    """Return a code in two halves, as people read it."""
    return f"{code[: _LENGTH // 2]}-{code[_LENGTH // 2 :]}"


def user_code_hash(code: str) -> bytes:
    """Return what the register keeps of a code.

    A copy of the register gives the code away to whoever tries them all. It is good for minutes
    then, and for nothing without an operator's password; the register has worse to lose.
    """
    return hashlib.sha256(_HASHED + code.encode("ascii")).digest()
