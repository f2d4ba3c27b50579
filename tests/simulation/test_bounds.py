# SPDX-License-Identifier: Apache-2.0
"""Bounds: other machines by permission only; what cannot be opened is told before."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

from keyfob.errors import ConfigError
from keyfob.simulation.bounds import refuse_far


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1"])
def test_this_machine_may_be_loaded(host: str) -> None:
    refuse_far(host, "the broker", allowed=False)


@pytest.mark.parametrize("host", ["broker.example.com", "192.0.2.1", "localhost.example", ""])
def test_another_machine_is_loaded_by_permission_only(host: str) -> None:
    with pytest.raises(ConfigError, match="--allow-remote"):
        refuse_far(host, "the broker", allowed=False)
    refuse_far(host, "the broker", allowed=True)


def need(devices: int, processes: int, soft: int, hard: int) -> str:
    """Ask in a process of its own: what a process may open, it cannot raise again."""
    program = f"""
import resource
from keyfob.errors import ConfigError
from keyfob.simulation.bounds import need_descriptors
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
try:
    need_descriptors({devices}, {processes})
except ConfigError as error:
    print(error.message)
else:
    print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.mark.skipif(
    resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 8_000, reason="this machine allows too little"
)
def test_what_may_be_opened_is_raised_as_far_as_it_is_needed() -> None:
    assert need(1_000, 1, 1_024, 8_000) == "4000 8000"
    assert need(2_000, 2, 1_024, 8_000) == "4000 8000"
    assert need(10, 1, 1_100, 8_000) == "1100 8000"


def test_what_the_machine_does_not_allow_is_told_with_the_way_out() -> None:
    said = need(3_000, 1, 1_024, 4_096)
    assert "10,000 file descriptors" in said
    assert "4,096 are allowed" in said
    assert "--processes" in said
