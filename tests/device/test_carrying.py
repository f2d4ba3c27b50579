# SPDX-License-Identifier: Apache-2.0
"""Where a CONNECT carries its token."""

from __future__ import annotations

import pytest

from keyfob.device import Moment, Token
from keyfob.device.carrying import LONGEST_FIELD, Carry, Field, carried
from keyfob.device.methods import Exchange
from keyfob.errors import ConfigError, ProtocolError, TokenUnavailableError


def token(text: str = "the-token") -> Token:
    now = Moment(boot="", elapsed=0, wall=0)
    return Token(access_token=text, token_type="Bearer", scope="", lifetime=60, obtained=now)


def test_a_password_never_goes_without_a_username() -> None:
    for client_id, username, expected in (("dev1", None, "dev1"), ("", None, "device"),
                                          ("dev1", "mine", "mine"), ("dev1", "", "")):  # fmt: skip
        made = carried(token(), Carry.parse("password"), client_id=client_id, username=username)
        assert (made.username, made.password) == (expected, "the-token")


def test_a_token_in_the_username_leaves_the_password_as_it_is() -> None:
    made = carried(token(), Carry.parse("username"), username="mine", password="")
    assert (made.username, made.password) == ("the-token", "")


def test_a_header_and_a_method_leave_both_fields_as_they_are() -> None:
    for carry in ("header", "auth:OAUTH2-JWT"):
        made = carried(token(), Carry.parse(carry), username="mine", password="own")
        assert (made.username, made.password) == ("mine", "own")
    made = carried(token(), Carry.parse("auth:OAUTH2-JWT"))
    assert (made.method, made.data) == ("OAUTH2-JWT", b"the-token")
    made = carried(token(), Carry.parse("header"))
    assert made.headers == {"Authorization": "Bearer the-token"}


@pytest.mark.parametrize("carry", ["password", "username", "auth:OAUTH2-JWT"])
def test_a_token_that_no_field_holds_is_an_error_before_anything_is_sent(carry: str) -> None:
    carried(token("x" * LONGEST_FIELD), Carry.parse(carry))
    with pytest.raises(TokenUnavailableError, match="65536 bytes") as raised:
        carried(token("x" * (LONGEST_FIELD + 1)), Carry.parse(carry))
    assert raised.value.code == "token_too_long"
    assert isinstance(raised.value, OSError)


@pytest.mark.parametrize("carry", ["", "auth", "auth:", "Password", "password:x", "cookie"])
def test_another_way_to_carry_is_an_error_that_names_the_ways(carry: str) -> None:
    with pytest.raises(ConfigError, match="write password, username, header or auth:METHOD"):
        Carry.parse(carry)


def test_a_methods_name_may_hold_a_colon() -> None:
    assert Carry.parse("auth:a:b") == Carry(field=Field.AUTH, method="a:b")


def test_credentials_show_no_secret() -> None:
    for carry in ("password", "username", "header", "auth:OAUTH2-JWT"):
        assert "the-token" not in repr(carried(token(), Carry.parse(carry)))


def test_a_broker_that_asks_for_more_than_the_token_is_wrong() -> None:
    exchange = carried(token(), Carry.parse("auth:JWT")).exchange
    assert exchange is not None
    with pytest.raises(ProtocolError):
        exchange.respond(b"more")


def test_a_method_that_cannot_begin_is_a_connection_that_cannot_be_made() -> None:
    def broken(_: Token) -> Exchange:
        raise ProtocolError("no key")

    with pytest.raises(OSError, match="auth-x: no key") as caught:
        carried(token(), Carry.parse("auth:auth-x"), method=broken)
    assert isinstance(caught.value, TokenUnavailableError)
