# SPDX-License-Identifier: Apache-2.0
"""What the server is told about an issuer whose assertions it takes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from keyfob.errors import ConfigError, UpstreamError
from keyfob.server.name_patterns import check_patterns
from keyfob.tokens.issuers import TrustedIssuer
from keyfob.tokens.keys import KeySet

__all__ = ["GRANT_TYPES_OF_JWT", "TrustedAssertionIssuer"]

# RFC 7523 wants no typ; its revision names the second. No access token passes for an assertion.
GRANT_TYPES_OF_JWT: Final = frozenset({"", "jwt", "authorization-grant+jwt"})
# Kubernetes gives its workloads tokens for an hour, and a day at the most by its defaults.
MAX_LIFETIME: Final = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedAssertionIssuer:
    """One ``[[server.trusted_issuer]]``.

    Args:
        name: What people call it.
        issuer: Its ``iss``, compared exactly.
        devices: For which devices it speaks; patterns as in ``name_patterns``.
        algorithms: What it may sign with.
        jwks: Its keys, a JWK Set as text; or
        jwks_file: the file with them, read again when it has changed; or
        jwks_uri: where they are fetched.
        ca: What the certificate at ``jwks_uri`` is checked with; None: what the system trusts.
        device_claim: The claim that names the device; dots lead into nested claims.
        device_prefix: What stands before the device's name there, and is taken away.
        audience: What an assertion's ``aud`` may be beside this server.
        lifetime: How many seconds ahead an assertion's ``exp`` may be.
        single_use: Whether an assertion is good once, and therefore has a ``jti``.
        without_client: Whether it is good without client authentication (RFC 7521 section 3.1).

    Raises:
        ConfigError: It would trust nobody, everybody, or a shared secret; it names the key.
    """

    name: str
    issuer: str
    devices: tuple[str, ...]
    algorithms: tuple[str, ...] = ("ES256",)
    jwks: str = ""
    jwks_file: Path | None = None
    jwks_uri: str = ""
    ca: Path | None = None
    device_claim: str = "sub"
    device_prefix: str = ""
    audience: tuple[str, ...] = ()
    lifetime: int = 3_600
    single_use: bool = True
    without_client: bool = False

    def __post_init__(self) -> None:
        if not self.devices:
            raise ConfigError(
                'is empty; write for which devices it speaks, as in ["press-7-*"]', key="devices"
            )
        try:
            check_patterns(self.devices)
        except ConfigError as error:
            raise ConfigError(error.message, key="devices") from error
        given = [name for name in ("jwks", "jwks_file", "jwks_uri") if getattr(self, name)]
        if len(given) != 1:
            raise ConfigError(
                "keys come from one place; write jwks, jwks_file or jwks_uri", key="jwks"
            )
        if not 1 <= self.lifetime <= MAX_LIFETIME:
            raise ConfigError(f"is out of range; write 1 to {MAX_LIFETIME}", key="lifetime")
        if "" in self.audience:
            raise ConfigError("holds an empty text; write what aud may be", key="audience")
        self.rules(frozenset({"this server"}))
        if self.jwks:
            self.inline_keys()

    def rules(self, audiences: frozenset[str]) -> TrustedIssuer:
        """Return what ``tokens.verify`` checks.

        Args:
            audiences: What this server is called.
        """
        return TrustedIssuer(
            name=self.name,
            issuer=self.issuer,
            audiences=audiences | frozenset(self.audience),
            algorithms=frozenset(self.algorithms),
            required_scopes=frozenset(),
            device_claim=self.device_claim,
            types=GRANT_TYPES_OF_JWT,
            leeway=30,
        )

    def inline_keys(self) -> KeySet:
        """Return the keys that stand in ``jwks``.

        Raises:
            ConfigError: There is no usable one.
        """
        try:
            keys = KeySet.from_jwks(self.jwks.encode())
        except UpstreamError as error:
            raise ConfigError(f"{error.message}; write a JWK Set as JSON", key="jwks") from error
        if not keys.keys:
            raise ConfigError("there is no usable public key in it", key="jwks")
        return keys
