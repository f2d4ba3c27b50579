# SPDX-License-Identifier: Apache-2.0
"""Signing keys over the admin API; of their private halves nothing is ever shown."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from keyfob.server.admin.operations import Operation
from keyfob.server.admin_scopes import KEYS_READ, KEYS_WRITE
from keyfob.server.signing.key_register import ShownKey

__all__ = ["OPERATIONS", "KeyList", "Rotation"]


class KeyList(msgspec.Struct, frozen=True, kw_only=True):
    """Every signing key, the one that signs last first."""

    items: tuple[ShownKey, ...]


class Rotation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the signing key is followed by another."""

    now: Annotated[
        bool,
        msgspec.Meta(
            description="Whether the new key signs at once, unannounced: for emergencies."
        ),
    ] = False


OPERATIONS: Final = (
    Operation(
        name="listKeys",
        method="get",
        path="/keys",
        summary="List the signing keys.",
        scope=KEYS_READ,
        answer=KeyList,
        work=lambda call: KeyList(items=call.keys.list_keys()),
    ),
    Operation(
        name="rotateKey",
        method="post",
        path="/keys/rotate",
        summary="Make a new signing key, and return it.",
        scope=KEYS_WRITE,
        body=Rotation,
        answer=ShownKey,
        created=True,
        statuses=(409,),
        work=lambda call: call.keys.rotate(at_once=call.body.now),
    ),
    Operation(
        name="removeKey",
        method="delete",
        path="/keys/{id}",
        summary="Publish a key no longer: every token that it signed ends.",
        scope=KEYS_WRITE,
        statuses=(409,),
        work=lambda call: call.keys.remove(call.target),
    ),
)
