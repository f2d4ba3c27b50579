# SPDX-License-Identifier: Apache-2.0
"""Fuzzes native scopes: ``authorization.syntaxes.scopes``, and narrowing at the token endpoint."""

from __future__ import annotations

from typing import Final
from urllib.parse import unquote

from fuzz import pieces
from fuzz.chance import Chance
from fuzz.target import Target, demand
from fuzz.topic_texts import drawn_filter, near
from keyfob.authorization.permissions import Operation, Rule
from keyfob.authorization.syntaxes.scopes import (
    CONNECT,
    encode_scope,
    parse_scope,
    parse_scopes,
    scope_covers,
)
from keyfob.mqtt.topics import witness
from keyfob.server.oauth_errors import OAuthError
from keyfob.server.scopes import narrowed

__all__ = ["TARGET"]

_INVARIANT: Final = (
    "Any text gives rules or says why not and raises nothing, every rule says what its scope says "
    "once decoded and can be written again, and no narrowed scope allows a topic that the "
    "registered ones do not."
)
_KINDS: Final = (
    "mqtt.publish:",
    "mqtt.subscribe:",
    "mqtt.publish",
    "mqtt.read:",
    "",
    "MQTT.publish:",
)
_PLAIN: Final = (CONNECT, "openid", "mqtt.publish:a/#", "mqtt.subscribe:a/+", "mqtt.publish:#", "")
_ODD: Final = (
    "%",
    "%2",
    "%zz",
    "%25",
    "%2525",
    "%00",
    "%ff",
    "%c3%a4",
    "%2F",
    "%23",
    " ",
    '"',
    "ä",
)


def make(chance: Chance) -> bytes:
    """Draw the scopes of a token, those that are registered, and what is asked for."""
    scopes = [_scope(chance) for _ in range(chance.few(5))]
    registered = [_scope(chance) for _ in range(chance.few(3))]
    asked = [near(chance, chance.one(registered)) for _ in range(chance.few(3))]
    one_text = chance.often(0.5)
    return pieces.pack(" ".join(scopes) if one_text else scopes, registered, " ".join(asked))


def check(data: bytes) -> str:
    """Read scopes, and narrow others."""
    scopes, registered, asked = pieces.unpack(data)
    parsed = parse_scopes(scopes)
    entries = scopes.split(" ") if isinstance(scopes, str) else scopes
    wanted = {entry for entry in entries if entry not in ("", CONNECT)}
    demand(len(parsed.rules) + len(parsed.ignored) == len(wanted), "a scope is lost")
    for rule in parsed.rules:
        _check_rule(rule)
    demand(all(ignored.why for ignored in parsed.ignored), "ignored without a reason")
    given = _narrowed(tuple(registered), asked)
    return f"{'rules' if parsed.rules else 'none'}, {'narrowed' if given else 'refused'}"


def _scope(chance: Chance) -> str:
    if chance.often(0.3):
        return chance.one(_PLAIN)
    text = drawn_filter(chance)[:400]
    if chance.often(0.3):
        at = chance.place(len(text))
        text = text[:at] + chance.one(_ODD) + text[at:]
    return chance.one(_KINDS) + text


def _check_rule(rule: Rule) -> None:
    scope = rule.source.removeprefix("scope ")
    demand(rule.operations in (Operation.PUBLISH, Operation.SUBSCRIBE), "not one operation")
    text = scope.partition(":")[2]
    demand(str(rule.filter) == unquote(text, errors="strict"), "another filter than it says")
    written = encode_scope(rule.operations, rule.filter)
    demand(parse_scope(written) == rule, "written and read, it is another rule")


def _narrowed(registered: tuple[str, ...], asked: str) -> tuple[str, ...] | None:
    try:
        given = narrowed(registered, asked)
    except OAuthError as error:
        demand(error.error == "invalid_scope", "another error")
        return None
    for scope in given:
        holders = [held for held in registered if scope_covers(held, scope)]
        demand(holders, "a scope that nobody holds")
        if scope not in registered:
            wanted = parse_scope(scope)
            held = parse_scope(holders[0])
            demand(held.operations == wanted.operations, "another operation")
            demand(witness(held.filter, wanted.filter) is None, "a topic that was not registered")
    return given


TARGET = Target.of("scopes", _INVARIANT, make, check)
