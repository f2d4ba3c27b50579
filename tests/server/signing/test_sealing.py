# SPDX-License-Identifier: Apache-2.0
"""Private keys at rest."""

from __future__ import annotations

import base64
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfob.errors import ConfigError
from keyfob.server.signing.sealing import KeySealer, is_sealed

KEY = os.urandom(32)
SEALER = KeySealer(base64.b64encode(KEY).decode())


@given(st.binary(max_size=3_000), st.text(max_size=50), st.sampled_from(["ES256", "RS256"]))
def test_what_was_sealed_opens_again_and_shows_nothing(
    plain: bytes, kid: str, algorithm: str
) -> None:
    sealed = SEALER.seal(plain, kid=kid, algorithm=algorithm)
    assert is_sealed(sealed)
    assert len(plain) < 8 or plain not in sealed
    assert SEALER.open(sealed, kid=kid, algorithm=algorithm) == plain


@given(st.data())
def test_any_change_of_it_is_noticed(data: st.DataObject) -> None:
    sealed = bytearray(SEALER.seal(b"private", kid="k", algorithm="ES256"))
    place = data.draw(st.integers(5, len(sealed) - 1))
    sealed[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ConfigError, match="cannot be decrypted"):
        SEALER.open(bytes(sealed), kid="k", algorithm="ES256")


@given(st.integers(5, 39))
def test_a_part_of_it_is_not_it(length: int) -> None:
    sealed = SEALER.seal(b"private", kid="k", algorithm="ES256")
    with pytest.raises(ConfigError, match="cannot be decrypted"):
        SEALER.open(sealed[:length], kid="k", algorithm="ES256")


@pytest.mark.parametrize(("kid", "algorithm"), [("other", "ES256"), ("k", "RS256")])
def test_it_opens_in_no_other_place(kid: str, algorithm: str) -> None:
    sealed = SEALER.seal(b"private", kid="k", algorithm="ES256")
    with pytest.raises(ConfigError, match="key_encryption"):
        SEALER.open(sealed, kid=kid, algorithm=algorithm)


def test_another_key_does_not_open_it() -> None:
    sealed = SEALER.seal(b"private", kid="k", algorithm="ES256")
    other = KeySealer(os.urandom(32).hex())
    with pytest.raises(ConfigError, match="key_encryption"):
        other.open(sealed, kid="k", algorithm="ES256")


def test_the_same_is_never_written_twice() -> None:
    assert SEALER.seal(b"p", kid="k", algorithm="a") != SEALER.seal(b"p", kid="k", algorithm="a")


@pytest.mark.parametrize(
    "text",
    [base64.b64encode(KEY).decode(), base64.urlsafe_b64encode(KEY).decode(), KEY.hex()],
)
def test_the_key_may_be_base64_or_hexadecimal(text: str) -> None:
    sealed = SEALER.seal(b"p", kid="k", algorithm="a")
    assert KeySealer(f" {text}\n").open(sealed, kid="k", algorithm="a") == b"p"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "correct horse battery staple",
        "a" * 64 + "b",
        "é" * 44,
        "zz" * 32,
        base64.b64encode(KEY[:31]).decode(),
        base64.b64encode(KEY + b"x").decode(),
    ],
)
def test_a_passphrase_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ConfigError, match="openssl rand") as caught:
        KeySealer(text)
    assert not text or text not in str(caught.value)


def test_the_sealer_shows_nothing() -> None:
    assert KEY.hex() not in repr(SEALER)
