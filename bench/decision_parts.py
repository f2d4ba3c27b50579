# SPDX-License-Identifier: Apache-2.0
"""Where a decision's time goes: the parts of its path, each timed alone on tokens never seen.

What is timed are the functions that the guard itself calls, a batch of calls of one part at a time,
so that its code and data stay in the processor's caches. In the whole the parts alternate, and each
finds there what the one before has left. The last row is that difference.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Final, TypeVar

from bench.rounds import Series
from keyfob.guard.audit import AuditEvent, AuditLog, Outcome
from keyfob.guard.grants import Grants
from keyfob.guard.issuer_bindings import IssuerBinding
from keyfob.tokens import jws
from keyfob.tokens.signer import find_signer
from keyfob.tokens.verify import VerifiedToken, reverify

__all__ = ["PARTS", "part_variants", "split"]

PARTS: Final = {
    "signature": "find the key, R || S to DER, OpenSSL's ES256 verify",
    "parsing": "base64url and strict JSON of header and claims set",
    "claims": "types, kinds, issuer, audience, times, scopes, device",
    "permissions": "scopes to topic filters to rules",
    "audit": "the event, its counter, its line in the file",
}
_AROUND: Final = "digest, cache, revocations, client identifier, session, answer, histogram"
_TOGETHER: Final = "what the parts cost more when they alternate, and memory that is kept"

_Input = TypeVar("_Input")


def part_variants(
    binding: IssuerBinding, batches: Iterator[Sequence[bytes]], audit: AuditLog
) -> dict[str, Callable[[], Mapping[str, float]]]:
    """Return what to run each round, by the part's name.

    Args:
        binding: The one issuer.
        batches: Tokens of its devices; every batch is of devices that were not there before, so
            that nothing remembers them.
        audit: Where events go.
    """
    issuer, keys = binding.trusted, binding.keys.keys
    issuers = {issuer.issuer: issuer}
    grants = Grants({issuer.issuer: binding.policy})
    now = time.time()

    def verified(payload: bytes) -> VerifiedToken:
        return reverify(payload, issuers, now, key_id="k")

    def payloads() -> list[bytes]:
        return [jws.parse_compact(token).payload for token in next(batches)]

    def signature() -> float:
        parsed = [jws.parse_compact(token) for token in next(batches)]
        return _each(lambda token: find_signer(token, issuer, keys), parsed)

    def parsing() -> float:
        return _each(_parse, next(batches))

    def claims() -> float:
        inputs = payloads()
        return _each(verified, inputs) - _each(_members, inputs)

    def permissions() -> float:
        return _each(grants.of, [verified(payload) for payload in payloads()])

    def told() -> float:
        tokens = [verified(payload) for payload in payloads()]
        return _each(lambda token: audit.record(_event(token, now)), tokens, audit.flush)

    run = {
        "signature": signature,
        "parsing": parsing,
        "claims": claims,
        "permissions": permissions,
        "audit": told,
    }
    return {name: partial(_figures, part) for name, part in run.items()}


def split(
    fresh: Series, repeated: Series, parts: Mapping[str, Series]
) -> list[tuple[str, Series, str]]:
    """Return each part's name, its figures and what it is, for a table that adds up to the whole.

    Args:
        fresh: A whole decision about a token never seen.
        repeated: One about a token that is known: what is around the parts, and the audit.
        parts: The parts' figures.
    """
    around = _less(repeated, parts["audit"])
    return [
        *((name, series, PARTS[name]) for name, series in parts.items()),
        ("around", around, _AROUND),
        ("together", _less(fresh, around, *parts.values()), _TOGETHER),
    ]


def _less(whole: Series, *parts: Series) -> Series:
    rounds = zip(whole.values, *(part.values for part in parts), strict=True)
    return Series(tuple(total - sum(values) for total, *values in rounds))


def _figures(part: Callable[[], float]) -> Mapping[str, float]:
    return {"cpu": part()}


def _each(
    part: Callable[[_Input], object],
    inputs: Sequence[_Input],
    finish: Callable[[], None] | None = None,
) -> float:
    """Return the CPU time of one call, in microseconds."""
    began = time.process_time()
    for value in inputs:
        part(value)
    if finish is not None:
        finish()
    return (time.process_time() - began) / len(inputs) * 1e6


def _parse(token: bytes) -> None:
    _members(jws.parse_compact(token).payload)


def _members(payload: bytes) -> None:
    jws.json_object(payload, "claims set")


def _event(token: VerifiedToken, now: float) -> AuditEvent:
    return AuditEvent(
        time=now,
        outcome=Outcome.ALLOWED,
        broker="bench",
        client_id=token.device,
        principal=token.device,
        issuer=token.claims.issuer,
        token_id=token.claims.token_id,
        peer="127.0.0.1",
        expires_at=token.expires_at,
    )
