# SPDX-License-Identifier: Apache-2.0
"""Reason codes of MQTT 5.0 and the return codes of 3.1.1."""

from __future__ import annotations

import pytest

from keyfob.mqtt.reason_codes import RETURN_CODE_311, ReasonCode


@pytest.mark.parametrize(
    ("reason", "value", "return_code"),
    [
        (ReasonCode.SUCCESS, 0x00, 0),
        (ReasonCode.UNSUPPORTED_PROTOCOL_VERSION, 0x84, 1),
        (ReasonCode.CLIENT_IDENTIFIER_NOT_VALID, 0x85, 2),
        (ReasonCode.BAD_USERNAME_OR_PASSWORD, 0x86, 4),
        (ReasonCode.NOT_AUTHORIZED, 0x87, 5),
        (ReasonCode.SERVER_UNAVAILABLE, 0x88, 3),
        (ReasonCode.SERVER_BUSY, 0x89, 3),
        (ReasonCode.BANNED, 0x8A, 5),
        (ReasonCode.BAD_AUTHENTICATION_METHOD, 0x8C, 5),
    ],
)
def test_a_reason_code_has_its_number_and_its_return_code(
    reason: ReasonCode, value: int, return_code: int
) -> None:
    assert reason == value
    assert reason.return_code_311 == return_code


@pytest.mark.parametrize("reason", ReasonCode)
def test_only_success_is_accepted_in_3_1_1(reason: ReasonCode) -> None:
    assert (reason.return_code_311 == 0) is (reason is ReasonCode.SUCCESS)
    assert reason.return_code_311 in range(6)


def test_the_table_has_every_return_code() -> None:
    assert set(RETURN_CODE_311.values()) == set(range(6))
