# SPDX-License-Identifier: Apache-2.0
"""The decision to let a client in, until the broker says that it is in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from keyfob.authorization.decision import Decision
from keyfob.guard.introspection_answers import Active
from keyfob.guard.session import Session, SessionState
from keyfob.tokens.confirmation import kind_of

__all__ = ["Admission", "Asked"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A token that its issuer was asked about, and the answer (RFC 7662)."""

    token: bytes = field(repr=False)
    answer: Active


class Admission(Decision, frozen=True, kw_only=True):
    """The decision to let a client in, with what its session has to remember.

    Attributes:
        client_id: The MQTT client identifier that was judged; empty: the broker had none yet.
        client: The token's ``client_id``.
        issued_at: The token's ``iat``.
        clean: The broker will store nothing past the connection, as far as CONNECT tells.
        assigned: The broker made up the client identifier, or will.
        payload: The JSON of the token's claims.
        key_id: The key that verified them.
        proven: What the token is bound to, and the client has proven; empty: a bearer token.
        asked: The token and what its issuer said of it, where it was asked.
        judge: Who judged: where another judges now, it is to be judged again.
        renews: The session that is to go on with this token, as it was then; None: it begins.
    """

    aside: ClassVar[frozenset[str]] = Decision.aside | {"asked", "judge", "renews"}

    client_id: str
    client: str
    issued_at: float | None
    clean: bool
    assigned: bool
    payload: bytes
    key_id: str
    proven: str
    asked: Asked | None
    judge: object
    renews: Session | None = None

    @property
    def bound(self) -> str | None:
        """In which way the token is bound (``confirmation.kind_of``)."""
        return kind_of(self.proven)

    def session(self, broker: str, client_id: str, epoch: int) -> Session:
        """Return the session that begins when the broker has let the client in.

        Args:
            broker: The broker's name.
            client_id: The client identifier, which the broker may have made up.
            epoch: Which of the client's connections.
        """
        return Session(
            broker=broker,
            client_id=client_id,
            epoch=epoch,
            state=SessionState.ONLINE,
            clean=self.clean,
            principal=self.principal,
            issuer=self.issuer,
            subject=self.subject,
            client=self.client,
            token_id=self.token_id,
            issued_at=self.issued_at,
            expires_at=self.expires_at,
            permissions=self.permissions,
            payload=self.payload,
            key_id=self.key_id,
            assigned=self.assigned,
            proven=self.proven,
        )
