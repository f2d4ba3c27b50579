# SPDX-License-Identifier: Apache-2.0
"""Only https may be named, and http on this machine."""

from __future__ import annotations

import pytest

from keyfob.config.urls import url_fault
from keyfob.errors import ConfigError
from keyfob.oauth.urls import require_safe

GOOD = [
    "https://a.example",
    "https://a.example:8443/realms/x?y=z",
    "https://[::1]/",
    "http://localhost:8080",
    "http://127.0.0.1",
    "http://127.9.9.9/x",
    "http://[::1]:80/",
]
BAD = [
    *("", "a", "a.example", "//a.example", "https://", "https:///x", "https://:443", "file:///x"),
    *("http://a.example", "http://127.0.0.1.evil.example", "http://localhost.evil.example"),
    *("http://2130706433", "http://0.0.0.0", "ftp://127.0.0.1", "https://a:b@c.example"),
    *("https://a.example#x", "https://a.example:x", "https://a.example:99999", "https://[::1"),
]


@pytest.mark.parametrize("url", GOOD)
def test_what_may_be_fetched_has_no_fault(url: str) -> None:
    assert url_fault(url) is None
    require_safe(url)


@pytest.mark.parametrize("url", BAD)
def test_the_guard_would_not_fetch_what_has_a_fault(url: str) -> None:
    fault = url_fault(url)
    assert fault is not None
    assert "write" in fault
    with pytest.raises(ConfigError):
        require_safe(url)


@pytest.mark.parametrize("url", ["https://a example", "https://a.example/\n", "https://a/\x1b[2J"])
def test_blanks_and_control_characters_are_refused(url: str) -> None:
    assert url_fault(url) is not None
