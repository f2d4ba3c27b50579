# SPDX-License-Identifier: Apache-2.0
"""A token as bytes, for whoever keeps it: JSON with a version."""

from __future__ import annotations

import math
from typing import Final

import msgspec

from keyfob.device.clock import Moment
from keyfob.device.token import Token, is_token_text

__all__ = ["MAX_KEPT", "decode_token", "encode_token"]

MAX_KEPT: Final = 1024 * 1024
"""Bytes that no kept token has."""

_VERSION: Final = 1


class _Kept(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What is kept; what a newer version wrote reads as nothing."""

    version: int
    access_token: str
    token_type: str
    scope: str
    lifetime: float
    boot: str
    elapsed: float
    wall: float
    refresh_token: str | None = None
    origin: str = ""
    proof_key: bytes | None = None

    def __repr__(self) -> str:
        return "_Kept(...)"


def encode_token(token: Token) -> bytes:
    """Write a token as a store keeps it."""
    kept = _Kept(
        version=_VERSION,
        access_token=token.access_token,
        token_type=token.token_type,
        scope=token.scope,
        lifetime=token.lifetime,
        boot=token.obtained.boot,
        elapsed=token.obtained.elapsed,
        wall=token.obtained.wall,
        refresh_token=token.refresh_token,
        origin=token.origin,
        proof_key=token.proof_key,
    )
    return msgspec.json.encode(kept)


def decode_token(data: bytes) -> Token | None:
    """Read what ``encode_token`` wrote; None: it is something else."""
    try:
        kept = msgspec.json.decode(data, type=_Kept)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    times = (kept.lifetime, kept.elapsed, kept.wall)
    if kept.version != _VERSION or not all(map(math.isfinite, times)) or not kept.lifetime > 0:
        return None
    if not is_token_text(kept.access_token):
        return None
    if kept.refresh_token is not None and not is_token_text(kept.refresh_token):
        return None
    return Token(
        access_token=kept.access_token,
        token_type=kept.token_type,
        scope=kept.scope,
        lifetime=kept.lifetime,
        obtained=Moment(boot=kept.boot, elapsed=kept.elapsed, wall=kept.wall),
        refresh_token=kept.refresh_token,
        origin=kept.origin,
        proof_key=kept.proof_key,
    )
