# SPDX-License-Identifier: Apache-2.0
"""An assertion that is the whole request: no client authenticates (RFC 7521 section 3.1).

Then the device that the assertion is about is the client. Its issuer has to be trusted that far
(``without_client``), and the device registered for the grant. The assertion is looked at here and
used up by the grant, so this proves somebody at the token endpoint and nowhere else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from starlette.datastructures import Headers

from keyfob.errors import TokenError
from keyfob.server.client_authentication.proven import ClientStore, Proven
from keyfob.server.clients import ClientKind
from keyfob.server.names import is_name
from keyfob.server.oauth_errors import OAuthError
from keyfob.tokens.claims import text_of
from keyfob.tokens.jws import json_object, parse_compact

__all__ = ["JWT_BEARER", "GrantAssertion", "PresentedGrantAssertion", "assertion_alone"]

JWT_BEARER: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_OTHERS: Final = frozenset(
    {"client_id", "client_secret", "client_assertion", "client_assertion_type"}
)


class GoodAssertion(Protocol):
    """What is known of an assertion that is good."""

    @property
    def device(self) -> str:
        """The device that it is about."""

    @property
    def issuer(self) -> _Issuer:
        """Whose it is."""


class _Issuer(Protocol):
    @property
    def without_client(self) -> bool:
        """Whether it is good by itself."""


class AssertionReader(Protocol):
    """Who knows which issuers are trusted."""

    async def read(self, assertion: str, now: float) -> GoodAssertion:
        """Return what an assertion is good for; raises OAuthError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PresentedGrantAssertion:
    """An assertion without a client; ``client_id`` is what limits count it by, and not proven."""

    client_id: str
    assertion: str = field(repr=False)

    @property
    def is_name_alone(self) -> bool:
        """Whether nothing is shown but a name: an assertion is more."""
        return False


def assertion_alone(
    headers: Headers, parameters: Mapping[str, str]
) -> PresentedGrantAssertion | None:
    """Return the assertion of a request in which nobody else authenticates; None for another."""
    assertion = parameters.get("assertion")
    if parameters.get("grant_type") != JWT_BEARER or assertion is None:
        return None
    if "authorization" in headers or not _OTHERS.isdisjoint(parameters):
        return None
    return PresentedGrantAssertion(client_id=_claimed(assertion), assertion=assertion)


class GrantAssertion:
    """Proves that the device of an assertion asks.

    Args:
        clients: The register.
        assertions: Those of trusted issuers.
        clock: Unix seconds.
    """

    def __init__(
        self, clients: ClientStore, assertions: AssertionReader, clock: Callable[[], float]
    ) -> None:
        self._clients = clients
        self._assertions = assertions
        self._clock = clock

    async def prove(self, shown: PresentedGrantAssertion) -> Proven:
        """Return the device; unknown and disabled are the same answer.

        Raises:
            OAuthError: ``invalid_grant``.
        """
        good = await self._assertions.read(shown.assertion, self._clock())
        if not good.issuer.without_client:
            raise OAuthError(
                "invalid_client", "client authentication failed", reason="credentials_missing"
            )
        stored = await self._clients.find_secret(good.device)
        device = await self._clients.find_client(good.device)
        if stored is None or device is None or device.kind is not ClientKind.DEVICE:
            raise _refused("device_unknown")
        if not device.enabled:
            raise _refused("device_disabled", good.device)
        return Proven(client_id=good.device, stored=stored)


def _claimed(assertion: str) -> str:
    """Return a name to count an assertion by: whom it says it is about, which is not proven."""
    try:
        subject = text_of(json_object(parse_compact(assertion).payload, "payload"), "sub")
    except TokenError:
        return ""
    if not subject or is_name(subject):
        return subject
    # As ``system:serviceaccount:…``: each of them is counted by itself.
    return f"assertion.{hashlib.sha256(subject.encode()).hexdigest()[:16]}"


def _refused(reason: str, subject: str = "") -> OAuthError:
    return OAuthError("invalid_grant", "the assertion is not valid", reason=reason, subject=subject)
