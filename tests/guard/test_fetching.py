# SPDX-License-Identifier: Apache-2.0
"""A fetch is bounded in time, size and direction."""

from __future__ import annotations

import asyncio
import gzip
import traceback
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from keyfob.errors import ConfigError, KeyfobError, UpstreamError
from keyfob.guard.fetching import MAX_BODY, MAX_CONNECTIONS, Fetcher
from keyfob.oauth.urls import require_safe
from tests.guard.world import HttpServer

pytestmark = pytest.mark.anyio


async def test_a_document_arrives_with_its_age(http: HttpServer) -> None:
    http.answer("/x", b'{"a":1}', headers="Cache-Control: public, max-age=120\r\n")
    async with Fetcher() as fetcher:
        answer = await fetcher.get(f"{http.url}/x")
    assert (answer.body, answer.max_age) == (b'{"a":1}', 120.0)


@pytest.mark.parametrize(
    ("header", "age"),
    [
        ("", None),
        ("Cache-Control: private\r\n", None),
        ("Cache-Control: max-age=60\r\n", 60.0),
        ('Cache-Control: Max-Age="60"\r\n', 60.0),
        ("Cache-Control: max-age=60, no-cache\r\n", 0.0),
        ("Cache-Control: no-store\r\n", 0.0),
        ("Cache-Control: max-age=-5\r\n", None),
        ("Cache-Control: max-age=99999999999999999999\r\n", 999_999_999_999.0),
    ],
)
async def test_the_age_is_what_rfc_9111_says(
    http: HttpServer, header: str, age: float | None
) -> None:
    http.answer("/x", b"{}", headers=header)
    async with Fetcher() as fetcher:
        assert (await fetcher.get(f"{http.url}/x")).max_age == age


@pytest.mark.attack("J20")
async def test_a_redirect_is_not_followed(http: HttpServer) -> None:
    """J20: an issuer cannot send the guard elsewhere."""
    http.answer("/x", b"", status=302, headers=f"Location: {http.url}/y\r\n")
    http.answer("/y", b"{}")
    async with Fetcher() as fetcher:
        with pytest.raises(UpstreamError, match="redirects are not followed"):
            await fetcher.get(f"{http.url}/x")
    assert http.requests == ["/x"]


@pytest.mark.attack("J20")
@pytest.mark.parametrize("declared", [True, False])
async def test_a_body_without_end_is_cut_off(http: HttpServer, declared: bool) -> None:
    """J20: neither a declared nor an undeclared length makes the guard read more."""
    sent = 0

    async def flood(writer: asyncio.StreamWriter, _: str) -> None:
        nonlocal sent
        length = b"Content-Length: 1000000000\r\n" if declared else b""
        writer.write(b"HTTP/1.1 200 X\r\nConnection: close\r\n" + length + b"\r\n")
        while True:
            writer.write(b"x" * 65536)
            sent += 65536
            await writer.drain()

    http.routes["/x"] = flood
    async with Fetcher() as fetcher:
        with pytest.raises(UpstreamError, match=f"more than {MAX_BODY} bytes"):
            await fetcher.get(f"{http.url}/x")
    assert sent < 32 * MAX_BODY


async def test_a_body_of_just_the_limit_is_read(http: HttpServer) -> None:
    http.answer("/x", b"x" * 100)
    async with Fetcher() as fetcher:
        assert len((await fetcher.get(f"{http.url}/x", limit=100)).body) == 100
        with pytest.raises(UpstreamError):
            await fetcher.get(f"{http.url}/x", limit=99)


@pytest.mark.attack("J20")
async def test_a_dripping_body_meets_the_deadline(http: HttpServer) -> None:
    """J20: every single read is quick, the whole would take a minute."""

    async def drip(writer: asyncio.StreamWriter, __: str) -> None:
        writer.write(b"HTTP/1.1 200 X\r\nContent-Length: 6000\r\n\r\n")
        for _ in range(6000):
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.01)

    http.routes["/x"] = drip
    async with Fetcher() as fetcher:
        with pytest.raises(UpstreamError, match="no complete answer"):
            await fetcher.get(f"{http.url}/x", deadline=0.1)


