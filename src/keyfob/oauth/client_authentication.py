# SPDX-License-Identifier: Apache-2.0
"""How a client proves to an authorization server who it is (RFC 6749 section 2.3, RFC 7523).

Each method makes a ``Proof`` for one request: headers, or parameters for its form. Neither a
method nor a proof shows its secret.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol
from urllib.parse import quote_plus

import msgspec

from keyfob.errors import ConfigError
from keyfob.tokens import base64url
from keyfob.tokens.sign import SigningKey

__all__ = [
    "ClientAuthentication",
    "ClientSecretBasic",
    "ClientSecretPost",
    "NoClient",
    "PrivateKeyJwt",
    "Proof",
    "PublicClient",
]

ASSERTION_LIFETIME: Final = 60
"""Seconds that a signed assertion is good for: a request, and clocks that differ a little."""

_JWT_BEARER: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What one request carries to authenticate the client: header fields and form parameters."""

    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    parameters: Mapping[str, str] = field(default_factory=dict, repr=False)


class ClientAuthentication(Protocol):
    """One method of client authentication."""

    @property
    def client_id(self) -> str:
        """What the client is registered as; empty: it is not."""

    def prove(self, now: float) -> Proof:
        """Make the proof for one request.

        Args:
            now: Unix seconds.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class _ClientSecret:
    client_id: str
    client_secret: str = field(repr=False)

    def __post_init__(self) -> None:
        if not self.client_id or not self.client_secret:
            raise ConfigError("a client needs a client_id and a client_secret")


class ClientSecretBasic(_ClientSecret):
    """``client_secret_basic``: HTTP Basic, form-urlencoded before (RFC 6749 section 2.3.1).

    Args:
        client_id: What the client is registered as.
        client_secret: Its secret.

    Raises:
        ConfigError: One of them is empty.
    """

    __slots__ = ()

    def prove(self, now: float) -> Proof:  # noqa: ARG002 - a secret has no time
        """Make the ``Authorization`` header."""
        pair = f"{quote_plus(self.client_id)}:{quote_plus(self.client_secret)}"
        return Proof(headers={"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"})


class ClientSecretPost(_ClientSecret):
    """``client_secret_post``: in the form, for servers that know nothing better.

    Args:
        client_id: What the client is registered as.
        client_secret: Its secret.

    Raises:
        ConfigError: One of them is empty.
    """

    __slots__ = ()

    def prove(self, now: float) -> Proof:  # noqa: ARG002 - a secret has no time
        """Make the two parameters."""
        return Proof(parameters={"client_id": self.client_id, "client_secret": self.client_secret})


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicClient:
    """``none``: the client has no credentials, or its TLS certificate is its credentials.

    With ``tls_client_auth`` and ``self_signed_tls_client_auth`` (RFC 8705 section 2) the request
    says who is asking, and the connection proves it.

    Attributes:
        client_id: What the client is registered as.

    Raises:
        ConfigError: No client identifier.
    """

    client_id: str

    def __post_init__(self) -> None:
        if not self.client_id:
            raise ConfigError("a client needs a client_id")

    def prove(self, now: float) -> Proof:  # noqa: ARG002 - a name has no time
        """Make the parameter."""
        return Proof(parameters={"client_id": self.client_id})


@dataclass(frozen=True, slots=True)
class NoClient:
    """Nobody in particular: an assertion that is the grant says who asks (RFC 7521 section 4.1)."""

    @property
    def client_id(self) -> str:
        """Nothing."""
        return ""

    def prove(self, now: float) -> Proof:  # noqa: ARG002 - nothing has no time
        """Prove nothing."""
        return Proof()


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateKeyJwt:
    """``private_key_jwt``: a signed assertion, a new one for each request (RFC 7523 section 3).

    Attributes:
        client_id: What the client is registered as.
        audience: The issuer identifier, and nothing else: an assertion for an endpoint's URL
            could be spent elsewhere by whoever names that URL as its own (draft RFC 7523bis).
        key: What signs.
        key_id: What the issuer calls the key; empty: the assertion names none, because an
            issuer that knows it by another name refuses what it finds no key for.

    Raises:
        ConfigError: No client identifier.
    """

    client_id: str
    audience: str
    key: SigningKey
    key_id: str = ""

    def __post_init__(self) -> None:
        if not self.client_id:
            raise ConfigError("a client needs a client_id")

    @classmethod
    def from_pem(
        cls,
        pem: bytes,
        *,
        client_id: str,
        audience: str,
        key_id: str = "",
        algorithm: str | None = None,
    ) -> PrivateKeyJwt:
        """Read the key.

        Args:
            pem: PEM, not encrypted.
            client_id: What the client is registered as.
            audience: The issuer identifier.
            key_id: What the issuer calls the key.
            algorithm: One that fits the key; None: ES256, EdDSA or RS256, by the type of key.

        Raises:
            ConfigError: No such key, or it does not fit the algorithm.
        """
        key = SigningKey.from_pem(pem, alg=algorithm)
        return cls(client_id=client_id, audience=audience, key=key, key_id=key_id)

    def prove(self, now: float) -> Proof:
        """Sign an assertion."""
        return Proof(
            parameters={
                "client_assertion_type": _JWT_BEARER,
                "client_assertion": self._assertion(int(now)),
            }
        )

    def _assertion(self, now: int) -> str:
        header = {"alg": self.key.alg, "typ": "JWT"}
        if self.key_id:
            header["kid"] = self.key_id
        claims = {
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": self.audience,
            "jti": secrets.token_urlsafe(16),
            "iat": now,
            "exp": now + ASSERTION_LIFETIME,
        }
        parts = [base64url.encode(msgspec.json.encode(part)) for part in (header, claims)]
        signing_input = b".".join(parts)
        signature = base64url.encode(self.key.signature(signing_input))
        return (signing_input + b"." + signature).decode("ascii")
