# SPDX-License-Identifier: Apache-2.0
"""MQTT 5.0 reason codes and the MQTT 3.1.1 return codes that say the same, in one table."""

from __future__ import annotations

from enum import IntEnum
from types import MappingProxyType
from typing import Final

__all__ = ["RETURN_CODE_311", "ReasonCode"]


class ReasonCode(IntEnum):
    """The reason codes that Keyfob sends or reads (MQTT 5.0 section 2.4)."""

    SUCCESS = 0x00
    CONTINUE_AUTHENTICATION = 0x18
    RE_AUTHENTICATE = 0x19
    UNSPECIFIED_ERROR = 0x80
    MALFORMED_PACKET = 0x81
    PROTOCOL_ERROR = 0x82
    IMPLEMENTATION_SPECIFIC_ERROR = 0x83
    UNSUPPORTED_PROTOCOL_VERSION = 0x84
    CLIENT_IDENTIFIER_NOT_VALID = 0x85
    BAD_USERNAME_OR_PASSWORD = 0x86
    NOT_AUTHORIZED = 0x87
    SERVER_UNAVAILABLE = 0x88
    SERVER_BUSY = 0x89
    BANNED = 0x8A
    BAD_AUTHENTICATION_METHOD = 0x8C
    SESSION_TAKEN_OVER = 0x8E
    TOPIC_FILTER_INVALID = 0x8F
    TOPIC_NAME_INVALID = 0x90
    PACKET_TOO_LARGE = 0x95
    QUOTA_EXCEEDED = 0x97
    ADMINISTRATIVE_ACTION = 0x98
    PAYLOAD_FORMAT_INVALID = 0x99
    USE_ANOTHER_SERVER = 0x9C
    SERVER_MOVED = 0x9D
    SHARED_SUBSCRIPTIONS_NOT_SUPPORTED = 0x9E
    CONNECTION_RATE_EXCEEDED = 0x9F
    MAXIMUM_CONNECT_TIME = 0xA0
    WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED = 0xA2

    @property
    def return_code_311(self) -> int:
        """The CONNACK return code of MQTT 3.1.1 section 3.2.2.3 that says the same.

        Where 3.1.1 has no word for it the answer is 5, not authorized: it is never 0 for a
        refusal.
        """
        return RETURN_CODE_311.get(self, 5)


RETURN_CODE_311: Final = MappingProxyType(
    {
        ReasonCode.SUCCESS: 0,
        ReasonCode.UNSUPPORTED_PROTOCOL_VERSION: 1,
        ReasonCode.CLIENT_IDENTIFIER_NOT_VALID: 2,
        ReasonCode.SERVER_UNAVAILABLE: 3,
        ReasonCode.SERVER_BUSY: 3,
        ReasonCode.USE_ANOTHER_SERVER: 3,
        ReasonCode.SERVER_MOVED: 3,
        ReasonCode.QUOTA_EXCEEDED: 3,
        ReasonCode.CONNECTION_RATE_EXCEEDED: 3,
        ReasonCode.BAD_USERNAME_OR_PASSWORD: 4,
        ReasonCode.NOT_AUTHORIZED: 5,
        ReasonCode.BANNED: 5,
        ReasonCode.BAD_AUTHENTICATION_METHOD: 5,
    }
)
"""Return codes 0 to 5 of MQTT 3.1.1, by the MQTT 5.0 reason code that they stand for."""
