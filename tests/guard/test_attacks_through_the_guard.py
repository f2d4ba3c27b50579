# SPDX-License-Identifier: Apache-2.0
"""Forged tokens at the door that devices use: a CONNECT, a guard, an issuer that can be asked."""

from __future__ import annotations

import base64
import datetime
import hashlib
import json
import logging
import zlib
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from keyfob.authorization.decision import DenyReason
from keyfob.guard.guard import Guard
from keyfob.guard.key_sources import COOLDOWN, HttpKeySource
from keyfob.mqtt.topics import TopicName
from keyfob.tokens import base64url
from keyfob.tokens.sign import SigningKey
from tests.guard.world import ISSUER, KEY, Clock, HttpServer, guard, jwks, mint, request
from tests.work import peak_bytes

pytestmark = pytest.mark.anyio

THUMBPRINT = hashlib.sha256(b"certificate").digest()
BOUND = {"x5t#S256": base64url.encode(THUMBPRINT).decode()}
ATTACKER = SigningKey.generate()


def self_signed(key: SigningKey) -> str:
    """A real certificate that the attacker made, as ``x5c`` carries it (RFC 7515 section 4.1.6)."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "as.example")])
    begin = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key._private.public_key())
        .serial_number(1)
        .not_valid_before(begin)
        .not_valid_after(begin + datetime.timedelta(days=3650))
        .sign(key._private, hashes.SHA256())
    )
    return base64.b64encode(made.public_bytes(serialization.Encoding.DER)).decode()


def forged(header: dict[str, Any], *, key: SigningKey = ATTACKER, kid: str | None = None) -> str:
    """Good claims under an attacker's header, signed by the attacker."""
    members = {"alg": "ES256", "kid": kid or key.kid, "typ": "at+jwt", **header}
    head = base64url.encode(json.dumps(members).encode())
    body = mint().split(".")[1].encode()
    signed = head + b"." + body
    return (signed + b"." + base64url.encode(key.signature(signed))).decode()


def asking(http: HttpServer, clock: Clock) -> HttpKeySource:
    http.answer("/jwks", jwks(KEY))
    return HttpKeySource(ISSUER, jwks_uri=f"{http.url}/jwks", monotonic=clock)


async def reason(keeper: Guard, token: str, **changes: Any) -> DenyReason | None:
    decision = await keeper.connect(request(token=token, **changes), deadline=30)
    assert not decision.allowed
    assert decision.permissions.rules == ()
    return decision.reason


@pytest.mark.attack("J3", "signature_invalid", "key_unknown")
@pytest.mark.attack("J4", "signature_invalid", "key_unknown")
@pytest.mark.parametrize("name", ["jwk", "jku", "x5u", "x5c", "all"])
async def test_no_address_and_no_key_in_a_token_is_ever_used(
    http: HttpServer, clock: Clock, name: str
) -> None:
    """The attacker's server is up, serves the attacker's keys, and never hears from the guard."""
    for path in ("/evil.json", "/evil.pem"):
        http.answer(path, jwks(ATTACKER))
    header: dict[str, Any] = {
        "jwk": ATTACKER.public_jwk(),
        "jku": f"{http.url}/evil.json",
        "x5u": f"{http.url}/evil.pem",
        "x5c": [self_signed(ATTACKER)],
        "x5t#S256": "x",
    }
    chosen = header if name == "all" else {name: header[name]}
    keys = asking(http, clock)
    keeper = guard(keys=keys)
    assert await reason(keeper, forged(chosen)) is DenyReason.KEY_UNKNOWN
    assert await reason(keeper, forged(chosen, kid=KEY.kid)) is DenyReason.SIGNATURE_INVALID
    assert (await keeper.connect(request(token=forged(chosen, key=KEY)), deadline=30)).allowed
    assert set(http.requests) == {"/jwks"}
    await keys.aclose()


@pytest.mark.attack("J5", "key_unknown", "keys_unavailable")
@pytest.mark.parametrize("kid", ["../../jwks2", "/dev/null", "x' UNION SELECT '1';--", "|sleep 10"])
async def test_a_kid_leads_to_no_other_place_than_the_configured_one(
    http: HttpServer, clock: Clock, kid: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "keyfob")
    keys = asking(http, clock)
    keeper = guard(keys=keys)
    assert await reason(keeper, forged({}, kid=f"{kid}!")) is DenyReason.KEY_UNKNOWN
    for number in range(20):
        # Nobody asked for these yet, and the cooldown forbids to.
        token = forged({}, kid=f"{kid}{number}")
        assert await reason(keeper, token) is DenyReason.KEYS_UNAVAILABLE
    assert http.requests == ["/jwks"]
    clock.now += COOLDOWN
    assert await reason(keeper, forged({}, kid=kid)) is DenyReason.KEY_UNKNOWN
    assert http.requests == ["/jwks", "/jwks"]
    assert kid not in caplog.text
    await keys.aclose()