@pytest.mark.attack("J20")
async def test_a_compressed_body_is_refused_before_it_unfolds(http: HttpServer) -> None:
    bomb = gzip.compress(b"x" * (4 * MAX_BODY))
    http.answer("/x", bomb, headers="Content-Encoding: gzip\r\n")
    async with Fetcher() as fetcher:
        with pytest.raises(UpstreamError, match="compressed"):
            await fetcher.get(f"{http.url}/x")
    assert http.headers[0]["accept-encoding"] == "identity"


@pytest.mark.parametrize(
    ("status", "code"),
    [(404, "upstream_invalid"), (401, "upstream_invalid"), (503, "upstream_unavailable")],
)
async def test_a_status_says_whether_later_may_help(
    http: HttpServer, status: int, code: str
) -> None:
    http.answer("/x", b"secret body", status=status)
    async with Fetcher() as fetcher:
        with pytest.raises(UpstreamError) as error:
            await fetcher.get(f"{http.url}/x")
    assert error.value.code == code
    assert "secret body" not in str(error.value)


async def test_nobody_listening_is_unavailable() -> None:
    async with Fetcher() as fetcher:
        with pytest.raises(UpstreamError) as error:
            await fetcher.get("http://127.0.0.1:1/x")
    assert error.value.code == "upstream_unavailable"


async def test_tls_is_verified_against_the_given_ca_alone(
    https: HttpServer, certificates: Path
) -> None:
    https.answer("/x", b"{}")
    async with Fetcher(ca=certificates / "ca.pem") as fetcher:
        assert (await fetcher.get(f"{https.url}/x")).body == b"{}"
    async with Fetcher() as fetcher:
        with pytest.raises(UpstreamError, match="CERTIFICATE_VERIFY_FAILED"):
            await fetcher.get(f"{https.url}/x")


async def test_the_certificate_must_be_for_the_host(https: HttpServer, certificates: Path) -> None:
    https.answer("/x", b"{}")
    by_address = https.url.replace("localhost", "127.0.0.1")
    async with Fetcher(ca=certificates / "ca.pem") as fetcher:
        with pytest.raises(UpstreamError, match="CERTIFICATE_VERIFY_FAILED"):
            await fetcher.get(f"{by_address}/x")


