# SPDX-License-Identifier: Apache-2.0
"""What the Mosquitto plugin and the guard say to each other, as values.

docs/wire-protocol.md tells what each frame means and when it is sent; ``wire`` turns it into bytes.
States and causes are the guard's own: their numbers are those of the link.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from keyfob.authorization.permissions import Permissions
from keyfob.guard.session import EndCause, SessionState

__all__ = [
    "PROTOCOL_VERSION",
    "Admitted",
    "Connect",
    "Continue",
    "Decision",
    "End",
    "Frame",
    "Grant",
    "Hello",
    "Offline",
    "Reauthenticate",
    "Record",
    "RecordsEnd",
    "Replace",
    "Welcome",
]

PROTOCOL_VERSION: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What an accepted token is worth: who it is, until when, and what it allows.

    ``expires_at`` is in Unix milliseconds. ``client`` is the OAuth client that the token was issued
    to, None where that is not known. ``bound`` says in which way it is bound to a key, as
    ``confirmation.kind_of`` names it: empty for a bearer token, None where that is not known.
    """

    expires_at: int
    principal: str
    issuer: str
    subject: str
    token_id: str
    client: str | None
    bound: str | None
    permissions: Permissions


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """The plugin names itself and the versions that it speaks.

    ``epoch`` is the highest that it has given to a connection of this broker instance, 0 before the
    first.
    """

    lowest: int
    highest: int
    broker_instance: bytes
    epoch: int
    broker_version: int
    broker_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Welcome:
    """The guard names itself, the version that it chose, and which of its workers this is.

    Workers are numbered from 0; there are ``workers`` of them.
    """

    version: int
    guard_instance: bytes
    worker: int
    workers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One client that the sender knows; ``assigned``: the broker made up its identifier."""

    epoch: int
    state: SessionState
    clean: bool
    assigned: bool
    client_id: str
    grant: Grant


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordsEnd:
    """The sender has said all that it knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Connect:
    """A client asks to come in (MQTT 5.0 section 3.1).

    ``username`` and ``password`` are the device's bytes as they came, None where it sent none.
    ``method`` is that of enhanced authentication (section 4.12), None without one, and ``data`` its
    first data; with a method there is neither username nor password.
    ``delayed``: the broker goes on while it waits; otherwise nothing happens in it until the
    DECISION is there. ``wait_ms`` is how long the plugin waits for that, in milliseconds.
    """

    epoch: int
    clean: bool
    assigned: bool
    protocol_level: int
    client_id: str
    username: bytes | None = field(repr=False)
    password: bytes | None = field(repr=False)
    peer: str
    certificate_thumbprint: bytes
    delayed: bool
    wait_ms: int
    method: str | None = None
    data: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The answer to a CONNECT, a REAUTHENTICATE or a CONTINUE.

    Reason 0 has a grant, and data for the client; 0x18 asks the client for more, by its data. Any
    other reason code of MQTT 5.0 is a refusal and has neither.
    """

    epoch: int
    reason: int
    grant: Grant | None = None
    data: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """The broker let the client in: from now on there is a session."""

    epoch: int
    client_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Offline:
    """The connection is gone; ``kept`` where the broker may store the session."""

    epoch: int
    client_id: str
    kept: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """The guard ends a session; epoch 0 means whichever there is."""

    epoch: int
    cause: EndCause
    client_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reauthenticate:
    """A client that is in shows a new credential (MQTT 5.0 section 4.12.1).

    ``epoch`` is that of its connection; the rest is as in a CONNECT.
    """

    epoch: int
    client_id: str
    method: str
    data: bytes = field(repr=False)
    peer: str
    certificate_thumbprint: bytes
    wait_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Continue:
    """A client answers what a DECISION with reason 0x18 asked for; ``epoch`` is that of it."""

    epoch: int
    client_id: str
    data: bytes = field(repr=False)
    wait_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Replace:
    """From now on a live connection has this grant instead of the one it had."""

    epoch: int
    client_id: str
    grant: Grant


Frame = (
    Hello
    | Welcome
    | Record
    | RecordsEnd
    | Connect
    | Decision
    | Admitted
    | Offline
    | End
    | Reauthenticate
    | Replace
    | Continue
)
