# SPDX-License-Identifier: Apache-2.0
"""Fuzzes ``Guard.decide``: a CONNECT as a broker hands it on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from fuzz import octets, pieces
from fuzz.chance import Chance
from fuzz.signed_tokens import ISSUERS, KEYS, NOW, TOKENS
from fuzz.target import Check, Target, demand
from fuzz.token_texts import changed, decoded, encoded, negated
from keyfob.authorization.decision import ConnectRequest, Decision, DenyReason
from keyfob.authorization.policy import Policy
from keyfob.guard.guard import Guard, IssuerBinding
from keyfob.guard.key_sources import StaticKeySource

__all__ = ["TARGET"]

_INVARIANT: Final = (
    "Every CONNECT is decided: let in only with one token that was signed, for its own client "
    "identifier, and otherwise refused for a reason of the closed set; nothing repeats a token."
)
_NAMES: Final = (
    *("dev1", "dev1", "dev1", "dev2", "", "auto-1", "DEV1", "dev1\0", "é" * 99, "{device}"),
)
_FIELDS: Final = (b"", b"dev1", b"\xff\0", b"a.b.c", b"eyJ.e30.", b"eyJ" + b"A" * 65_000)
_THUMBPRINTS: Final = (None, b"", bytes(32), b"\xff" * 32, b"\0" * 31)


def make(chance: Chance) -> bytes:
    """Draw the fields of a CONNECT."""
    fields = [_field(chance) for _ in range(2)]
    thumbprint = chance.one(_THUMBPRINTS)
    return pieces.pack(
        chance.one(_NAMES),
        *(None if field is None else field.decode("latin-1") for field in fields),
        None if thumbprint is None else thumbprint.decode("latin-1"),
        chance.one((3, 4, 5)),
        [chance.often(0.8), chance.often(0.1)],
        "K-TOKEN" if chance.often(0.03) else None,
    )


def _field(chance: Chance) -> bytes | None:
    draw = chance.random()
    if draw < 0.4:
        return None
    if draw < 0.6:
        return bytes(chance.one(TOKENS))
    if draw < 0.9:
        return changed(chance)
    field: bytes = chance.one(_FIELDS)
    return octets.changed(chance, field) if chance.often(0.5) else field


def _good() -> frozenset[bytes]:
    """The tokens that were signed, and the second form that every ES256 signature has."""
    twins = set()
    for token in TOKENS:
        head, _, tail = token.rpartition(b".")
        if len(decoded(tail)) == 64:
            twins.add(head + b"." + encoded(negated(decoded(tail))))
    return frozenset(TOKENS) | twins


@contextmanager
def _opened() -> Iterator[Check]:
    good = _good()

    def check(data: bytes) -> str:
        # A guard of its own for each: whom the last one let in must not matter.
        binding = {
            iss: IssuerBinding(trusted=trusted, keys=StaticKeySource(KEYS[iss]), policy=Policy())
            for iss, trusted in ISSUERS.items()
        }
        guard = Guard(binding, clock=lambda: NOW, token_fields=("password", "username"))
        asked = _request(*pieces.unpack(data))
        decision = guard.decide(asked, broker="b")
        _demand_no_trace(decision, asked)
        if decision.allowed:
            _demand_rightful(decision, asked, good)
            return "allowed"
        demand(decision.reason in set(DenyReason), "refused for no reason")
        demand(not decision.permissions.rules, "refused, and may do something")
        return str(decision.reason)

    yield check


def _request(client_id: str, *rest: Any) -> ConnectRequest:
    username, password, thumbprint = (
        None if text is None else text.encode("latin-1") for text in rest[:3]
    )
    version, (clean, assigned), method = rest[3:]
    return ConnectRequest(
        client_id=client_id,
        username=username,
        password=password,
        certificate_thumbprint=thumbprint,
        protocol_version=version,
        clean=clean,
        assigned=assigned,
        authentication_method=method,
    )


def _demand_rightful(decision: Decision, asked: ConnectRequest, good: frozenset[bytes]) -> None:
    shown = [field for field in (asked.username, asked.password) if field in good]
    demand(len(shown) == 1, "let in without a token that was signed, or with two")
    demand(asked.authentication_method is None, "let in by a method that is not there")
    left_to_the_broker = (asked.assigned or not asked.client_id) and asked.clean
    own = asked.client_id == decision.principal
    demand(own or left_to_the_broker, "let in under another's name")
    demand(decision.expires_at > NOW, "let in after its end")


def _demand_no_trace(decision: Decision, asked: ConnectRequest) -> None:
    told = repr(decision) + repr(asked) + "".join(step.detail for step in decision.steps)
    for field in (asked.username, asked.password):
        parts = (field or b"").split(b".")
        demand(not any(len(p) > 24 and p.decode("latin-1") in told for p in parts), "a token shows")


TARGET = Target(name="connects", invariant=_INVARIANT, make=make, open=_opened)
