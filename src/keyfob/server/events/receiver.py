# SPDX-License-Identifier: Apache-2.0
"""Who is told of revocations, what it has still to be told, and how that goes."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass, field
from typing import Final

from keyfob.config.urls import url_fault
from keyfob.errors import ConfigError

__all__ = [
    "MAX_AUDIENCE_CHARS",
    "MAX_CA_CHARS",
    "MAX_CREDENTIAL_CHARS",
    "MAX_URL_CHARS",
    "PendingEvent",
    "Receiver",
    "ReceiverStatus",
    "ShownReceiver",
    "check_ca",
    "check_credential",
    "check_url",
]

MAX_CREDENTIAL_CHARS: Final = 512
MAX_CA_CHARS: Final = 262_144
MAX_URL_CHARS: Final = 2_048
MAX_AUDIENCE_CHARS: Final = 512
# RFC 6750 section 2.1: what can stand behind ``Bearer``. No colon: never taken for a sealed one.
_B64TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Receiver:
    """A receiver of events, as the server delivers to it.

    Attributes:
        name: What the operator calls it.
        url: Where events are pushed to.
        audience: What they carry as ``aud``.
        credential: What is shown as ``Authorization: Bearer``, as it is stored; None: nothing.
        ca: CA certificates in PEM that alone are trusted; None: the system's.
        created_at: When it was added, in Unix seconds.
    """

    name: str
    url: str
    audience: str
    credential: bytes | None = field(default=None, repr=False)
    ca: str | None = field(default=None, repr=False)
    created_at: float

    @property
    def has_secret(self) -> bool:
        """Whether something is shown as ``Authorization: Bearer``."""
        return self.credential is not None

    @property
    def has_ca(self) -> bool:
        """Whether CA certificates of its own are trusted, and not the system's."""
        return self.ca is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownReceiver:
    """A receiver, as operators see it: never its secret.

    Attributes:
        name: What the operator calls it.
        url: Where events are pushed to.
        audience: What they carry as ``aud``.
        has_secret: Whether something is shown as ``Authorization: Bearer``.
        has_ca: Whether CA certificates of its own are trusted, and not the system's.
        created_at: When it was added, in Unix seconds.
    """

    name: str
    url: str
    audience: str
    has_secret: bool
    has_ca: bool
    created_at: float

    @classmethod
    def of(cls, receiver: Receiver) -> ShownReceiver:
        """Return what is shown of one."""
        return cls(
            name=receiver.name,
            url=receiver.url,
            audience=receiver.audience,
            has_secret=receiver.has_secret,
            has_ca=receiver.has_ca,
            created_at=receiver.created_at,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingEvent:
    """A revocation that a receiver has to be told of.

    Attributes:
        number: The revocation's cursor: of two about one device the smaller comes first.
        subject: The device.
        issued_before: Its tokens with an ``iat`` up to this second are revoked.
        until: When no token that is meant can be alive, in Unix seconds.
        reason: ``disabled``, ``removed`` or ``revoked``.
        token_id: Of those tokens only the one with this ``jti``; None: all of them.
        attempts: How often it was tried.
    """

    number: int
    subject: str
    issued_before: int
    until: int
    reason: str
    token_id: str | None
    attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverStatus:
    """How the deliveries to one receiver go.

    Attributes:
        pending: Events that it was not told of yet.
        oldest_at: Since when the first of them waits; None: none does.
        delivered: Acknowledged so far.
        rejected: Refused for good, and skipped.
        expired: Given up, because every token that was meant has ended.
        failures: Attempts that failed and were, or will be, repeated.
        last_delivered_at: When one was last acknowledged.
        last_error: Why one last failed; empty: none did.
        last_error_at: When that was.
    """

    pending: int
    oldest_at: float | None
    delivered: int
    rejected: int
    expired: int
    failures: int
    last_delivered_at: float | None
    last_error: str
    last_error_at: float | None


def check_url(url: str, audience: str) -> None:
    """Refuse an address that no event may be pushed to, and an audience that is none.

    Raises:
        ConfigError: Neither https nor this machine, or something is too long or empty.
    """
    if len(url) > MAX_URL_CHARS:
        raise ConfigError(f"the URL has more than {MAX_URL_CHARS} characters")
    if (fault := url_fault(url)) is not None:
        raise ConfigError(f"the URL {fault}")
    if not 0 < len(audience) <= MAX_AUDIENCE_CHARS or not audience.isprintable():
        raise ConfigError(f"an audience is a text of 1 to {MAX_AUDIENCE_CHARS} characters")


def check_credential(secret: str) -> None:
    """Refuse what cannot stand behind ``Authorization: Bearer``; the message never repeats it.

    Raises:
        ConfigError: It is empty, too long, or has characters that a header would not carry.
    """
    if len(secret) > MAX_CREDENTIAL_CHARS or not _B64TOKEN.fullmatch(secret):
        raise ConfigError(
            f"the secret is 1 to {MAX_CREDENTIAL_CHARS} letters, digits and . _ ~ + / - with = at"
            " the end, without a word before it: `openssl rand -hex 32` makes one"
        )


def check_ca(pem: str) -> None:
    """Refuse what holds no CA certificate.

    Raises:
        ConfigError: It is not that.
    """
    if len(pem) > MAX_CA_CHARS:
        raise ConfigError(f"the CA file has more than {MAX_CA_CHARS} characters")
    fault = "there is no CA certificate in PEM in that file"
    if not pem.isascii():  # comments may have them, and the library does not take those
        raise ConfigError("the CA file has characters that are not ASCII; leave them out")
    if not pem.strip():  # to the library that would mean: the system's
        raise ConfigError(fault)
    try:
        ssl.create_default_context(cadata=pem)
    except (ssl.SSLError, ValueError) as error:
        raise ConfigError(fault) from error
