# SPDX-License-Identifier: Apache-2.0
"""What a client's access tokens are, as options of the commands that register clients."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import typer

from keyfob.server.client_metadata import ClientMetadata

__all__ = ["Dpop", "Opaque", "ProofKey", "shown_tokens", "token_metadata"]

Opaque = Annotated[
    bool | None,
    typer.Option(
        "--opaque/--jwt",
        help="Its access tokens are opaque, or JWTs; without either, as [server] says.",
    ),
]
Dpop = Annotated[
    bool, typer.Option("--dpop", help="It gets no token without a DPoP proof (RFC 9449).")
]
ProofKey = Annotated[
    Literal["registered", "symmetric"] | None,
    typer.Option(
        help="Bind its tokens to its registered key, or to a symmetric one that comes with each."
    ),
]
_FORMS: Final = {None: "", True: "opaque", False: "jwt"}
_KEYS: Final = {None: "", "registered": "jwk", "symmetric": "symmetric"}


def token_metadata(
    *, opaque: bool | None, dpop: bool = False, proof_key: str | None = None
) -> ClientMetadata:
    """Return what the options mean, by the names of client metadata."""
    return ClientMetadata(
        dpop_bound_access_tokens=dpop,
        access_token_format=_FORMS[opaque],  # type: ignore[arg-type]
        access_token_confirmation=_KEYS[proof_key],  # type: ignore[arg-type]
    )


def shown_tokens(metadata: ClientMetadata) -> str:
    """Return how to show it: such as ``opaque dpop``; empty where all is as the server has it."""
    words = [metadata.access_token_format, "dpop" * metadata.dpop_bound_access_tokens]
    words.append(metadata.access_token_confirmation and f"{metadata.access_token_confirmation}-key")
    return " ".join(filter(None, words))
