# SPDX-License-Identifier: Apache-2.0
"""Binds a token to the key of a DPoP proof, which counts once (RFC 9449 sections 5, 8 and 11.1)."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Final, Protocol

from starlette.requests import Request

from keyfob.errors import UpstreamError
from keyfob.server.clients import Client
from keyfob.server.dpop.address import normalised
from keyfob.server.dpop.nonces import SLOT_SECONDS, Nonces, NonceStanding
from keyfob.server.dpop.proof import (
    LONGEST_GOOD,
    Proof,
    check_proof,
    check_signature,
    invalid_proof,
    read_proof,
)
from keyfob.server.oauth_errors import OAuthError

__all__ = ["NONCE_HEADER", "DpopBinding", "UsedProofStore"]

NONCE_HEADER: Final = "DPoP-Nonce"
# Longer than any proof is good, by its nonce or by its iat, and by clocks that are set back a bit.
_REMEMBERED: Final = max(LONGEST_GOOD, 3 * SLOT_SECONDS) + 60


class UsedProofStore(Protocol):
    """Which proofs were used; shared by all processes of the server."""

    async def insert_if_absent(self, proof_hash: bytes, *, until: int, now: float) -> bool:
        """Remember a use, on disk, until some time; False where it was remembered already.

        One atomic operation: of any number at once, in whatever process, one gets True.

        Raises:
            UpstreamError: It could not be written down.
        """


class DpopBinding:
    """A ``Binding``: the thumbprint of the proof's key is ``jkt`` (RFC 9449 section 6.1).

    Args:
        endpoints: The URLs that a proof may be for.
        used: Which proofs were used before.
        nonces: What proofs must hold; None: they need no nonce.
    """

    def __init__(
        self, endpoints: frozenset[str], used: UsedProofStore, nonces: Nonces | None
    ) -> None:
        self._endpoints = frozenset(filter(None, map(normalised, endpoints)))
        self._used = used
        self._nonces = nonces

    async def confirm(
        self,
        request: Request,
        client: Client,
        parameters: Mapping[str, str],  # noqa: ARG002 - a proof is a header
        *,
        now: float,
    ) -> Mapping[str, object]:
        """Return the thumbprint of the key that was proven; nothing where no proof is shown.

        Raises:
            OAuthError: ``invalid_dpop_proof``: it is not good, or has to be there and is not;
                ``use_dpop_nonce``: it needs the nonce that comes with this answer;
                ``temporarily_unavailable``: its use cannot be written down.
        """
        values = request.headers.getlist("dpop")
        if not values:
            if client.metadata.dpop_bound_access_tokens:
                raise invalid_proof("proof_required", "a DPoP proof is required")
            return {}
        proof = read_proof(values)
        if self._nonces is not None:
            self._check_nonce(self._nonces, proof, now)
        check_proof(proof, self._endpoints, now, fresh=self._nonces is not None)
        check_signature(proof)
        if not await self._use(proof, now):
            raise invalid_proof("replayed")
        return {"jkt": proof.key.thumbprint}

    def answered(self, confirmation: Mapping[str, object], now: float) -> Mapping[str, str]:
        """Return the headers of a successful answer: the nonce of the next proof (section 8.2)."""
        if self._nonces is None or "jkt" not in confirmation:
            return {}
        return {NONCE_HEADER: self._nonces.current(now)}

    def _check_nonce(self, nonces: Nonces, proof: Proof, now: float) -> None:
        found = NonceStanding.UNKNOWN
        if proof.nonce is not None:
            found = nonces.standing(proof.nonce, now)
        if found is NonceStanding.GOOD:
            return
        reason = "missing" if proof.nonce is None else found.value
        raise OAuthError(
            "use_dpop_nonce",
            "the DPoP proof needs the nonce of this answer",
            reason=f"dpop_nonce_{reason}",
            # A step of the protocol, which every client takes now and then, is no event.
            told=reason == "unknown",
            headers={NONCE_HEADER: nonces.current(now)},
        )

    async def _use(self, proof: Proof, now: float) -> bool:
        # With its key: nobody can use up the jti of somebody else.
        name = f"{proof.key.thumbprint}\0{proof.token_id}"
        try:
            return await self._used.insert_if_absent(
                hashlib.sha256(name.encode()).digest(), until=math.ceil(now) + _REMEMBERED, now=now
            )
        except UpstreamError:  # refused rather than accepted twice
            raise OAuthError(
                "temporarily_unavailable", "try again later", reason="dpop_use_not_written"
            ) from None
