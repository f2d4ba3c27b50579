# SPDX-License-Identifier: Apache-2.0
"""What a gateway may pass on to a sub-device: what everybody concerned holds, and no more.

Each step takes the rights that two sides have in common, so that none can add any; the proof by
random rights is in the tests. What merely overlaps is not common: of ``a/+/c`` and ``a/b/#``
neither side holds the other's.
"""

from __future__ import annotations

from dataclasses import dataclass

from keyfob.server.authorization_details import Detail, common_details, details_of_claim
from keyfob.server.scopes import common_scopes, still_registered
from keyfob.server.token_lookup import FoundToken

__all__ = ["Rights", "common_rights", "rights_of"]


@dataclass(frozen=True, slots=True)
class Rights:
    """What a token says, or somebody holds."""

    scopes: tuple[str, ...] = ()
    details: tuple[Detail, ...] = ()


def rights_of(token: FoundToken) -> Rights:
    """Return what a token of ours says.

    Raises:
        KeyfobError: Its details are not what this server writes.
    """
    scope = token.members.get("scope", "")
    return Rights(
        tuple(scope.split()) if isinstance(scope, str) else (),
        details_of_claim(token.members.get("authorization_details")),
    )


def common_rights(
    gateway: tuple[str, ...], of_gateway: Rights, device: tuple[str, ...], own: Rights | None
) -> Rights:
    """Return what gateway and sub-device have in common.

    Args:
        gateway: The scopes that the gateway is registered for now.
        of_gateway: What the token says that it showed.
        device: The scopes that the sub-device is registered for.
        own: What the sub-device's own token says; None where it was not shown.
    """
    scopes = still_registered(gateway, of_gateway.scopes)
    details = common_details(gateway, (), of_gateway.details)
    held = Rights(common_scopes(scopes, device), common_details(device, (), details))
    if own is None:
        return held
    # What one side says by a scope the other may say by a detail.
    both = common_details(own.scopes, own.details, held.details)
    both += common_details(held.scopes, held.details, own.details)
    return Rights(common_scopes(own.scopes, held.scopes), tuple(dict.fromkeys(both)))
