# SPDX-License-Identifier: Apache-2.0
"""What the guard remembers of one client at one broker."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

from keyfob.authorization.permissions import Permissions
from keyfob.tokens.confirmation import kind_of

__all__ = ["Change", "End", "EndCause", "PluginRecord", "Replacement", "Session", "SessionState"]


class SessionState(IntEnum):
    """Where a session stands; the numbers are those of the guard link."""

    ONLINE = 0
    OFFLINE = 1
    REVOKED = 2


class EndCause(IntEnum):
    """Why the guard ends a session; the numbers are those of the guard link."""

    REVOKED = 1
    EXPIRED = 2
    FORGOTTEN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """Tells a broker to end a session.

    Attributes:
        broker: Which broker.
        client_id: Which client.
        epoch: Which of its connections; 0: whatever it is.
        cause: Why.
    """

    broker: str
    client_id: str
    epoch: int
    cause: EndCause


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginRecord:
    """What a broker's plugin remembers of one client: the RECORD of the guard link.

    Attributes are those of ``Session``; ``proven`` has no key in it.
    """

    client_id: str
    epoch: int
    state: SessionState
    clean: bool
    assigned: bool
    principal: str
    issuer: str
    subject: str
    token_id: str
    client: str | None
    proven: str | None
    expires_at: float
    permissions: Permissions


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A client that a broker let in, live or stored; never its token.

    Attributes:
        broker: The broker's name.
        client_id: The MQTT client identifier: with ``broker``, the key.
        epoch: The connection that was admitted last; 0: one of a broker instance that is gone.
        state: Where it stands.
        clean: The broker stores nothing of it past its connection, as far as CONNECT tells.
        principal: Who it is to the broker.
        issuer: The issuer identifier; with ``subject``, the owner of the session.
        subject: The token's ``sub``.
        client: The token's ``client_id`` (RFC 9068), empty where it had none; None: not known, so
            a revocation of any client concerns it.
        token_id: The token's ``jti``; empty: it had none.
        issued_at: The token's ``iat``; None: not known, so a revocation of any time concerns it.
        expires_at: When the permission ends, in Unix seconds.
        permissions: What it may do.
        offline_since: When it was last seen to go, in Unix seconds; None while it is online.
        payload: The JSON of the token's claims, by which it is decided again when the policy
            changes; empty: not known. Without its signature it is no token.
        key_id: The key that verified them.
        assigned: The broker made up the client identifier.
        ask_by: When the issuer has to be asked about the token again, in Unix seconds; None: never.
        proven: What its token is bound to and its client has proven to have, as
            ``confirmation.bound_to`` names it, or only ``confirmation.kind_of`` where a plugin told
            of the session; empty: a bearer token; None: not known.
    """

    broker: str
    client_id: str
    epoch: int
    state: SessionState
    clean: bool
    principal: str
    issuer: str
    subject: str
    client: str | None
    token_id: str
    issued_at: float | None
    expires_at: float
    permissions: Permissions
    offline_since: float | None = None
    payload: bytes = field(default=b"", repr=False)
    key_id: str = ""
    assigned: bool = False
    ask_by: float | None = None
    proven: str | None = None

    @property
    def key(self) -> tuple[str, str]:
        """The broker's name and the client identifier."""
        return self.broker, self.client_id

    @property
    def owner(self) -> tuple[str, str]:
        """Whose session it is: issuer and subject."""
        return self.issuer, self.subject

    @property
    def bound(self) -> str | None:
        """In which way its token is bound (``confirmation.kind_of``); None: not known."""
        return None if self.proven is None else kind_of(self.proven)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replacement:
    """Tells a broker that a live session has other permissions or another end from now on."""

    session: Session

    @property
    def broker(self) -> str:
        """Which broker."""
        return self.session.broker


Change = End | Replacement
"""What a broker is told about a session, unasked."""
