# SPDX-License-Identifier: Apache-2.0
"""``private_key_jwt``: a client proves that it has the private half of a registered key.

RFC 7523 section 3, with the audience of RFC 7523bis. The steps, in this order:

    1 what the assertion says     ``assertion.check_assertion``
    2 the registered keys         one look at the register, whether the client is known or not
    3 the signature               checked exactly once, with a key of nobody where there is none
    4 used for the first time     committed to disk before anything is answered

A signature is checked by the one algorithm of the key (RFC 8725 section 3.1): the header's ``alg``
only says which of the client's keys are meant.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from typing import Final, Protocol

from keyfob.errors import UpstreamError
from keyfob.server.client_authentication.assertion import (
    CLOCK_SKEW,
    AssertionRules,
    PresentedAssertion,
    check_assertion,
)
from keyfob.server.client_authentication.decoys import decoy_for
from keyfob.server.client_authentication.proven import ClientStore, Proven
from keyfob.server.oauth_errors import OAuthError, invalid_client
from keyfob.tokens.jws import CompactJws
from keyfob.tokens.keys import KeySet

__all__ = ["PrivateKeyJwt", "UsedAssertionStore", "signature_fault"]

# A used assertion is remembered for longer than it is good: clocks are set back, and those of
# several machines differ.
_REMEMBERED_LONGER: Final = CLOCK_SKEW


class UsedAssertionStore(Protocol):
    """Which assertions were used; shared by all processes of the server."""

    async def insert_if_absent(
        self, client_id: str, token_hash: bytes, *, until: int, now: float
    ) -> bool:
        """Remember a use, on disk, until some time; False where it was remembered already.

        One atomic operation: of any number at once, in whatever process, one gets True.

        Raises:
            UpstreamError: It could not be written down.
        """


class PrivateKeyJwt:
    """Proves an assertion.

    Args:
        clients: The register.
        used: Which assertions were used before.
        rules: What this server wants of an assertion.
        clock: Unix seconds.
    """

    def __init__(
        self,
        clients: ClientStore,
        used: UsedAssertionStore,
        rules: AssertionRules,
        clock: Callable[[], float],
    ) -> None:
        self._clients = clients
        self._used = used
        self._rules = rules
        self._clock = clock

    async def prove(self, shown: PresentedAssertion) -> Proven:
        """Return the client that has signed the assertion, and use it up.

        Raises:
            OAuthError: ``invalid_client``; which of the reasons it was stays in the audit.
                ``temporarily_unavailable`` where its use cannot be written down.
        """
        now = self._clock()
        check_assertion(shown, self._rules, now)
        stored = await self._clients.find_secret(shown.client_id)
        fault = signature_fault(shown.jws, None if stored is None else stored.jwks)
        if stored is None:
            raise invalid_client("client_unknown")
        if fault is not None:
            raise invalid_client(fault)
        if not await self._use(shown, now):
            raise invalid_client("assertion_replayed")
        return Proven(client_id=shown.client_id, stored=stored)

    async def _use(self, shown: PresentedAssertion, now: float) -> bool:
        try:
            return await self._used.insert_if_absent(
                shown.client_id,
                hashlib.sha256(shown.claims.token_id.encode()).digest(),
                until=math.ceil(shown.claims.expires_at) + _REMEMBERED_LONGER,
                now=now,
            )
        except UpstreamError:  # refused rather than accepted twice
            raise OAuthError(
                "temporarily_unavailable", "try again later", reason="assertion_use_not_written"
            ) from None


def signature_fault(jws: CompactJws, jwks: str | None) -> str | None:
    """Check the signature, with the same work whether or not there is a key for it."""
    decoy = decoy_for(jws.header.alg)
    keys = KeySet.from_jwks((decoy.jwks if jwks is None else jwks).encode())
    found = keys.find(jws.header.kid, jws.header.alg)
    key = found[0] if len(found) == 1 else decoy.key
    signed = key.verify(jws.signing_input, jws.signature)
    if jwks is None:
        return "keys_missing"
    if len(found) != 1:  # several, without a kid: trying them all would tell that there are
        return "assertion_key_ambiguous" if found else "assertion_key_unknown"
    return None if signed else "assertion_signature_wrong"
