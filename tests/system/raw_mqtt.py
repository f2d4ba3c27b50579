# SPDX-License-Identifier: Apache-2.0
"""The bytes of the smallest MQTT 3.1.1 client, for tests that need many clients or exact times."""

from __future__ import annotations

import struct

__all__ = ["PINGREQ", "PINGRESP", "connect_packet"]

PINGREQ, PINGRESP = b"\xc0\x00", b"\xd0\x00"


def connect_packet(client_id: str, username: str, password: str, *, clean: bool = True) -> bytes:
    """CONNECT with both credentials, and a minute of keep alive."""
    body = b"\x00\x04MQTT\x04" + (b"\xc2" if clean else b"\xc0") + b"\x00\x3c"
    for text in (client_id, username, password):
        body += struct.pack("!H", len(text.encode())) + text.encode()
    return b"\x10" + _remaining_length(len(body)) + body


def _remaining_length(length: int) -> bytes:
    digits = bytearray()
    while True:
        length, digit = divmod(length, 128)
        digits.append(digit | (0x80 if length else 0))
        if not length:
            return bytes(digits)
