# SPDX-License-Identifier: Apache-2.0
"""What a proxy says counts if it is trusted; what anybody else writes is as if not written."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfob.errors import ConfigError
from keyfob.http.client_certificate import (
    CLIENT_CERTIFICATE,
    CertificateHeaderError,
    ClientCertificate,
    shown_certificate,
)
from keyfob.http.proxy import BehindProxy, CertificateHeader, Proxies, client_address

pytestmark = pytest.mark.anyio

DER = bytes(range(256)) * 3
PEM = (
    "-----BEGIN CERTIFICATE-----\n"
    + "\n".join(
        base64.b64encode(DER).decode()[at : at + 64]
        for at in range(0, len(base64.b64encode(DER)), 64)
    )
    + "\n-----END CERTIFICATE-----\n"
)
NGINX = CertificateHeader(name="x-client-cert", verification="x-client-verify")
PROXIES = Proxies.at(["10.0.0.0/24", "192.0.2.7", "2001:db8::/32"])
PROXY, OUTSIDE = "10.0.0.1", "203.0.113.9"
OF_CONNECTION = ClientCertificate(der=b"of the connection", verified=True)


async def seen(
    peer: str,
    headers: Sequence[tuple[str, str]] = (),
    *,
    header: CertificateHeader | None = NGINX,
    connection: ClientCertificate | None = None,
) -> Any:
    """Return the scope that the application behind sees."""
    found: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        found.append(scope)

    scope: dict[str, Any] = {
        "type": "http",
        "client": (peer, 50_000),
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers],
    }
    if connection is not None:
        scope[CLIENT_CERTIFICATE] = connection
    before = dict(scope)
    nothing: Any = None
    proxies = Proxies(networks=PROXIES.networks, certificate=header)
    await BehindProxy(app, proxies)(scope, nothing, nothing)
    assert scope == before
    return found[0]


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        (OUTSIDE, [], OUTSIDE),
        (OUTSIDE, ["198.51.100.1"], OUTSIDE),
        (PROXY, [], PROXY),
        (PROXY, ["198.51.100.1"], "198.51.100.1"),
        # What stands left of the first stranger was written by the stranger.
        (PROXY, ["127.0.0.1, 198.51.100.1"], "198.51.100.1"),
        (PROXY, ["10.0.0.2, 198.51.100.1"], "198.51.100.1"),
        (PROXY, ["198.51.100.1, 192.0.2.7"], "198.51.100.1"),
        (PROXY, ["198.51.100.1, 10.0.0.9, 192.0.2.7"], "198.51.100.1"),
        (PROXY, ["1.1.1.1", "198.51.100.1, 10.0.0.9"], "198.51.100.1"),
        (PROXY, ["198.51.100.1", "10.0.0.9"], "198.51.100.1"),
        (PROXY, ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        # What is no address is nobody's: the last one that is known counts.
        (PROXY, ["unknown"], PROXY),
        (PROXY, ["198.51.100.1, unknown"], PROXY),
        (PROXY, ["198.51.100.1, _hidden, 10.0.0.2"], "10.0.0.2"),
        (PROXY, [""], PROXY),
        (PROXY, [","], PROXY),
        # A port is no part of the address, which is in brackets then if it is one of IPv6.
        (PROXY, ["198.51.100.1:4711"], "198.51.100.1"),
        (PROXY, ["[2001:db9::5]:4711"], "2001:db9::5"),
        (PROXY, ["[2001:db9::5]"], "2001:db9::5"),
        (PROXY, ["198.51.100.1:4711, 10.0.0.9:80"], "198.51.100.1"),
        (PROXY, ["[::ffff:198.51.100.1]:1"], "198.51.100.1"),
        (PROXY, ["2001:db9::5:4711"], "2001:db9::5:4711"),
        (PROXY, ["198.51.100.1:"], PROXY),
        (PROXY, ["198.51.100.1:port"], PROXY),
        (PROXY, ["198.51.100.1:123456"], PROXY),
        (PROXY, ["198.51.100.1:80:80"], PROXY),
        (PROXY, ["[198.51.100.1]:80"], PROXY),
        (PROXY, ["[2001:db9::5]4711"], PROXY),
        (PROXY, ["[2001:db9::5"], PROXY),
        (PROXY, ["[[2001:db9::5]]:1"], PROXY),
        (PROXY, [":4711"], PROXY),
        (PROXY, ["198.51.100.1,"], PROXY),
        (PROXY, ["010.0.0.1"], PROXY),
        (PROXY, ["\xe9"], PROXY),
        ("::ffff:10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("2001:db8::1", ["2001:db9::5"], "2001:db9::5"),
        (PROXY, ["::ffff:198.51.100.1"], "198.51.100.1"),
        (PROXY, [" \t198.51.100.1 "], "198.51.100.1"),
        (PROXY, [",".join(["198.51.100.1"] + ["10.0.0.2"] * 40)], "10.0.0.2"),
    ],
)
def test_the_address_is_the_rightmost_that_is_no_trusted_proxy(
    peer: str, forwarded: list[str], expected: str
) -> None:
    values = [value.encode("latin-1") for value in forwarded]
    assert client_address(peer, values, PROXIES) == expected


@pytest.mark.parametrize("place", ["::ffff:10.0.0.1", "::ffff:10.0.0.0/120"])
def test_a_network_of_ipv4_within_ipv6_is_that_of_ipv4(place: str) -> None:
    proxies = Proxies.at([place])
    for address in ("10.0.0.1", "::ffff:10.0.0.1"):
        assert proxies.trusts(address)
    for address in ("10.0.1.1", "::10.0.0.1", "192.0.2.1"):
        assert not proxies.trusts(address)


@given(
    written=st.lists(st.binary(max_size=40), max_size=4),
    stranger=st.ip_addresses().filter(lambda ip: not PROXIES.trusts(str(ip))),
)
def test_whatever_a_stranger_writes_his_address_is_his(written: list[bytes], stranger: Any) -> None:
    """A trusted proxy appends the address that it was asked from."""
    appended = [*written, str(stranger).encode()]
    mapped = getattr(stranger, "ipv4_mapped", None)
    expected = str(mapped or stranger)
    if not PROXIES.trusts(expected):
        assert client_address(PROXY, appended, PROXIES) == expected
        one = [b", ".join(appended)]
        assert client_address(PROXY, one, PROXIES) == expected


@given(
    stranger=st.ip_addresses().filter(lambda ip: not PROXIES.trusts(str(ip))),
    port=st.integers(min_value=0, max_value=65_535),
)
def test_an_address_with_a_port_is_the_address(stranger: Any, port: int) -> None:
    node = f"[{stranger}]:{port}" if stranger.version == 6 else f"{stranger}:{port}"
    plain = client_address(PROXY, [str(stranger).encode()], PROXIES)
    assert client_address(PROXY, [node.encode()], PROXIES) == plain


async def test_a_stranger_has_written_nothing() -> None:
    forged = [
        ("x-forwarded-for", "198.51.100.1"),
        ("x-client-cert", quote(PEM, safe="")),
        ("x-client-verify", "SUCCESS"),
        ("authorization", "Basic a"),
    ]
    scope = await seen(OUTSIDE, forged)
    assert scope["headers"] == [(b"authorization", b"Basic a")]
    assert scope["client"] == (OUTSIDE, 50_000)
    assert shown_certificate(scope) is None
    scope = await seen(OUTSIDE, forged, connection=OF_CONNECTION)
    assert shown_certificate(scope) == OF_CONNECTION


async def test_the_certificate_of_a_proxys_own_connection_is_not_the_clients() -> None:
    for header in (NGINX, None):
        scope = await seen(PROXY, [], header=header, connection=OF_CONNECTION)
        assert shown_certificate(scope) is None


@pytest.mark.parametrize(
    ("said", "verified"),
    [
        ("SUCCESS", True),
        *((said, False) for said in ("NONE", "FAILED:self signed certificate", "", "success")),
        ("SUCCESS ", False),
        (None, False),
    ],
)
async def test_a_trusted_proxy_hands_over_a_certificate(said: str | None, verified: bool) -> None:
    headers = [("x-client-cert", quote(PEM, safe="")), ("x-forwarded-for", "198.51.100.1")]
    if said is not None:
        headers.append(("x-client-verify", said))
    scope = await seen(PROXY, headers)
    assert shown_certificate(scope) == ClientCertificate(der=DER, verified=verified)
    assert scope["client"] == ("198.51.100.1", 0)
    assert scope["headers"] == []


@pytest.mark.parametrize("verified", [True, False])
async def test_each_form_is_read(verified: bool) -> None:
    of_field = CertificateHeader(name="client-cert", form="rfc9440", verified=verified)
    text = f":{base64.b64encode(DER).decode()}:"
    scope = await seen(PROXY, [("client-cert", text)], header=of_field)
    assert shown_certificate(scope) == ClientCertificate(der=DER, verified=verified)
    # As AWS writes it: +, = and / are left as they are.
    scope = await seen(PROXY, [("x-client-cert", quote(PEM, safe="+=/"))])
    assert shown_certificate(scope) == ClientCertificate(der=DER, verified=False)


@pytest.mark.parametrize("empty", [[], [("x-client-cert", "")]])
async def test_no_certificate_is_none(empty: list[tuple[str, str]]) -> None:
    scope = await seen(PROXY, [*empty, ("x-client-verify", "NONE")])
    assert shown_certificate(scope) is None


URL, FIELD = NGINX, CertificateHeader(name="x-client-cert", form="rfc9440")
GOOD_FIELD = f":{base64.b64encode(DER).decode()}:"


@pytest.mark.parametrize(
    ("header", "values"),
    [
        (URL, [quote(PEM, safe=""), quote(PEM, safe="")]),
        (URL, [quote(PEM + PEM, safe="")]),
        (URL, [quote(PEM, safe="")[:-6]]),
        (URL, [quote("x" + PEM, safe="")]),
        (URL, [quote(PEM + "x", safe="")]),
        (URL, [quote(PEM, safe="") + "%"]),
        (URL, [quote(PEM, safe="").replace("%0A", "%0Z", 1)]),
        (URL, [quote(quote(PEM, safe=""), safe="")]),
        (URL, [quote(PEM.replace("CERTIFICATE", "PRIVATE KEY"), safe="")]),
        (URL, [quote(PEM.replace("\n", "\n\x00", 1), safe="")]),
        (URL, [quote("-----BEGIN CERTIFICATE-----\n\n-----END CERTIFICATE-----", safe="")]),
        (URL, [quote("-----BEGIN CERTIFICATE-----\nA===\n-----END CERTIFICATE-----", safe="")]),
        (URL, [GOOD_FIELD]),
        (URL, [PEM.replace("\n", " ")]),
        (URL, ["(null)"]),
        (URL, ["a" * 50_000]),
        (FIELD, [quote(PEM, safe="")]),
        (FIELD, [GOOD_FIELD, GOOD_FIELD]),
        (FIELD, [f"{GOOD_FIELD}, {GOOD_FIELD}"]),
        (FIELD, [GOOD_FIELD + ";a=1"]),
        (FIELD, [" " + GOOD_FIELD]),
        (FIELD, [GOOD_FIELD[1:], GOOD_FIELD[:-1]]),
        (FIELD, ["::"]),
        (FIELD, [":"]),
        (FIELD, [":A:"]),
        (FIELD, [":AA-_:"]),
        (FIELD, [f":{base64.b64encode(b'a' * 8_193).decode()}:"]),
        (FIELD, ['"' + GOOD_FIELD[1:-1] + '"']),
    ],
)
async def test_what_is_no_certificate_is_an_error_and_never_none(
    header: CertificateHeader, values: list[str]
) -> None:
    """To take it for none would let a client through a proxy that it has confused."""
    scope = await seen(PROXY, [("x-client-cert", value) for value in values], header=header)
    with pytest.raises(CertificateHeaderError):
        shown_certificate(scope)


async def test_a_client_cannot_add_its_own_verification() -> None:
    twice = [("x-client-verify", "SUCCESS"), ("x-client-verify", "NONE")]
    scope = await seen(PROXY, [("x-client-cert", quote(PEM, safe="")), *twice])
    with pytest.raises(CertificateHeaderError):
        shown_certificate(scope)


@given(value=st.text(st.characters(max_codepoint=0xFF), max_size=200))
async def test_no_value_is_more_than_refused(value: str) -> None:
    for header in (URL, FIELD):
        scope = await seen(PROXY, [("x-client-cert", value)], header=header)
        try:
            certificate = shown_certificate(scope)
        except CertificateHeaderError:
            continue
        assert certificate is None or certificate.der


@pytest.mark.parametrize(
    "places",
    [
        *(["0.0.0.0/0"], ["::/0"], ["::ffff:0:0/96"]),
        *(["proxy.example"], ["10.0.0.1/24"], [""], ["10.0.0.0/33"]),
    ],
)
def test_a_proxy_is_named_and_not_everybody(places: list[str]) -> None:
    with pytest.raises(ConfigError):
        Proxies.at(places)


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": "X-Client-Cert"},
        {"name": "authorization"},
        {"name": "a b"},
        {"name": "x_client_cert"},
        {"name": "a", "verification": "a"},
        {"name": "a", "verification": "host"},
        {"name": "a", "verification": "b", "verified": True},
    ],
)
def test_a_header_that_could_not_be_meant_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        CertificateHeader(**wrong)
