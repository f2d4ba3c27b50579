# SPDX-License-Identifier: Apache-2.0
"""From ``[issuer.introspection]`` to what asks the issuer, and how the guard proves who it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from keyfob.config import IntrospectionSection, IssuerSection, SecretReference
from keyfob.errors import ConfigError
from keyfob.guard.introspection import Introspector
from keyfob.guard.reasking import Reasking
from keyfob.oauth.client_authentication import (
    ClientAuthentication,
    ClientSecretBasic,
    ClientSecretPost,
    PrivateKeyJwt,
)
from keyfob.tokens.issuers import TrustedIssuer

__all__ = ["Asking", "asking", "secret_of"]


@dataclass(frozen=True, slots=True)
class Asking:
    """What asks an issuer, and what asks it again about live sessions."""

    introspector: Introspector
    reasking: Reasking[tuple[str, str]]


def asking(
    issuer: IssuerSection, section: IntrospectionSection, trusted: TrustedIssuer, secret: str
) -> Asking:
    """Make what asks an issuer about tokens.

    Args:
        issuer: Its section.
        section: Its introspection section.
        trusted: By what rules its answers are verified.
        secret: The client's secret, or its private key as PEM.

    Raises:
        ConfigError: The private key is none; it names the key.
    """
    introspector = Introspector(
        trusted,
        _authentication(issuer, section, secret),
        endpoint=section.endpoint,
        timeout=section.timeout_ms / 1000,
        cache=section.cache,
        negative_cache=section.negative_cache,
        ca=issuer.ca,
    )
    return Asking(introspector, Reasking(introspector, section.reask))


def secret_of(section: IntrospectionSection, directory: Path) -> str:
    """Read the secret that the section refers to.

    Raises:
        ConfigError: It is not there; it names the key.
    """
    key = "private_key" if section.authentication == "private_key_jwt" else "client_secret"
    try:
        return SecretReference.parse(getattr(section, key), directory).read()
    except ConfigError as error:
        raise ConfigError(error.message, key=f"introspection.{key}") from error


def _authentication(
    issuer: IssuerSection, section: IntrospectionSection, secret: str
) -> ClientAuthentication:
    if section.authentication == "private_key_jwt":
        try:
            return PrivateKeyJwt.from_pem(
                secret.encode(),
                client_id=section.client_id,
                audience=issuer.issuer,
                key_id=section.key_id,
                algorithm=section.algorithm,
            )
        except ConfigError as error:
            raise ConfigError(error.message, key="introspection.private_key") from error
    make: Callable[..., ClientAuthentication] = (
        ClientSecretBasic if section.authentication == "client_secret_basic" else ClientSecretPost
    )
    return make(client_id=section.client_id, client_secret=secret)