async def test_an_unusable_ca_file_is_the_operators_to_mend(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("not a certificate")
    for name in ("ca.pem", "missing.pem"):
        async with Fetcher(ca=tmp_path / name) as fetcher:
            with pytest.raises(ConfigError, match=name):
                await fetcher.get("https://as.example/x")


async def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(
    http: HttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    http.answer("/x", b"{}")
    async with Fetcher() as fetcher:
        assert (await fetcher.get(f"{http.url}/x")).body == b"{}"


async def test_it_goes_on_after_being_closed(http: HttpServer) -> None:
    http.answer("/x", b"{}")
    fetcher = Fetcher()
    await fetcher.get(f"{http.url}/x")
    await fetcher.aclose()
    await fetcher.get(f"{http.url}/x")
    await fetcher.aclose()
    assert http.count("/x") == 2


@pytest.mark.parametrize(
    "url",
    [
        "https://as.example/keys",
        "https://10.0.0.1/keys",
        "http://localhost:8080/",
        "http://127.0.0.1/",
        "http://127.8.8.8/",
        "http://[::1]:80/",
    ],
)
def test_https_and_this_machine_are_safe(url: str) -> None:
    assert require_safe(url).geturl() == url


@pytest.mark.parametrize(
    "url",
    [
        "http://as.example/",
        "http://10.0.0.1/",
        "http://localhost.evil.example/",
        "http://127.0.0.1.evil.example/",
        "ftp://localhost/",
        "file:///etc/passwd",
        "https://user:password@as.example/",
        "http://localhost@evil.example/",
        "https://as.example/#fragment",
        "https:///path",
        "https://as.example:port/",
        "https://[::1",
        "",
    ],
)
def test_everything_else_is_refused_without_repeating_credentials(url: str) -> None:
    with pytest.raises(ConfigError) as error:
        require_safe(url)
    assert "password" not in str(error.value)


async def test_a_form_is_posted_and_its_answer_read(http: HttpServer) -> None:
    http.answer("/x", b"{}", headers="Content-Type: Application/JSON; charset=utf-8\r\n")
    async with Fetcher() as fetcher:
        form = {"a": "1 2&=+é", "b": ""}
        answer = await fetcher.post(f"{http.url}/x", form, headers={"Authorization": "Basic eA=="})
    assert (answer.body, answer.media_type) == (b"{}", "application/json")
    assert parse_qs(http.bodies[0].decode(), keep_blank_values=True) == {
        name: [value] for name, value in form.items()
    }
    sent = http.headers[0]
    assert sent["content-type"] == "application/x-www-form-urlencoded"
    assert sent["authorization"] == "Basic eA=="
    assert sent["accept-encoding"] == "identity"


async def test_a_connection_is_used_again(http: HttpServer) -> None:
    http.answer("/x", b"{}")
    async with Fetcher() as fetcher:
        for _ in range(10):
            await fetcher.post(f"{http.url}/x", {"a": "b"})
    assert (http.count("/x"), http.connections) == (10, 1)


async def test_connections_are_bounded(http: HttpServer) -> None:
    http.answer("/x", b"{}")
    async with Fetcher() as fetcher:
        posts = (fetcher.post(f"{http.url}/x", {"a": "b"}) for _ in range(100))
        await asyncio.gather(*posts)
    assert http.count("/x") == 100
    assert http.connections <= MAX_CONNECTIONS


async def test_a_form_is_never_repeated(http: HttpServer) -> None:
    """Not to where a redirect points, and not in an error."""
    secret = "s3cr3t-t0ken"  # a value to look for
    http.answer("/x", secret, status=307, headers=f"Location: {http.url}/y\r\n")
    async with Fetcher() as fetcher:
        for url in (f"{http.url}/x", "http://127.0.0.1:1/x", "http://127.0.0.1:99999/x"):
            with pytest.raises(KeyfobError) as caught:
                await fetcher.post(url, {"token": secret}, headers={"Authorization": secret})
            assert secret not in "".join(traceback.format_exception(caught.value))
    assert http.requests == ["/x"]


async def test_a_header_that_cannot_be_sent_is_not_repeated(http: HttpServer) -> None:
    secret = "s3cr3t-t0ken"
    async with Fetcher() as fetcher:
        with pytest.raises(UpstreamError, match="cannot be sent") as caught:
            await fetcher.get(f"{http.url}/x", headers={"Authorization": f"Bearer a\n{secret}"})
    assert secret not in str(caught.value)


async def test_a_dripping_answer_to_a_form_meets_the_deadline(http: HttpServer) -> None:
    async def drip(writer: asyncio.StreamWriter, __: str) -> None:
        writer.write(b"HTTP/1.1 200 X\r\n")
        for number in range(6000):
            writer.write(b"X-%d: y\r\n" % number)
            await writer.drain()
            await asyncio.sleep(0.01)

    http.routes["/x"] = drip
    async with Fetcher() as fetcher:
        with pytest.raises(UpstreamError, match="no complete answer"):
            await fetcher.post(f"{http.url}/x", {}, deadline=0.1)


async def test_a_server_that_echoes_a_form_brings_it_into_no_error(http: HttpServer) -> None:
    async def echo(writer: asyncio.StreamWriter, _: str) -> None:
        writer.write(http.bodies[-1] + b"\r\n\r\n")

    http.routes["/x"] = echo
    form = {"token": "s3cr3t"}
    async with Fetcher() as fetcher:
        with pytest.raises(UpstreamError, match="speaks no HTTP") as caught:
            await fetcher.post(f"{http.url}/x", form)
    assert b"s3cr3t" in http.bodies[0]
    assert "s3cr3t" not in "".join(traceback.format_exception(caught.value))


async def test_cookies_are_not_kept(http: HttpServer) -> None:
    http.answer("/x", b"{}", headers="Set-Cookie: a=b; Path=/\r\n")
    async with Fetcher() as fetcher:
        for _ in range(2):
            await fetcher.get(f"{http.url}/x")
    assert all("cookie" not in sent for sent in http.headers)