@pytest.mark.attack("J12", "token_encrypted")
@pytest.mark.parametrize(
    "header",
    [
        {"alg": "dir", "enc": "A256GCM", "zip": "DEF"},
        {"alg": "PBES2-HS256+A128KW", "enc": "A128CBC-HS256", "p2s": "AAAA", "p2c": 2**31 - 1},
        {"alg": "RSA-OAEP-256", "enc": "A256GCM", "zip": "DEF", "cty": "JWT"},
    ],
)
async def test_nothing_encrypted_is_decrypted_nothing_compressed_unfolded(
    header: dict[str, Any],
) -> None:
    """A bomb of 4 MB folded into 5 kB: refused by the number of its parts, in no more memory."""
    folded = zlib.compress(b" " * 4_000_000, 9)
    parts = (json.dumps(header).encode(), b"" if header["alg"] == "dir" else b"k", b"iv", folded)
    token = b".".join(map(base64url.encode, (*parts, b"tag"))).decode()
    keeper = guard()
    assert await reason(keeper, token) is DenyReason.TOKEN_ENCRYPTED
    asked = request(token=token)
    assert peak_bytes(lambda: keeper.decide(asked)) < 16 * len(token)


@pytest.mark.attack("J17", "claim_invalid")
async def test_a_device_that_is_no_clean_text_is_nobody() -> None:
    keeper = guard()
    for subject in ("dev1\0", "dev1\n", "\x7f", "dev\x85", "\ufeff\0"):
        assert await reason(keeper, mint(subject)) is DenyReason.CLAIM_INVALID


@pytest.mark.attack("J17")
@pytest.mark.parametrize("bad", ["%00", "%C0%80", "%ed%a0%80", "%FF", "\\ud800", "a\0b", "%", "é"])
async def test_a_topic_that_mqtt_cannot_say_is_never_granted(bad: str) -> None:
    """It spoils no more than its own scope, and is told as ignored."""
    token = mint(scope=f"mqtt.connect mqtt.publish:up/{bad} mqtt.publish:ok/1")
    decision = await guard().connect(request(token=token), deadline=1)
    assert decision.allowed
    assert [str(rule.filter) for rule in decision.permissions.rules] == ["ok/1"]
    assert decision.permissions.publish(TopicName.parse("ok/1")).allowed
    assert any(not step.ok and "is ignored" in step.detail for step in decision.steps)


@pytest.mark.attack("J18", "confirmation_unproven")
@pytest.mark.attack("J19", "confirmation_unproven")
@pytest.mark.parametrize("shown", [None, b"", bytes(32), THUMBPRINT[:-1], THUMBPRINT[::-1]])
async def test_what_one_tls_session_proved_is_proven_in_no_other(shown: bytes | None) -> None:
    keeper = guard()
    token = mint(cnf=BOUND)
    assert keeper.decide(request(token=token, certificate_thumbprint=THUMBPRINT)).allowed
    for _ in range(2):
        got = await reason(keeper, token, certificate_thumbprint=shown)
        assert got is DenyReason.CONFIRMATION_UNPROVEN
    assert keeper.decide(request(token=token, certificate_thumbprint=THUMBPRINT)).allowed


@pytest.mark.attack("J18", "confirmation_unproven", "claim_invalid", "duplicate_member")
async def test_a_bound_token_is_never_taken_for_a_bearer_token() -> None:
    """However ``cnf`` is written: downgraded, doubled, emptied, with the key's private part."""
    keeper = guard()
    private = {"jwk": {"kty": "EC", "crv": "P-256", "x": "A", "y": "A", "d": "A"}}
    for bound in (
        {"jkt": "x"},
        {"kid": "x"},
        {},
        private,
        {**BOUND, **private},
        {**BOUND, "jkt": "x"},
    ):
        for shown in (None, THUMBPRINT):
            got = await reason(keeper, mint(cnf=bound), certificate_thumbprint=shown)
            assert got is DenyReason.CONFIRMATION_UNPROVEN
    nothing: tuple[Any, ...] = ("", [], 0, False, "x5t#S256")
    for cnf in nothing:
        got = await reason(keeper, mint(cnf=cnf), certificate_thumbprint=THUMBPRINT)
        assert got is DenyReason.CLAIM_INVALID
    head, body, _ = mint(cnf=BOUND).split(".")
    twice = base64url.decode(body.encode()).replace(b"{", b'{"cnf":{"x5t#S256":"x"},', 1)
    signed = f"{head}.{base64url.encode(twice).decode()}".encode()
    token = (signed + b"." + base64url.encode(KEY.signature(signed))).decode()
    got = await reason(keeper, token, certificate_thumbprint=THUMBPRINT)
    assert got is DenyReason.DUPLICATE_MEMBER
