# SPDX-License-Identifier: Apache-2.0
"""Where a broker is, read from a URL or a profile; every other text is a clear error."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfob.cli.broker_target import Address, BrokerTls, connect, parse_broker, target_of
from keyfob.cli.broker_target import attached_client as attached
from keyfob.cli.profiles import Profile
from keyfob.device import TokenSource
from keyfob.errors import ConfigError, UpstreamError


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("mqtt://b.example", Address(host="b.example", port=1883)),
        ("mqtt://b.example:1/", Address(host="b.example", port=1)),
        ("mqtts://b.example", Address(host="b.example", port=8883, tls=True)),
        ("mqtts://[::1]:99", Address(host="::1", port=99, tls=True)),
        ("ws://b:8080", Address(host="b", port=8080, transport="websockets")),
        (
            "wss://b/x/y?z=1",
            Address(host="b", port=443, tls=True, transport="websockets", path="/x/y?z=1"),
        ),
    ],
)
def test_a_url_says_where_a_broker_is(url: str, address: Address) -> None:
    assert parse_broker(url) == address
    again = parse_broker(str(address))
    assert (again.host, again.port, again.tls) == (address.host, address.port, address.tls)


@pytest.mark.parametrize(
    "url",
    [
        *("", "b.example", "http://b", "mqtt:", "mqtt://", "mqtt://:1883", "mqtt://b:0"),
        *("mqtt://b:65536", "mqtt://b:x", "mqtts://b/topic", "mqtt://b?x", "wss://b/#f"),
        *("mqtt://[::1", "mqtts://user@b", "wss://user:eyJsecret@b"),
    ],
)
def test_what_is_no_such_url_is_an_error_that_repeats_no_password(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_broker(url)
    assert "eyJ" not in caught.value.message


@given(st.text())
def test_any_text_is_an_address_or_a_clear_error(text: str) -> None:
    try:
        address = parse_broker(text)
    except ConfigError:
        return
    assert address.host
    assert 0 < address.port < 65536


def test_a_profile_names_the_broker_and_what_it_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    profile = Profile(
        issuer="https://as.example",
        client_id="dev1",
        grant="client_credentials",
        broker="mqtts://b.example",
        carry="auth:OAUTH2-JWT",
        broker_ca="b.pem",
    )
    target = target_of(profile)
    assert target.address == Address(host="b.example", port=8883, tls=True)
    assert (target.carry, target.client_identifier) == ("auth:OAUTH2-JWT", "dev1")
    assert target.tls.ca == tmp_path / "keyfob" / "b.pem"
    with pytest.raises(ConfigError, match="no broker"):
        target_of(Profile(issuer="https://as.example", client_id="dev1"))


def test_tls_that_cannot_be_spoken_so_is_a_clear_error(tmp_path: Path) -> None:
    nothing = tmp_path / "nothing.pem"
    for tls in (
        BrokerTls(ca=nothing),
        BrokerTls(ca_folder=nothing),
        BrokerTls(certificate=nothing),
        BrokerTls(key=nothing),
        BrokerTls(ciphers="none such"),
    ):
        with pytest.raises(ConfigError):
            tls.context()


def test_without_a_token_nothing_is_sent_and_it_is_said_why() -> None:
    target = target_of(
        Profile(issuer="https://localhost:1", client_id="d", broker="mqtt://localhost:2")
    )
    source = TokenSource("https://localhost:1", client_id="d", client_secret="s")
    client, _ = attached(target, source)
    with pytest.raises(UpstreamError, match="localhost:1"):
        connect(client, target.address)
