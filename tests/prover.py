# SPDX-License-Identifier: Apache-2.0
"""A device that proves to have its key, by docs/proof-of-possession.md and nothing of Keyfob."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import struct
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

__all__ = ["DeviceKey", "ace_answer", "ace_token", "ath", "b64", "dpop_proof", "unb64"]

Private = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | bytes


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class DeviceKey:
    """A key of a device; the bytes of a symmetric one."""

    def __init__(self, private: Private) -> None:
        self._private = private

    @classmethod
    def generate(cls, alg: str = "EdDSA") -> DeviceKey:
        if alg == "EdDSA":
            return cls(ed25519.Ed25519PrivateKey.generate())
        if alg == "ES256":
            return cls(ec.generate_private_key(ec.SECP256R1()))
        return cls(rsa.generate_private_key(65537, 2048))

    @classmethod
    def of(cls, jwk: Mapping[str, str]) -> DeviceKey:
        """Read the JWK of a private or symmetric key."""
        if jwk["kty"] == "oct":
            return cls(unb64(jwk["k"]))
        if jwk["kty"] == "OKP":
            return cls(ed25519.Ed25519PrivateKey.from_private_bytes(unb64(jwk["d"])))
        return cls(ec.derive_private_key(int.from_bytes(unb64(jwk["d"]), "big"), ec.SECP256R1()))

    @property
    def alg(self) -> str:
        if isinstance(self._private, bytes):
            return "HS256"
        if isinstance(self._private, ed25519.Ed25519PrivateKey):
            return "EdDSA"
        return "ES256" if isinstance(self._private, ec.EllipticCurvePrivateKey) else "RS256"

    @property
    def jwk(self) -> dict[str, str]:
        """The public key; all of a symmetric one."""
        key = self._private
        if isinstance(key, bytes):
            return {"kty": "oct", "k": b64(key)}
        if isinstance(key, ed25519.Ed25519PrivateKey):
            return {"kty": "OKP", "crv": "Ed25519", "x": b64(key.public_key().public_bytes_raw())}
        if isinstance(key, ec.EllipticCurvePrivateKey):
            point = key.public_key().public_numbers()
            return {
                "kty": "EC",
                "crv": "P-256",
                "x": b64(point.x.to_bytes(32, "big")),
                "y": b64(point.y.to_bytes(32, "big")),
            }
        modulus = key.public_key().public_numbers().n
        return {"kty": "RSA", "n": b64(modulus.to_bytes(256, "big")), "e": "AQAB"}

    @property
    def jkt(self) -> str:
        """The thumbprint (RFC 7638)."""
        text = json.dumps(self.jwk, sort_keys=True, separators=(",", ":"))
        return b64(hashlib.sha256(text.encode()).digest())

    def sign(self, data: bytes) -> bytes:
        key = self._private
        if isinstance(key, bytes):
            return hmac.new(key, data, "sha256").digest()
        if isinstance(key, ed25519.Ed25519PrivateKey):
            return key.sign(data)
        if isinstance(key, rsa.RSAPrivateKey):
            return key.sign(data, padding.PKCS1v15(), SHA256())
        r, s = decode_dss_signature(key.sign(data, ec.ECDSA(SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def ace_token(token: str | bytes) -> bytes:
    """The authentication data of CONNECT (RFC 9431 section 2.2.4)."""
    data = token.encode() if isinstance(token, str) else token
    return struct.pack("!H", len(data)) + data


def ace_answer(key: DeviceKey, broker_nonce: bytes, client_nonce: bytes = b"\1" * 8) -> bytes:
    """The authentication data of the AUTH that answers the challenge."""
    return client_nonce + key.sign(broker_nonce + client_nonce)


def ath(token: str) -> str:
    return b64(hashlib.sha256(token.encode("ascii")).digest())


def dpop_proof(
    key: DeviceKey,
    token: str,
    nonce: bytes,
    client_id: str = "dev1",
    /,
    *,
    aud: Any = "mqtt",
    header: Mapping[str, Any] | None = None,
    by: DeviceKey | None = None,
    **claims: Any,
) -> bytes:
    """A proof for ``OAUTH2-DPOP``, good but for what is given; None leaves a member out."""
    head: dict[str, Any] = {"typ": "dpop-mqtt+jwt", "alg": key.alg, "jwk": key.jwk}
    body: dict[str, Any] = {
        "jti": "1",
        "iat": 1_790_000_000,
        "ath": ath(token),
        "aud": aud,
        "mqtt_client_id": client_id,
        "nonce": nonce.decode("ascii"),
    }
    parts = [
        {name: value for name, value in {**members, **(changes or {})}.items() if value is not None}
        for members, changes in ((head, header), (body, claims))
    ]
    signed = ".".join(b64(json.dumps(part).encode()) for part in parts)
    return f"{signed}.{b64((by or key).sign(signed.encode()))}".encode()
