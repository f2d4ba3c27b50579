# SPDX-License-Identifier: Apache-2.0
"""Many devices at once over the admin API: a thousand in a request, each request one transaction.

So a request that is repeated, because its answer was lost, goes on where the first one was; only
secrets in a lost answer are lost, and are made anew.
"""

from __future__ import annotations

import io
from typing import Annotated, Final

import msgspec

from keyfob.server.admin.devices import Overlap, Selected, UntilUsed
from keyfob.server.admin.operations import Call, Lines, Operation
from keyfob.server.admin_scopes import DEVICES_READ, DEVICES_WRITE, GRANTS_WRITE
from keyfob.server.fleet import Chosen, ManyOutcome
from keyfob.server.fleet_batch import BatchOutcome, DeviceSecret
from keyfob.server.fleet_rows import RowReader, written

__all__ = ["MAX_NAMES", "OPERATIONS", "NamedDevices", "NewSecrets", "RotatedSecrets"]

MAX_NAMES: Final = 1_000
_Names = Annotated[
    tuple[Annotated[str, msgspec.Meta(max_length=128)], ...],
    msgspec.Meta(min_length=1, max_length=MAX_NAMES),
]


class NamedDevices(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Devices by their names."""

    devices: _Names


class NewSecrets(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Devices whose secrets are followed by others."""

    devices: _Names
    overlap: Overlap = 0
    until_used: UntilUsed = False


class RotatedSecrets(msgspec.Struct, frozen=True, kw_only=True):
    """What was done, and the new secrets, which are shown this once."""

    outcome: ManyOutcome
    secrets: tuple[DeviceSecret, ...]


def _disable(call: Call) -> ManyOutcome:
    return call.register.fleet.disable(Chosen(listed=call.body.devices))


def _rotate(call: Call) -> RotatedSecrets:
    wish: NewSecrets = call.body
    outcome, made = call.register.fleet.rotate_listed(
        wish.devices, overlap=wish.overlap, until_used=wish.until_used
    )
    return RotatedSecrets(
        outcome=outcome,
        secrets=tuple(DeviceSecret(device=name, secret=secret) for name, secret in made),
    )


def _import(call: Call) -> BatchOutcome:
    # What `POST /grants/{id}/allow` needs a scope for is not had by the way of a row.
    gateways = GRANTS_WRITE in call.caller.scopes
    reader = RowReader(io.BytesIO(call.body), "jsonl")
    return call.register.fleet.import_batch(reader, gateways=gateways)


def _export(call: Call) -> Lines:
    query: Selected = call.query
    page = call.register.fleet.page(query.selection, after=query.after, limit=query.limit + 1)
    rows = page[: query.limit]
    return Lines(
        text=written(rows, "jsonl"), next=rows[-1].device_id if len(page) > len(rows) else None
    )


OPERATIONS: Final = (
    Operation(
        name="disableDevices",
        method="post",
        path="/bulk/disable",
        summary="Disable so many devices, and revoke the tokens that they have.",
        scope=DEVICES_WRITE,
        body=NamedDevices,
        answer=ManyOutcome,
        work=_disable,
    ),
    Operation(
        name="rotateDeviceSecrets",
        method="post",
        path="/bulk/rotate-secrets",
        summary="Give so many devices new secrets, shown this once.",
        scope=DEVICES_WRITE,
        body=NewSecrets,
        answer=RotatedSecrets,
        work=_rotate,
    ),
    Operation(
        name="importDevices",
        method="post",
        path="/bulk/import",
        summary="Register the devices of so many JSON lines; rows that are wrong are told.",
        scope=DEVICES_WRITE,
        body=bytes,
        answer=BatchOutcome,
        work=_import,
    ),
    Operation(
        name="exportDevices",
        method="get",
        path="/bulk/export",
        summary="Write devices as JSON lines, never their secrets; page by page.",
        scope=DEVICES_READ,
        query=Selected,
        answer=Lines,
        work=_export,
    ),
)
