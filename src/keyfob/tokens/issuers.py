# SPDX-License-Identifier: Apache-2.0
"""TrustedIssuer: whose tokens are accepted, and what they must be (RFC 8725 section 3).

It is checked when it is made, so that verifying never meets a rule that means nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

from keyfob.errors import ConfigError
from keyfob.tokens.jws import media_type
from keyfob.tokens.signatures import ALGORITHMS

__all__ = ["Introspect", "MissingAudience", "TrustedIssuer"]

Introspect = Literal["never", "opaque", "always"]
MissingAudience = Literal["refuse", "accept"]

# Issuers remember a revocation until its last token has ended, and a while longer for clocks and
# leeways: ten minutes where the issuer is ours. A longer leeway would revive revoked tokens.
MAX_EXPIRY_LEEWAY: Final = 300
_ACCESS_TOKEN: Final = frozenset({"at+jwt"})
_SECURITY_EVENT: Final = "secevent+jwt"  # RFC 8417 section 2.3
# RFC 9068 section 2.2; iss, aud and exp are required of everybody.
_RFC_9068_CLAIMS: Final = ("sub", "client_id", "iat", "jti")
_CLAIM_NAMES: Final = (
    ("device_claim", "identifies the device"),
    ("audience_claim", "says whom a token is for"),
    ("scope_claim", "holds the scopes"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedIssuer:
    """An authorization server whose access tokens are accepted.

    Attributes:
        name: What people call it.
        issuer: Its ``iss``, compared exactly.
        audiences: Of these a token's ``aud`` must name one.
        audience_claim: The claim that says whom a token is for, where the issuer sends no ``aud``.
            A token that has an ``aud`` all the same must name one of ``audiences`` there too.
        algorithms: The only ``alg`` values it may use.
        required_scopes: Scopes without which a token does not connect.
        scope_claim: The claim that holds the scopes, or what stands for them (``scp``, ``roles``);
            dots lead into nested claims.
        required_values: Claims and the text that each must be, so that no other token of the
            issuer passes for an access token where its ``typ`` does not tell (RFC 8725 section
            3.12); dots lead into nested claims.
        device_claim: The claim that names the device; dots lead into nested claims.
        types: Accepted ``typ`` values, as media types. Anything but exactly ``at+jwt`` relaxes
            the issuer: only ``iss``, ``exp``, the audience, the device claim and
            ``required_values`` are required then, and they alone keep its ID tokens apart from its
            access tokens. An empty text accepts a token without ``typ``.
        leeway: Seconds by which ``nbf`` and ``iat`` may lie ahead.
        expiry_leeway: Seconds by which a token outlives its ``exp``.
        max_lifetime: The longest ``exp - iat`` in seconds, if limited.
        client_id_template: What the MQTT client identifier must be.
        introspect: Which of its tokens it is asked about (RFC 7662): none, those that are no JWT,
            or all. An issuer that is asked may have no ``algorithms``: no JWT of it is accepted.
        missing_audience: Whether an answer without ``aud`` is for us because we asked.

    Raises:
        ConfigError: A value that would trust nobody, everybody, or a shared secret.
    """

    name: str
    issuer: str
    audiences: frozenset[str]
    algorithms: frozenset[str]
    audience_claim: str = "aud"
    required_scopes: frozenset[str] = frozenset({"mqtt.connect"})
    scope_claim: str = "scope"
    required_values: tuple[tuple[str, str], ...] = ()
    device_claim: str = "sub"
    types: frozenset[str] = _ACCESS_TOKEN
    leeway: int = 60
    expiry_leeway: int = 0
    max_lifetime: int | None = None
    client_id_template: str = "{device}"
    introspect: Introspect = "never"
    missing_audience: MissingAudience = "refuse"
    required_claims: tuple[str, ...] = field(init=False, repr=False, compare=False)
    accepted_algorithms: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.name or not self.issuer:
            raise ConfigError("an issuer needs a name and the exact iss of its tokens", key="name")
        if not self.audiences or "" in self.audiences:
            raise self._wrong("audience", "name at least one that tokens must be for")
        for key, what in _CLAIM_NAMES:
            if not getattr(self, key):
                raise self._wrong(key, f"name the claim that {what}")
        if not all(name and value for name, value in self.required_values):
            raise self._wrong("require", "name claims and the text that each must be")
        if "{device}" not in self.client_id_template:
            raise self._wrong("client_id_template", "without {device} it binds to no device")
        self._check_algorithms()
        self._check_seconds()
        if not self.types:
            raise self._wrong("types", 'write ["at+jwt"]')
        types = frozenset(map(media_type, self.types))
        if _SECURITY_EVENT in types:
            raise self._wrong("types", f"{_SECURITY_EVENT} is never an access token")
        object.__setattr__(self, "types", types)
        strict = types == _ACCESS_TOKEN
        object.__setattr__(self, "required_claims", _RFC_9068_CLAIMS if strict else ())
        object.__setattr__(self, "accepted_algorithms", self._all_names())

    def _check_algorithms(self) -> None:
        if not self.algorithms and self.introspect == "never":
            raise self._wrong("algorithms", 'write for example ["ES256"]')
        for name in sorted(self.algorithms):
            if name.upper().startswith("HS"):
                raise self._wrong(
                    "algorithms",
                    f"{name} signs with a secret that the broker's side would share, so that"
                    " whoever reads it there can mint tokens for every device; let the"
                    f" authorization server sign with one of {', '.join(ALGORITHMS)}",
                )
            if name not in ALGORITHMS:
                raise self._wrong(
                    "algorithms", f"{name!r} is not supported; these are: {', '.join(ALGORITHMS)}"
                )

    def _check_seconds(self) -> None:
        for key in ("leeway", "expiry_leeway"):
            if getattr(self, key) < 0:
                raise self._wrong(key, "not below 0 seconds")
        if self.expiry_leeway > MAX_EXPIRY_LEEWAY:
            raise self._wrong("expiry_leeway", f"at most {MAX_EXPIRY_LEEWAY} seconds")
        if self.max_lifetime is not None and self.max_lifetime < 1:
            raise self._wrong("max_lifetime", "at least 1 second")

    def _all_names(self) -> frozenset[str]:
        chosen = {ALGORITHMS[name].name for name in self.algorithms}
        return frozenset(name for name, same in ALGORITHMS.items() if same.name in chosen)

    def _wrong(self, key: str, message: str) -> ConfigError:
        return ConfigError(f"issuer {self.name}: {key}: {message}", key=key)
