# SPDX-License-Identifier: Apache-2.0
"""How large the CONNECT is that carries a token, and whom that is too large for; pure."""

from __future__ import annotations

from typing import Final

from keyfob.cli.doctor.finding import Section, Severity, found
from keyfob.device.carrying import DEFAULT_USERNAME, LONGEST_FIELD

__all__ = ["BUFFERS", "LONGEST_HEADERS", "check_sizes", "connect_bytes"]

BUFFERS: Final = (256, 512, 1024)
"""Bytes that small clients hold a whole packet in: PubSubClient's ``MQTT_MAX_PACKET_SIZE`` is 256,
and what people raise it to."""

LONGEST_HEADERS: Final = 8192
"""Bytes of a header line that HTTP servers and proxies take as they come (nginx, Apache: 8 KiB)."""

_VARIABLE_HEADER: Final = 10
"""Protocol name, level, flags and keep alive of a CONNECT (MQTT 3.1.1 section 3.1.2)."""


def connect_bytes(token: str, identifier: str) -> int:
    """Return the size of a CONNECT of MQTT 3.1.1 with the token in its password.

    MQTT 5 adds a byte, and its properties.

    Args:
        token: The token.
        identifier: The client identifier, which is the username, too.
    """
    payload = (identifier, identifier or DEFAULT_USERNAME, token)
    rest = _VARIABLE_HEADER + sum(2 + len(each.encode()) for each in payload)
    length = 1
    while rest >= 128**length:
        length += 1
    return 1 + length + rest


def check_sizes(token: str, identifier: str) -> Section:
    """Say where a token does not fit.

    Args:
        token: The token.
        identifier: The client identifier.
    """
    size, whole = len(token.encode()), connect_bytes(token, identifier)
    fits = {str(buffer): whole <= buffer for buffer in BUFFERS}
    section = Section(facts={"connect_bytes": whole, "fits_buffers": fits})
    if size > LONGEST_FIELD:
        return section | found(
            "token_too_long",
            f"the token has {size} bytes, a field of MQTT takes {LONGEST_FIELD}: no device can"
            " show it",
            "have the server put less into it, or give opaque tokens",
            Severity.WRONG,
        )
    if size > LONGEST_HEADERS - len("Authorization: Bearer "):
        return section | found(
            "token_large",
            f"the token has {size} bytes: proxies refuse it in a WebSocket handshake's header"
            f" ({LONGEST_HEADERS} bytes), and brokers may have a limit of their own",
            "have the server put less into it, or give opaque tokens",
            Severity.NOTE,
        )
    small = [buffer for buffer in BUFFERS if whole > buffer]
    if not small:
        return section
    return section | found(
        "token_large",
        f"a CONNECT with it has {whole} bytes: clients with a buffer of"
        f" {' or '.join(map(str, small))} bytes (PubSubClient as it comes: 256) cannot send it",
        f"where there are such clients, raise their buffer (setBufferSize({whole + 64})), ask for"
        " a narrower --scope, or give opaque tokens",
        Severity.NOTE,
    )
