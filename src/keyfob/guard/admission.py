# SPDX-License-Identifier: Apache-2.0
"""The decision to let a client in, until the broker says that it is in."""

from __future__ import annotations

from dataclasses import dataclass, field

from keyfob.authorization.decision import Decision

__all__ = ["Admission"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission(Decision):
    """The decision to let a client in, with what its session has to remember.

    Attributes:
        client_id: The MQTT client identifier that was judged; empty: the broker had none yet.
        client: The token's ``client_id``.
        issued_at: The token's ``iat``.
        clean: The broker will store nothing past the connection, as far as CONNECT tells.
        assigned: The broker made up the client identifier, or will.
        payload: The JSON of the token's claims.
        key_id: The key that verified them.
        judge: Who judged: where another judges now, it is to be judged again.
    """

    client_id: str
    client: str
    issued_at: float | None
    clean: bool
    assigned: bool
    payload: bytes = field(repr=False)
    key_id: str
    judge: object = field(repr=False, compare=False)
