# SPDX-License-Identifier: Apache-2.0
"""Devices and approvers behind a trusted proxy: their own addresses, and their certificates."""

from __future__ import annotations

import base64
import datetime
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from cryptography import x509

from keyfob.http.proxy import CertificateHeader, Proxies
from keyfob.server.certificates.identity import CertificateIdentity
from keyfob.server.mutual_tls import MutualTls
from keyfob.server.settings import ServerSettings
from tests.server.approving import Gateway, Page, add_operator, approver, gateway
from tests.server.client_certificates import Shown, named, signed
from tests.server.world import World, claims_of

pytestmark = pytest.mark.anyio

PROXY = "127.0.0.1"  # where httpx says that it asks from
DEVICE, NEIGHBOUR, FAR = "203.0.113.20", "203.0.113.20", "198.51.100.7"
OTHER_NETWORK = "another network than yours"


@pytest.fixture
def trusted() -> tuple[str, ...]:
    return (PROXY,)


@pytest.fixture
def settings(settings: ServerSettings, trusted: tuple[str, ...]) -> ServerSettings:
    header = CertificateHeader(name="client-cert", form="rfc9440", verified=True)
    proxies = Proxies.at(trusted, certificate=header)
    mutual_tls = MutualTls(proxies=proxies, base="https://mtls.example:8444")
    return replace(settings, mutual_tls=mutual_tls)


@pytest.fixture
def client(world: World) -> Gateway:
    add_operator(world)
    world.register.add_device("dev1")
    return gateway(world, public=True)


@contextmanager
def showing(world: World, **headers: str) -> Iterator[None]:
    """Let the proxy hand over something about the client."""
    kept = world.http.headers.copy()
    world.http.headers.update({name.replace("_", "-"): text for name, text in headers.items()})
    try:
        yield
    finally:
        world.http.headers = kept


def shown(certificate: Shown) -> str:
    return f":{base64.b64encode(certificate.der).decode()}:"


async def page_for(world: World, client: Gateway, *, device: str, operator: str) -> Page:
    """Begin at one address; return what an operator at another one sees, who then approves."""
    with showing(world, x_forwarded_for=device):
        begun = await client.begun(login_hint="dev1")
    async with approver(world) as browser:
        browser.http.headers["X-Forwarded-For"] = operator
        await browser.sign_in()
        page = await browser.compare(begun["user_code"])
        await browser.submit(page.form("decision"), compared="yes", decision="approve")
    return page


async def test_the_page_and_the_trail_tell_the_devices_and_the_approvers_own_addresses(
    world: World, client: Gateway
) -> None:
    page = await page_for(world, client, device=DEVICE, operator=FAR)
    for address in (DEVICE, FAR, OTHER_NETWORK):
        assert address in page.text
    assert PROXY not in page.text
    (line,) = [one for one in world.register.list_actions() if one.action == "device-code.approve"]
    assert (line.actor, line.detail) == (f"alice at {FAR}", f"for setup at {DEVICE}")
    told = {event.outcome: event.peer for event in world.events}
    assert told == {"signed_in": FAR, "approved": FAR}


async def test_who_is_in_the_devices_network_is_not_warned(world: World, client: Gateway) -> None:
    page = await page_for(world, client, device=DEVICE, operator=NEIGHBOUR)
    assert DEVICE in page.text
    assert OTHER_NETWORK not in page.text


async def test_an_address_that_a_client_writes_itself_does_not_count(
    world: World, client: Gateway
) -> None:
    # He would look like a neighbour of the operator; the proxy appends where he really is.
    page = await page_for(world, client, device=f"{FAR}, {DEVICE}", operator=FAR)
    assert OTHER_NETWORK in page.text
    assert DEVICE in page.text


@pytest.mark.parametrize("trusted", [("10.0.0.1",)])
async def test_past_the_proxy_nobody_says_where_he_is(world: World, client: Gateway) -> None:
    page = await page_for(world, client, device=DEVICE, operator=FAR)
    assert PROXY in page.text
    for address in (DEVICE, FAR, OTHER_NETWORK):
        assert address not in page.text


async def test_a_client_that_authenticates_by_certificate_begins_and_polls_with_it(
    world: World,
) -> None:
    add_operator(world)
    world.register.add_device("dev1")
    gateway(world, certificate=CertificateIdentity(san_dns="setup.example"))
    client = Gateway(world, "setup")
    now = datetime.datetime.fromtimestamp(world.clock.now, datetime.UTC)
    mine, other = (
        signed(named("x"), names=[x509.DNSName(name)], now=now)
        for name in ("setup.example", "other.example")
    )
    for headers in ({}, {"client_cert": shown(other)}):
        with showing(world, **headers):
            assert (await client.begin(login_hint="dev1")).json()["error"] == "invalid_client"
    with showing(world, client_cert=shown(mine)):
        begun = await client.begun(login_hint="dev1")
    async with approver(world) as browser:
        await browser.sign_in()
        await browser.decide(begun["user_code"])
    assert (await client.poll(begun["device_code"])).status_code == 401
    with showing(world, client_cert=shown(mine)):
        assert (await client.poll(begun["device_code"])).status_code == 200


async def test_tokens_and_refreshes_are_bound_to_the_certificate_of_the_poll(world: World) -> None:
    add_operator(world)
    world.register.add_device("dev1")
    client = gateway(world, public=True, refresh=True, certificate_bound=True)
    begun = await client.begun(login_hint="dev1")
    async with approver(world) as browser:
        await browser.sign_in()
        await browser.decide(begun["user_code"])
    missing = await client.poll(begun["device_code"])
    assert missing.json()["error"] == "invalid_request"  # which does not use the code up
    mine, stranger = signed(named("mine")), signed(named("stranger"))
    with showing(world, client_cert=shown(mine)):
        answer = await client.poll(begun["device_code"])
    jwks = (await world.http.get("/oauth2/jwks")).json()
    _, claims = claims_of(answer.json()["access_token"], jwks)
    assert claims["cnf"] == {"x5t#S256": mine.thumbprint}
    form = {"grant_type": "refresh_token", "refresh_token": answer.json()["refresh_token"]}
    form["client_id"] = "setup"
    with showing(world, client_cert=shown(stranger)):
        stolen = await world.http.post("/oauth2/token", data=form)
    assert stolen.json()["error"] == "invalid_grant"
    with showing(world, client_cert=shown(mine)):
        assert (await world.http.post("/oauth2/token", data=form)).status_code == 200


async def test_clients_with_certificates_are_told_where_to_begin(
    world: World, client: Gateway
) -> None:
    assert client.client_id == "setup"
    told = (await world.http.get("/.well-known/oauth-authorization-server")).json()
    assert told["mtls_endpoint_aliases"]["device_authorization_endpoint"] == (
        "https://mtls.example:8444/oauth2/device_authorization"
    )
