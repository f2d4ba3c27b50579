# SPDX-License-Identifier: Apache-2.0
"""Over the admin API: who is told of revocations by signed events.

Where events are pushed to is a URL that the server asks. From here it is an https one: what listens
without TLS on the server's own machine is nothing that a caller from elsewhere may reach.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Final
from urllib.parse import quote

import msgspec

from keyfob.errors import ConfigError
from keyfob.server.admin.operations import Call, Name, Operation
from keyfob.server.admin_scopes import RECEIVERS_READ, RECEIVERS_WRITE
from keyfob.server.events.receiver import (
    MAX_AUDIENCE_CHARS,
    MAX_CREDENTIAL_CHARS,
    MAX_URL_CHARS,
    ReceiverStatus,
    ShownReceiver,
)
from keyfob.server.records import Record

__all__ = ["OPERATIONS", "MAX_SENT_CA_CHARS", "NewReceiver", "ReceiverList", "ReceiverState"]

MAX_SENT_CA_CHARS: Final = 131_072
"""Half of what a request may hold: a character of PEM is one byte, a line feed two."""


class NewReceiver(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A receiver to add; it is told of what is revoked from then on."""

    hidden: ClassVar[frozenset[str]] = frozenset({"url", "audience", "secret", "ca"})

    name: Name
    url: Annotated[
        str,
        msgspec.Meta(
            pattern=r"^https://[!-~]+$",
            max_length=MAX_URL_CHARS,
            description="Where events are pushed to (RFC 8935).",
            examples=["https://guard.example/events"],
        ),
    ]
    audience: Annotated[
        str,
        msgspec.Meta(max_length=MAX_AUDIENCE_CHARS, description="Their aud; empty: the URL."),
    ] = ""
    secret: Annotated[
        str,
        msgspec.Meta(
            pattern=r"^([A-Za-z0-9._~+/-]+=*)?$",
            max_length=MAX_CREDENTIAL_CHARS,
            description="What is shown there as Authorization: Bearer; empty: nothing.",
        ),
    ] = ""
    ca: (
        Annotated[
            str,
            msgspec.Meta(
                max_length=MAX_SENT_CA_CHARS,
                description="CA certificates in PEM that alone are trusted there.",
            ),
        ]
        | None
    ) = None


class ReceiverList(msgspec.Struct, frozen=True, kw_only=True):
    """Every receiver, by name; there are 64 at most."""

    items: tuple[ShownReceiver, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverState:
    """A receiver, and how the deliveries to it go."""

    receiver: ShownReceiver
    status: ReceiverStatus


def _create(call: Call) -> ShownReceiver:
    wish: NewReceiver = call.body
    if not wish.url.startswith("https://"):
        raise ConfigError("the URL begins with https://")
    made = call.receivers.add(
        wish.name, url=wish.url, audience=wish.audience, secret=wish.secret, ca=wish.ca
    )
    return ShownReceiver.of(made)


def _list(call: Call) -> ReceiverList:
    return ReceiverList(items=tuple(map(ShownReceiver.of, call.receivers.list_receivers())))


def _state(call: Call) -> ReceiverState:
    receiver, status = call.receivers.status(call.target)
    return ReceiverState(receiver=ShownReceiver.of(receiver), status=status)


OPERATIONS: Final = (
    Operation(
        name="listReceivers",
        method="get",
        path="/receivers",
        summary="List who is told of revocations.",
        scope=RECEIVERS_READ,
        answer=ReceiverList,
        work=_list,
    ),
    Operation(
        name="addReceiver",
        method="post",
        path="/receivers",
        summary="Add a receiver; it is told of what is revoked from then on.",
        scope=RECEIVERS_WRITE,
        body=NewReceiver,
        answer=ShownReceiver,
        created=True,
        location=lambda receiver: f"/receivers/{quote(receiver.name)}",
        statuses=(409,),
        work=_create,
    ),
    Operation(
        name="getReceiver",
        method="get",
        path="/receivers/{id}",
        summary="Show a receiver, and how the deliveries to it go.",
        scope=RECEIVERS_READ,
        answer=ReceiverState,
        work=_state,
    ),
    Operation(
        name="removeReceiver",
        method="delete",
        path="/receivers/{id}",
        summary="Remove a receiver; what it was not told yet it is never told.",
        scope=RECEIVERS_WRITE,
        work=lambda call: call.receivers.remove(call.target),
    ),
)
