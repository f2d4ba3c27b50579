# SPDX-License-Identifier: Apache-2.0
"""A file is where the present token stands, whoever wrote it, and whenever."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from keyfob.cli.pubsub.token_in_file import UNKNOWN, TokenInFile
from keyfob.device import Freshness, Moment
from keyfob.device.presenting import Presenting
from keyfob.errors import TokenUnavailableError


class Watch:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> Moment:
        return Moment(boot="b", elapsed=self.now, wall=self.now)


def jwt(**claims: object) -> str:
    parts = [json.dumps(one).encode() for one in ({"alg": "ES256", "typ": "at+jwt"}, claims)]
    return ".".join(base64.urlsafe_b64encode(one).rstrip(b"=").decode() for one in (*parts, b"x"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "token"


def test_the_next_token_is_shown_as_soon_as_it_stands_there(file: Path) -> None:
    source = TokenInFile(file, Watch())
    presenting = Presenting(source)
    with pytest.raises(TokenUnavailableError, match="no good token"):
        presenting.credentials(client_id="d")
    file.write_text("first\n", encoding="ascii")
    assert presenting.credentials(client_id="d").password == "first"
    assert presenting.successor() is None
    file.write_text("second\n", encoding="ascii")
    successor = presenting.successor()
    assert successor is not None
    assert successor.access_token == "second"
    assert source.refused(successor) is False
    file.unlink()
    assert presenting.successor() is None
    assert source.state is Freshness.EXPIRED


def test_a_jwt_is_good_as_long_as_it_says(file: Path) -> None:
    watch = Watch()
    source = TokenInFile(file, watch)
    file.write_text(jwt(exp=1060), encoding="ascii")
    assert source.get().lifetime == 60
    watch.now = 1061
    assert source.state is Freshness.EXPIRED
    assert source.renew().exception() is not None
    file.write_text(jwt(exp=1050), encoding="ascii")
    assert source.token is None
    for unsaid in (jwt(), jwt(exp="soon"), jwt(exp=True), "opaque"):
        file.write_text(unsaid, encoding="ascii")
        assert source.get().lifetime == UNKNOWN


@pytest.mark.parametrize("data", [b"", b"\xff", b"two\nlines", b"x" * 70_000, b"\0"])
def test_what_is_no_token_is_none(file: Path, data: bytes) -> None:
    file.write_bytes(data)
    with pytest.raises(TokenUnavailableError) as caught:
        TokenInFile(file).get()
    assert "lines" not in caught.value.message
