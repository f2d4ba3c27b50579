# SPDX-License-Identifier: Apache-2.0
"""Which hosts are this machine."""

from __future__ import annotations

import pytest

from keyfob.loopback import is_loopback


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.255.0.9", "::1"])
def test_these_are_this_machine(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    ["", "localhost.example", "127.0.0.1.example", "127.1", "2130706433", "0.0.0.0", "10.0.0.1",
     "::", "[::1]", "foo.localhost", "as.example"],
)  # fmt: skip
def test_these_are_not_or_nobody_can_be_sure(host: str) -> None:
    assert not is_loopback(host)
