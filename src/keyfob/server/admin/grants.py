# SPDX-License-Identifier: Apache-2.0
"""Over the admin API: which grants a client may use, and for which devices a gateway acts.

Their scopes are their own. Who may change a device's rights may not for that reason make it a
gateway that gets tokens for others.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from keyfob.server.admin.operations import Call, Operation
from keyfob.server.admin_scopes import GRANTS_READ, GRANTS_WRITE
from keyfob.server.client_grants import ClientGrants
from keyfob.server.name_patterns import MAX_PATTERNS

__all__ = ["OPERATIONS", "AllowedGrant", "WithdrawnGrant"]

_Grant = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=80,
        description="A grant type, or the end of its URN, such as token-exchange.",
        examples=["token-exchange"],
    ),
]
_Patterns = Annotated[
    tuple[
        Annotated[str, msgspec.Meta(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9._~*-]+$")],
        ...,
    ],
    msgspec.Meta(
        max_length=MAX_PATTERNS,
        description="The devices that a gateway acts for: names, or such with a single *.",
    ),
]


class AllowedGrant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A grant that a client may use from now on; without ``may_act_for`` that stays as it is."""

    grant: _Grant
    may_act_for: _Patterns | msgspec.UnsetType = msgspec.UNSET


class WithdrawnGrant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A grant that a client may not use any more."""

    grant: _Grant


def _allow(call: Call) -> ClientGrants:
    wish: AllowedGrant = call.body
    patterns = None if wish.may_act_for is msgspec.UNSET else wish.may_act_for
    return call.register.allow_grant(call.target, wish.grant, act_for=patterns)


OPERATIONS: Final = (
    Operation(
        name="getGrants",
        method="get",
        path="/grants/{id}",
        summary="Show which grants a device or an application may use.",
        scope=GRANTS_READ,
        answer=ClientGrants,
        work=lambda call: call.register.show_grants(call.target),
    ),
    Operation(
        name="allowGrant",
        method="post",
        path="/grants/{id}/allow",
        summary="Let a device or an application use one more grant.",
        scope=GRANTS_WRITE,
        body=AllowedGrant,
        answer=ClientGrants,
        work=_allow,
    ),
    Operation(
        name="withdrawGrant",
        method="post",
        path="/grants/{id}/withdraw",
        summary="Take a grant from a client; tokens that it got by it end in their own time.",
        scope=GRANTS_WRITE,
        body=WithdrawnGrant,
        answer=ClientGrants,
        work=lambda call: call.register.withdraw_grant(call.target, call.body.grant),
    ),
)
