# SPDX-License-Identifier: Apache-2.0
"""base64url without padding, one text for each value (RFC 7515 section 2, RFC 4648 section 3.5).

The standard library's decoders skip characters that they do not know, want padding and ignore
the unused bits of the last character. All three would let one signature have many spellings.
"""

from __future__ import annotations

import binascii
from typing import Final

__all__ = ["ALPHABET", "decode", "encode"]

ALPHABET: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_TO_STANDARD: Final = bytes.maketrans(b"-_", b"+/")
_FROM_STANDARD: Final = bytes.maketrans(b"+/", b"-_")
_PADDING: Final = (b"", b"", b"==", b"=")
# Characters whose unused low bits are zero, by the number of characters after the last four.
_LAST: Final = (
    frozenset(ALPHABET),
    frozenset(b""),
    frozenset(ALPHABET[::16]),
    frozenset(ALPHABET[::4]),
)


def encode(data: bytes) -> bytes:
    """Encode without padding."""
    return binascii.b2a_base64(data, newline=False).translate(_FROM_STANDARD, b"=")


def decode(text: bytes) -> bytes:
    """Decode the one canonical spelling of a value.

    Raises:
        ValueError: Another character, padding, an impossible length, or unused bits that are set.
    """
    if text.translate(None, ALPHABET):
        raise ValueError("a character that base64url does not have")
    tail = len(text) & 3
    if tail and text[-1] not in _LAST[tail]:
        raise ValueError("not the canonical base64url of anything")
    return binascii.a2b_base64(text.translate(_TO_STANDARD) + _PADDING[tail])
