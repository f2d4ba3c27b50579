# SPDX-License-Identifier: Apache-2.0
"""What the authorization server is told once, at its start."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal
from urllib.parse import SplitResult, urlsplit

from keyfob.errors import ConfigError
from keyfob.loopback import is_loopback
from keyfob.server.admin_scopes import ADMIN_PATH
from keyfob.server.lifetimes import DEFAULT_LIFETIME, RefreshLifetimes, check_lifetime
from keyfob.server.limits import DEFAULT_LIMITS, LimitSettings
from keyfob.server.mutual_tls import DIRECT, MutualTls
from keyfob.server.openid.settings import OpenIdSettings
from keyfob.server.refresh_family import GRACE
from keyfob.server.resources import Resources
from keyfob.server.signing.settings import DEFAULT_SIGNING, SigningSettings
from keyfob.server.stores.place import Place
from keyfob.server.trusted_issuers.settings import TrustedAssertionIssuer

__all__ = [
    "MAX_ASSERTION_LIFETIME",
    "MAX_DEVICE_CODE_LIFETIME",
    "MIN_DEVICE_CODE_LIFETIME",
    "ServerSettings",
]

# Beyond an hour an assertion is a password that is written down somewhere.
MAX_ASSERTION_LIFETIME: Final = 3_600
# Long enough to fetch a phone; what was stolen or guessed is over soon (RFC 10027 section 6.1.2).
# A revocation is remembered for longer than that (lifetimes), so no approval outlives one.
MIN_DEVICE_CODE_LIFETIME: Final = 30
MAX_DEVICE_CODE_LIFETIME: Final = 600

# Segments of unreserved characters (RFC 3986 section 2.3): nothing to decode, so the issuer that a
# client compares and the path that a request shows are the same text.
_PATH: Final = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*/?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """The settings of one authorization server.

    Args:
        issuer: The issuer identifier: an https URL without query or fragment (RFC 8414
            section 2); http is for the loopback address only.
        audience: What tokens carry as ``aud`` (RFC 9068 section 2.2).
        database: A SQLite file, made with mode 0600 when missing; or a PostgreSQL database, which
            several servers may share.
        migrate: Whether the database is brought to this code's schema at the start.
        default_lifetime: Seconds that a token lives where its device has no lifetime of its own.
        refresh: How long refresh tokens live.
        refresh_grace: Seconds in which a refresh token that was replaced gets its successor again.
        signing: What tokens are signed with, and how that changes.
        limits: How often somebody may ask and be wrong; None: without limits.
        token_endpoint_audience: Whether a client's assertion may name the token endpoint's URL,
            or put its audience into an array; otherwise it is the issuer, as one string.
        assertion_lifetime: How many seconds ahead the ``exp`` of such an assertion may be.
        mutual_tls: How clients can show certificates, and who is in front.
        grant_lifetimes: Seconds that a token lives at most, by grant type; no ceiling for others.
        dpop_nonce: Whether DPoP proofs need a nonce of this server (RFC 9449 section 8).
        access_token_format: What access tokens are, where a client is not registered for another.
        client_id_template: What MQTT client identifiers are made of; no new device may hold the
            separator.
        admin_api: Whether the admin API is there.
        device_code_lifetime: Seconds in which somebody has to approve a device, and the device's
            client to fetch its token.
        openid: Another issuer that operators may sign in by; None: by password only.
        resources: The ``aud`` of tokens that are asked for a resource (RFC 8707), by its URI.
        trusted_issuers: Whose assertions are taken for devices (RFC 7523 section 2.1).

    Raises:
        ConfigError: A value is not what it has to be.
    """

    issuer: str
    audience: str
    database: Place
    migrate: bool = True
    default_lifetime: int = DEFAULT_LIFETIME
    refresh: RefreshLifetimes = field(default_factory=RefreshLifetimes)
    refresh_grace: float = GRACE
    signing: SigningSettings = DEFAULT_SIGNING
    limits: LimitSettings | None = DEFAULT_LIMITS
    token_endpoint_audience: bool = True
    assertion_lifetime: int = 600
    mutual_tls: MutualTls = DIRECT
    grant_lifetimes: Mapping[str, int] = field(default_factory=dict)
    dpop_nonce: Literal["required", "off"] = "required"
    access_token_format: Literal["jwt", "opaque"] = "jwt"  # noqa: S105 - a form
    client_id_template: str = "{device}"
    admin_api: bool = True
    device_code_lifetime: int = MAX_DEVICE_CODE_LIFETIME
    openid: OpenIdSettings | None = None
    resources: Mapping[str, str] = field(default_factory=dict)
    trusted_issuers: tuple[TrustedAssertionIssuer, ...] = ()

    def __post_init__(self) -> None:
        url = urlsplit(self.issuer)
        if not url.hostname or url.scheme not in ("https", "http"):
            raise ConfigError(f"the issuer {self.issuer!r} is not a URL such as https://host:8443")
        if url.scheme == "http" and not is_loopback(url.hostname):
            raise ConfigError(f"the issuer {self.issuer!r} has to begin with https://")
        if _has_extras(url) or any(mark in self.issuer for mark in "?#\\ "):
            raise ConfigError(f"the issuer {self.issuer!r} is scheme, host, port and path only")
        if not self.issuer.isascii():  # what clients send, in Origin and htu, is the ASCII form
            raise ConfigError(
                f"the issuer {self.issuer!r} has letters outside ASCII: write its host as the"
                " network does, beginning with xn-- (RFC 5890)"
            )
        if not self.audience:
            raise ConfigError("the audience of the tokens is empty")
        for seconds in (self.default_lifetime, *self.grant_lifetimes.values()):
            check_lifetime(seconds)
        if not 1 <= self.assertion_lifetime <= MAX_ASSERTION_LIFETIME:
            raise ConfigError(f"an assertion lives between 1 and {MAX_ASSERTION_LIFETIME} seconds")
        if self.admin_audience in self.targets.audiences:
            raise ConfigError(
                f"the audience {self.admin_audience} is the admin API's: write another"
            )
        shortest, longest = MIN_DEVICE_CODE_LIFETIME, MAX_DEVICE_CODE_LIFETIME
        if not shortest <= self.device_code_lifetime <= longest:
            raise ConfigError(f"a device code lives between {shortest} and {longest} seconds")
        if len({one.issuer for one in self.trusted_issuers}) < len(self.trusted_issuers):
            raise ConfigError("an issuer is trusted twice", key="trusted_issuer")
        if any(one.issuer == self.issuer for one in self.trusted_issuers):
            raise ConfigError("this server needs not to trust itself", key="trusted_issuer")

    @property
    def targets(self) -> Resources:
        """Whom tokens may be for."""
        return Resources(self.audience, self.resources)

    @property
    def admin_audience(self) -> str:
        """Whom tokens are for that the admin API takes, and no others: its own URL."""
        return self.base + ADMIN_PATH

    @property
    def path(self) -> str:
        """The issuer's path without a closing slash; empty for most issuers."""
        return urlsplit(self.issuer).path.rstrip("/")

    @property
    def strict_transport(self) -> bool:
        """Whether browsers may be told to come over TLS only (RFC 6797)."""
        url = urlsplit(self.issuer)
        return url.scheme == "https" and not is_loopback(url.hostname or "")

    @property
    def base(self) -> str:
        """The URL that the endpoints' paths are appended to."""
        return self.issuer.rstrip("/")


def _has_extras(url: SplitResult) -> bool:
    return "@" in url.netloc or not _PATH.fullmatch(url.path)
