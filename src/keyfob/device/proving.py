# SPDX-License-Identifier: Apache-2.0
"""The device's side of ``ace`` and ``OAUTH2-DPOP``: it proves to have the key of its token.

    TokenSource(…, parameters=req_cnf(key))      attach(…, carry="auth:ace", method=ace(key))
    TokenSource(…, dpop=key)                     attach(…, carry="auth:OAUTH2-DPOP",
                                                        method=oauth2_dpop(key, client_id="dev1"))

Both answer the broker's challenge; docs/proof-of-possession.md has every byte of it. ``ace`` is
RFC 9431's (section 2.2.4.2.2), ``OAUTH2-DPOP`` is Keyfob's own.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import time
from collections.abc import Mapping
from typing import Final

from keyfob.device.dpop import proof_jwt, public_members
from keyfob.device.methods import Method
from keyfob.device.token import Token
from keyfob.errors import ConfigError, ProtocolError
from keyfob.tokens import base64url
from keyfob.tokens.sign import SigningKey

__all__ = ["ace", "oauth2_dpop", "req_cnf"]

ACE_NONCE_BYTES: Final = 8
DPOP_MQTT_TYPE: Final = "dpop-mqtt+jwt"
LONGEST_NONCE: Final = 1024
"""Characters that a broker's nonce has at most: a proof has to fit into a packet."""


def req_cnf(key: SigningKey) -> dict[str, str]:
    """Return the parameter that asks for tokens bound to a key (RFC 9201 section 3.1).

    Args:
        key: The device's key, for Ed25519 or ES256.

    Raises:
        ConfigError: ``ace`` has no algorithm for this key (RFC 9431 section 2.2.5).
    """
    _require_ace(key)
    return {"req_cnf": json.dumps({"jwk": public_members(key)}, separators=(",", ":"))}


def ace(key: SigningKey | None = None) -> Method:
    """Return the method ``ace``.

    Args:
        key: The device's key, for Ed25519 or ES256, that its tokens are bound to; None: each token
            comes with a symmetric one (RFC 9201 section 3.2).

    Raises:
        ConfigError: ``ace`` has no algorithm for this key.
    """
    if key is not None:
        _require_ace(key)
    return lambda token: _Ace(token, key)


def oauth2_dpop(key: SigningKey, *, client_id: str, audience: str = "mqtt") -> Method:
    """Return the method ``OAUTH2-DPOP``.

    Args:
        key: The key that the tokens are bound to: the ``dpop`` of their source.
        client_id: The MQTT client identifier as CONNECT has it.
        audience: The audience that the tokens are for at this broker.
    """
    return lambda token: _Dpop(token, key, client_id, audience)


class _Ace:
    """A token, then a signature or MAC of both sides' nonces."""

    def __init__(self, token: Token, key: SigningKey | None) -> None:
        if key is None and token.proof_key is None:
            raise ProtocolError("the token came without a key, and the device has none")
        self._token, self._key = token, key

    def begin(self) -> bytes:
        data = self._token.access_token.encode()
        return len(data).to_bytes(2) + data

    def respond(self, data: bytes) -> bytes:
        if len(data) != ACE_NONCE_BYTES:
            said = f"the broker's nonce has {len(data)} bytes, not {ACE_NONCE_BYTES}"
            raise ProtocolError(said)
        nonce = os.urandom(ACE_NONCE_BYTES)
        return nonce + self._answer(data + nonce)

    def _answer(self, signed: bytes) -> bytes:
        if self._key is not None:
            return self._key.signature(signed)
        assert self._token.proof_key is not None  # noqa: S101 - checked when it was made
        return hmac.digest(self._token.proof_key, signed, "sha256")


class _Dpop:
    """A token, then a signed statement about it, this client and the broker's nonce."""

    def __init__(self, token: Token, key: SigningKey, client_id: str, audience: str) -> None:
        self._token, self._key = token, key
        self._about: Mapping[str, object] = {"aud": audience, "mqtt_client_id": client_id}

    def begin(self) -> bytes:
        return self._token.access_token.encode()

    def respond(self, data: bytes) -> bytes:
        if not 0 < len(data) <= LONGEST_NONCE or not data.isascii():
            raise ProtocolError(f"the broker's nonce is none ({len(data)} bytes)")
        digest = hashlib.sha256(self._token.access_token.encode()).digest()
        claims = {
            "jti": secrets.token_urlsafe(16),
            "iat": int(time.time()),
            "ath": base64url.encode(digest).decode("ascii"),
            "nonce": data.decode("ascii"),
            **self._about,
        }
        return proof_jwt(self._key, DPOP_MQTT_TYPE, claims).encode()


def _require_ace(key: SigningKey) -> None:
    if key.alg not in {"EdDSA", "Ed25519", "ES256"}:
        raise ConfigError(f"ace has no proof by {key.alg}: use a key for EdDSA or ES256")
