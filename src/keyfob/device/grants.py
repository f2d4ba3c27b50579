# SPDX-License-Identifier: Apache-2.0
"""The OAuth grants by which a device gets its token, one value each (RFC 6749, 7523, 8628).

A grant says how the *first* token is asked for. Where the server gives a refresh token with it,
the next ones are asked for with that; and where that is refused, the grant begins anew, if it can
do so without a person.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

__all__ = [
    "ClientCredentials",
    "DeviceCode",
    "Grant",
    "Invitation",
    "JWTBearer",
    "Password",
    "RefreshToken",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitation:
    """What a person is told who is to approve a device (RFC 8628 section 3.2).

    Attributes:
        user_code: What to type there, or to compare.
        verification_uri: Where.
        verification_uri_complete: The same with the code in it, for a QR code; or empty.
        expires_in: Seconds in which it has to happen.
    """

    user_code: str
    verification_uri: str
    verification_uri_complete: str
    expires_in: float


class Grant(Protocol):
    """How a token is asked for."""

    def parameters(self) -> Mapping[str, str]:
        """Return the parameters of the token request, ``grant_type`` among them."""


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """The device is the client, and is known by its own credentials (RFC 6749 section 4.4)."""

    def parameters(self) -> Mapping[str, str]:
        """Return the grant's name: client authentication says the rest."""
        return {"grant_type": "client_credentials"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Password:
    """A device's name and secret through an application (RFC 6749 section 4.3).

    For servers and fleets that have it: RFC 9700 section 2.4 advises against it.
    """

    username: str
    password: str = field(repr=False)

    def parameters(self) -> Mapping[str, str]:
        """Return name and secret."""
        return {"grant_type": "password", "username": self.username, "password": self.password}


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshToken:
    """A refresh token that was put on the device when it was made (RFC 6749 section 6).

    It serves once where the server rotates them: a store has to keep its successors.
    """

    refresh_token: str = field(repr=False)

    def parameters(self) -> Mapping[str, str]:
        """Return the refresh token."""
        return {"grant_type": "refresh_token", "refresh_token": self.refresh_token}


@dataclass(frozen=True, slots=True, kw_only=True)
class JWTBearer:
    """A statement by somebody whom the server trusts (RFC 7523 section 2.1).

    Attributes:
        assertion: Returns a JWT that is good now, each time that one is needed.
    """

    assertion: Callable[[], str]

    def parameters(self) -> Mapping[str, str]:
        """Return a new assertion."""
        return {
            "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
            "assertion": self.assertion(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceCode:
    """A person approves the device somewhere else (RFC 8628).

    Attributes:
        prompt: Shows the invitation; returns at once.
    """

    prompt: Callable[[Invitation], object]

    def parameters(self) -> Mapping[str, str]:
        """Return the grant's name; the device code is known only once it was asked for."""
        return {"grant_type": "urn:ietf:params:oauth:grant-type:device_code"}
