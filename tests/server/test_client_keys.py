# SPDX-License-Identifier: Apache-2.0
"""The keys that a client registers: public ones, all of them fit, not too many."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from joserfc.jwk import ECKey, OctKey

from keyfob.errors import ConfigError, ConflictError, NotFoundError
from keyfob.server.client_keys import MAX_CLIENT_JWKS_BYTES, client_jwks, client_keys
from keyfob.server.register import Register
from keyfob.server.wishes import ApplicationWish, DeviceWish, Rights
from keyfob.tokens.sign import SigningKey
from tests.server.assertions import jwks_of

KEYS = [SigningKey.generate(alg) for alg in ("ES256", "EdDSA", "RS256")]
PUBLIC = KEYS[0].public_jwk()


def document(*keys: Any) -> bytes:
    return json.dumps({"keys": keys}).encode()


def test_a_set_of_every_type_is_kept_and_shown() -> None:
    kept = client_jwks(jwks_of(*KEYS))
    assert [key.kid for key in client_keys(kept)] == [key.kid for key in KEYS]
    assert [key.algorithm for key in client_keys(kept)] == ["ES256", "Ed25519", "RS256"]
    assert client_keys(None) == ()
    assert client_jwks(kept.encode()) == kept


def test_one_jwk_is_a_set_of_one() -> None:
    assert client_jwks(json.dumps(PUBLIC).encode()) == client_jwks(document(PUBLIC))


def test_a_key_without_a_name_is_called_by_its_thumbprint_and_nothing_else_is_kept() -> None:
    bare = {name: PUBLIC[name] for name in ("kty", "crv", "x", "y")}
    kept = json.loads(client_jwks(document(bare | {"x5c": ["MIIB"], "note": "mine"})))
    assert kept == {"keys": [bare | {"kid": KEYS[0].kid}]}


def private_jwk() -> dict[str, Any]:
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return dict(ECKey.import_key(pem).as_dict(private=True))


def test_a_private_key_is_refused_and_not_repeated() -> None:
    private = private_jwk()
    for keys in ((private,), (PUBLIC, private)):
        with pytest.raises(ConfigError, match="private key") as caught:
            client_jwks(document(*keys))
        assert private["d"] not in str(caught.value)
    with pytest.raises(ConfigError, match="private key"):
        client_jwks(json.dumps(private).encode())


@pytest.mark.parametrize("member", ["d", "p", "q", "dp", "dq", "qi", "oth", "k"])
def test_every_private_member_is_one(member: str) -> None:
    with pytest.raises(ConfigError, match="private"):
        client_jwks(document(PUBLIC | {member: "AA"}))


def test_a_shared_secret_is_no_public_key() -> None:
    secret = OctKey.generate_key(256).as_dict(private=True)
    with pytest.raises(ConfigError, match="private"):
        client_jwks(document(secret))
    with pytest.raises(ConfigError, match="shared secret"):
        client_jwks(document({"kty": "oct", "kid": "a"}))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "no JWK Set"),
        (b"[]", "no JWK Set"),
        (b"{}", "no JWK Set"),
        (b'{"keys": {}}', "no JWK Set"),
        (b"-----BEGIN PUBLIC KEY-----", "no JWK Set"),
        (b'{"keys": [], "keys": []}', "twice"),
        (b'{"keys": []}', "1 to 8"),
        (document(*[PUBLIC] * 9), "1 to 8"),
        (b" " * (MAX_CLIENT_JWKS_BYTES + 1), "16384 bytes"),
        (document(1), "cannot be used"),
        (document(PUBLIC | {"use": "enc"}), "not for signatures"),
        (document(PUBLIC | {"alg": "HS256"}), "not supported"),
        (document(PUBLIC | {"alg": "RS256"}), "not supported"),
        (document(PUBLIC | {"crv": "P-384"}), "curve"),
        (document(PUBLIC | {"x": PUBLIC["y"]}), "cannot be used"),
        (document(PUBLIC | {"kid": 1}), "kid"),
        (document(PUBLIC | {"kid": "k" * 257}), "256 printable"),
        (document(PUBLIC | {"kid": "a\nb"}), "256 printable"),
        (
            document(PUBLIC | {"kid": "a"}, SigningKey.generate().public_jwk() | {"kid": "a"}),
            "called 'a'",
        ),
        (
            document(
                {name: PUBLIC[name] for name in ("kty", "crv", "x", "y")},
                SigningKey.generate().public_jwk() | {"kid": KEYS[0].kid},
            ),
            "called",
        ),
    ],
)
def test_what_is_no_set_of_fit_keys_is_refused(text: bytes, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        client_jwks(text)


def test_a_device_with_keys_has_no_secret_and_gets_none_by_the_way(register: Register) -> None:
    issued = register.add_device(
        DeviceWish("dev1", rights=Rights(publish=["a/{device}"]), jwks=jwks_of(*KEYS))
    )
    assert issued.secret == ""
    device = issued.device
    assert device == register.show_device("dev1")
    assert not device.has_secret
    assert [key.kid for key in device.keys] == [key.kid for key in KEYS]
    assert device.scopes == ("mqtt.connect", "mqtt.publish:a/dev1")
    with pytest.raises(ConflictError, match="set-jwks"):
        register.rotate_secret("dev1")
    with pytest.raises(ConflictError):
        register.add_device(DeviceWish("dev1", jwks=jwks_of(*KEYS)))


def test_keys_that_are_refused_change_nothing(register: Register) -> None:
    register.add_device(DeviceWish("dev1", jwks=jwks_of(KEYS[0])))
    before = register.show_device("dev1")
    with pytest.raises(ConfigError):
        register.set_device_jwks("dev1", document(private_jwk()), remove_secret=True)
    with pytest.raises(ConfigError):
        register.add_device(DeviceWish("dev2", jwks=b"{}"))
    with pytest.raises(NotFoundError):
        register.set_device_jwks("dev2", jwks_of(KEYS[0]))
    assert register.list_devices() == (before,)


def test_an_application_with_keys_is_not_public(register: Register) -> None:
    issued = register.add_application(ApplicationWish("backend", jwks=jwks_of(KEYS[0])))
    assert issued.secret is None
    assert not issued.application.public
    assert not register.set_application_jwks("backend", jwks_of(KEYS[1])).public
    with pytest.raises(ConfigError, match="neither"):
        register.add_application(ApplicationWish("phone", public=True, jwks=jwks_of(KEYS[0])))
    register.add_application(ApplicationWish("phone", public=True))
    with pytest.raises(ConfigError, match="neither"):
        register.set_application_jwks("phone", jwks_of(KEYS[0]))
    register.add_device("dev1")
    with pytest.raises(NotFoundError):
        register.set_application_jwks("dev1", jwks_of(KEYS[0]))
