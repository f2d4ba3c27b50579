# SPDX-License-Identifier: Apache-2.0
"""Which URLs may be called."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfob.errors import ConfigError
from keyfob.oauth.urls import require_safe


@pytest.mark.parametrize(
    "url", ["https://as.example", "https://as.example:8443/a?b=c", "http://127.0.0.1:80/", "http://[::1]/"]
)  # fmt: skip
def test_these_may(url: str) -> None:
    assert require_safe(url).geturl() == url


@pytest.mark.parametrize(
    "url",
    [
        "http://as.example/",
        "ftp://as.example/",
        "https://",
        "https:///path",
        "https://user:secret@as.example/",
        "https://as.example/#part",
        "https://as.example:port/",
        "https://as.example/a\nb",
        "https://as.example/a b",
        "https://as\t.example/",
        "https://as.example/\x1b[2J",
        "https://as.example/\u202e",
        "https://[::1",
        "",
    ],
)
def test_these_may_not_and_no_message_breaks_a_log(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        require_safe(url)
    assert str(caught.value).isprintable()
    assert "secret" not in str(caught.value)


@given(st.text())
def test_whatever_it_is_there_is_an_answer(text: str) -> None:
    try:
        parts = require_safe(text)
    except ConfigError:
        return
    assert parts.scheme in {"http", "https"}
    assert text.isprintable()
