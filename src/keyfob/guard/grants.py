# SPDX-License-Identifier: Apache-2.0
"""What tokens allow, worked out once for all that say the same.

A device's next token usually grants what its last one did. Where a policy reads nothing but the
scopes and the device's names, tokens that agree in those share one compiled set of permissions.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Final

from keyfob.authorization.policy import Granted, Policy
from keyfob.tokens.verify import VerifiedToken

__all__ = ["Grants"]

MAX_SHARED: Final = 20_000
"""As many as there are verified tokens kept; about 60 MB with eight filters each."""

_Key = tuple[str, str, str, str, tuple[str, ...]]


class Grants:
    """The permissions of tokens.

    Args:
        policies: How the tokens of each issuer are read, by its ``iss``.
        size: How many sets are kept to be shared; the least recently used goes first.
    """

    def __init__(self, policies: Mapping[str, Policy], size: int = MAX_SHARED) -> None:
        self._policies = dict(policies)
        self._shareable = {iss for iss, policy in policies.items() if _reads_scopes_only(policy)}
        self._size = size
        self._shared: OrderedDict[_Key, Granted] = OrderedDict()

    def of(self, token: VerifiedToken) -> Granted:
        """Return what a token allows.

        Raises:
            KeyfobError: It is more than a broker can hold.
        """
        claims = token.claims
        policy = self._policies[claims.issuer]
        if claims.issuer not in self._shareable:
            return policy.permissions(claims, token.device)
        key = (claims.issuer, token.device, claims.subject, claims.client_id, claims.scope)
        granted = self._shared.get(key)
        if granted is not None:
            self._shared.move_to_end(key)
            return granted
        granted = self._shared[key] = policy.permissions(claims, token.device)
        if len(self._shared) > self._size:
            self._shared.popitem(last=False)
        return granted


def _reads_scopes_only(policy: Policy) -> bool:
    return all(
        row.kind == "scope" and not any("{claim:" in template for _, template in row.templates())
        for row in policy.rules
    )
