# SPDX-License-Identifier: Apache-2.0
"""The method of plain tokens."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfob.errors import MalformedTokenError
from keyfob.guard.exchanges.exchange import Challenge, Exchange, ExchangeContext, Presented
from keyfob.guard.exchanges.jwt import JwtMethod
from keyfob.guard.exchanges.methods import methods_of

CONTEXT = ExchangeContext(
    client_id="dev1", broker="b", server_nonce=b"n" * 32, now=0.0, reauthenticating=False
)


def begun() -> Exchange:
    return JwtMethod().begin(CONTEXT)


@given(st.binary(min_size=1, max_size=100))
def test_whatever_comes_first_is_the_token(data: bytes) -> None:
    assert begun().step(data) == Presented(data)


@given(st.binary(min_size=1, max_size=100))
def test_who_sends_nothing_is_asked_once(data: bytes) -> None:
    exchange = begun()
    assert exchange.step(b"") == Challenge(b"")
    assert exchange.step(data) == Presented(data)


def test_who_sends_nothing_again_is_refused() -> None:
    exchange = begun()
    exchange.step(b"")
    with pytest.raises(MalformedTokenError) as caught:
        exchange.step(b"")
    assert caught.value.code == "token_missing"


def test_two_exchanges_know_nothing_of_each_other() -> None:
    method = JwtMethod()
    first, second = method.begin(CONTEXT), method.begin(CONTEXT)
    assert first.step(b"") == Challenge(b"")
    assert second.step(b"") == Challenge(b"")


def test_any_name_may_be_given_to_it_and_none_is_there_unless_given() -> None:
    assert methods_of(()) == {}
    assert set(methods_of(("OAUTH2-JWT", "K8S-SAT"))) == {"OAUTH2-JWT", "K8S-SAT"}


def test_no_repr_shows_what_was_sent() -> None:
    assert "secret" not in repr(Presented(b"secret", reply=b"secret"))
    assert "secret" not in repr(Challenge(b"secret"))
