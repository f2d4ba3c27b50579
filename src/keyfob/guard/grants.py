# SPDX-License-Identifier: Apache-2.0
"""What tokens allow, worked out once for all that say the same.

A device's next token usually grants what its last one did. Tokens that agree in all that their
policy looks at share one compiled set of permissions; what that is the policy knows.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Mapping
from typing import Final

from keyfob.authorization.policy import Granted, Policy
from keyfob.tokens.verify import VerifiedToken

__all__ = ["Grants"]

MAX_SHARED: Final = 20_000
"""As many as there are verified tokens kept; about 60 MB with eight filters each."""

_Key = tuple[str, str, Hashable]


class Grants:
    """The permissions of tokens.

    Args:
        policies: How the tokens of each issuer are read, by its ``iss``.
        size: How many sets are kept to be shared; the least recently used goes first.
    """

    def __init__(self, policies: Mapping[str, Policy], size: int = MAX_SHARED) -> None:
        self._policies = dict(policies)
        self._size = size
        self._shared: OrderedDict[_Key, Granted] = OrderedDict()

    def of(self, token: VerifiedToken) -> Granted:
        """Return what a token allows.

        Raises:
            KeyfobError: It cannot be read, or is more than a broker can hold.
        """
        claims = token.claims
        policy = self._policies[claims.issuer]
        reads = policy.reads(claims)
        if reads is None:
            return policy.permissions(claims, token.device)
        key = (claims.issuer, token.device, reads)
        granted = self._shared.get(key)
        if granted is not None:
            self._shared.move_to_end(key)
            return granted
        granted = self._shared[key] = policy.permissions(claims, token.device)
        if len(self._shared) > self._size:
            self._shared.popitem(last=False)
        return granted
