# SPDX-License-Identifier: Apache-2.0
"""How a broker is tried: under which client identifier, in which way, with which token.

A client identifier belongs to a device: who connects under it takes over the device's connection
(MQTT 5.0 section 3.1.4), and with a clean start deletes what is queued for it. So everything is
tried with an empty one first, for which the broker assigns a new one; the device's own only where
somebody says so, and never with a clean start (docs/adr/0033).
"""

from __future__ import annotations

import dataclasses
import ssl
from dataclasses import dataclass, field
from typing import Final

from keyfob.cli.broker_target import V5, Address
from keyfob.cli.doctor.probe import Connection, Hello
from keyfob.device.carrying import Carry, Credentials, carried
from keyfob.device.token import Token
from keyfob.errors import TokenUnavailableError

__all__ = ["BEARER_METHODS", "PROOF_METHODS", "Trying", "broken", "ways_to_try"]

BEARER_METHODS: Final = ("OAUTH2-JWT", "JWT", "CUSTOM-JWT", "K8S-SAT")
"""Authentication methods whose data is the token alone: Keyfob's, HiveMQ's and EMQX's, Azure Event
Grid's, and that of Kubernetes' service accounts."""

PROOF_METHODS: Final = ("ace", "OAUTH2-DPOP")
"""Those that want a proof of the token's key; they are asked for without a token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trying:
    """How a broker is tried.

    Attributes:
        address: Where it is.
        context: How TLS is spoken; None: it is not.
        token: What is shown.
        identifier: The client identifier; empty: the broker assigns one.
        username: Beside a token that goes elsewhere; empty: as ``carried`` has it.
        patience: Seconds to wait for an answer.
    """

    address: Address
    context: ssl.SSLContext | None
    token: Token = field(repr=False)
    identifier: str = ""
    username: str = ""
    patience: float = 10.0

    def connection(self, way: str, *, version: int = V5, token: Token | None = None) -> Connection:
        """Return a connection that shows the token, or another one, in a way.

        Args:
            way: As ``Carry.parse`` reads it; empty: nothing is shown.
            version: ``V5`` or ``V311``.
            token: Another one than the device's.

        Raises:
            TokenUnavailableError: It does not fit there.
        """
        shown = self._shown(way, token or self.token) if way else None
        hello = Hello(version=version, identifier=self.identifier, credentials=shown)
        return Connection(self.address, self.context, hello, self.patience)

    def _shown(self, way: str, token: Token) -> Credentials:
        carry = Carry.parse(way)
        if carry.method in PROOF_METHODS:
            return Credentials(token=token, method=carry.method)
        return carried(token, carry, client_id=self.identifier, username=self.username or None)


def ways_to_try(address: Address, methods: tuple[str, ...]) -> tuple[str, ...]:
    """Return every way of carrying a token that this broker might take.

    Args:
        address: Where it is: a header goes with WebSockets alone.
        methods: More authentication methods than the known ones.
    """
    named = dict.fromkeys((*BEARER_METHODS, *PROOF_METHODS, *methods))
    header = ("header",) if address.transport == "websockets" else ()
    return ("password", "username", *header, *(f"auth:{name}" for name in named))


def broken(token: Token) -> Token:
    """Return the token with one character changed: its signature, or all of it where it is opaque.

    What its issuer did not make, a broker must refuse.

    Raises:
        TokenUnavailableError: It is too short to be changed without being another one by chance.
    """
    head, dot, tail = token.access_token.rpartition(".")
    if len(tail) < 16:
        raise TokenUnavailableError("the token is too short to break it", code="token_malformed")
    at = len(tail) // 2  # the last character of base64url may have bits that mean nothing
    other = "A" if tail[at] != "A" else "B"
    return dataclasses.replace(
        token, access_token=f"{head}{dot}{tail[:at]}{other}{tail[at + 1 :]}", refresh_token=None
    )
