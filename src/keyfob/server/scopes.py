# SPDX-License-Identifier: Apache-2.0
"""What a device's tokens may say: fixed at registration, narrowed by a request.

A scope that names topics (``mqtt.publish:a/#``) may be narrowed to one that it covers
(``mqtt.publish:a/b``); every other scope is compared as text (RFC 6749 sections 3.3 and 6).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from keyfob.authorization.permissions import Operation, Rule
from keyfob.authorization.syntaxes.scopes import (
    CONNECT,
    encode_scope,
    is_scope_token,
    parse_scope,
)
from keyfob.errors import ConfigError, TopicError
from keyfob.mqtt.topics import expand
from keyfob.server.held_filters import HeldFilters
from keyfob.server.oauth_errors import OAuthError

__all__ = [
    "MAX_SCOPES",
    "MAX_SCOPE_LENGTH",
    "check_scopes",
    "checked_extra",
    "device_scopes",
    "fit_a_token",
    "common_scopes",
    "narrowed",
    "still_registered",
]

# A token is at most 16,384 bytes long (tokens.jws.MAX_TOKEN_BYTES): base64 makes four characters
# of three, and the other claims, the header and the signature need a part of the room.
MAX_SCOPE_LENGTH: Final = 10_000
MAX_SCOPES: Final = 128
_NATIVE: Final = ("mqtt.publish:", "mqtt.subscribe:")
_OURS: Final = "keyfob."


def device_scopes(
    device_id: str,
    *,
    publish: Iterable[str] = (),
    subscribe: Iterable[str] = (),
    extra: Iterable[str] = (),
) -> tuple[str, ...]:
    """Return the scopes that a device is registered for, ``mqtt.connect`` first.

    Args:
        device_id: Its name, for ``{device}`` in the filters.
        publish: Topic filters it may publish to.
        subscribe: Topic filters it may subscribe to.
        extra: Scopes as they are, each one or several separated by spaces.

    Raises:
        TopicError: A filter is not one, or has an unknown placeholder.
        ConfigError: A scope is not one, is reserved, or they are too many for a token.
    """
    filters = [(Operation.PUBLISH, text) for text in publish]
    filters += [(Operation.SUBSCRIBE, text) for text in subscribe]
    found = [CONNECT, *(_native_scope(device_id, *each) for each in filters)]
    scopes = tuple(dict.fromkeys([*found, *checked_extra(extra)]))
    check_scopes(scopes)
    return scopes


def checked_extra(extra: Iterable[str]) -> tuple[str, ...]:
    """Return scopes as they are, each of the given ones cut at its spaces.

    Raises:
        TopicError: One about topics has no topic filter.
        ConfigError: One is no scope, or is reserved.
    """
    return tuple(_checked(scope) for text in extra for scope in text.split())


def fit_a_token(scopes: tuple[str, ...]) -> bool:
    """Say whether a token has room for these scopes."""
    return len(scopes) <= MAX_SCOPES and len(" ".join(scopes)) <= MAX_SCOPE_LENGTH


def check_scopes(scopes: tuple[str, ...]) -> None:
    """Refuse more scopes than a token holds.

    Raises:
        ConfigError: They are too many, or too long.
    """
    if not fit_a_token(scopes):
        raise ConfigError(
            f"a token holds {MAX_SCOPES} scopes of together {MAX_SCOPE_LENGTH} characters at most; "
            "give the device one scope of your own and let a policy table say what it allows"
        )


def narrowed(registered: tuple[str, ...], requested: str | None) -> tuple[str, ...]:
    """Return the scopes of a token: those requested, or all that are registered.

    Args:
        registered: The scopes of the device.
        requested: The ``scope`` parameter; None where it was left out.

    Raises:
        OAuthError: ``invalid_scope``: malformed, or more than what is registered.
    """
    if requested is None:
        if not fit_a_token(registered):  # groups may have brought this about, one by one
            raise OAuthError(
                "invalid_scope", "more is registered than a token holds", reason="scope_too_long"
            )
        return registered
    scopes = tuple(dict.fromkeys(requested.split(" ")))
    too_much = len(requested) > MAX_SCOPE_LENGTH or len(scopes) > MAX_SCOPES
    if too_much or not all(map(is_scope_token, scopes)):
        raise OAuthError("invalid_scope", "the scope is malformed", reason="scope_malformed")
    known = frozenset(registered)
    others = [scope for scope in scopes if scope not in known]
    if others and not _all_covered(registered, others):
        raise OAuthError(
            "invalid_scope", "the scope exceeds what is registered", reason="scope_exceeded"
        )
    return scopes


def still_registered(registered: tuple[str, ...], granted: tuple[str, ...]) -> tuple[str, ...]:
    """Return what is left of scopes that were granted, where less is registered since then."""
    known = frozenset(registered)
    changed = [scope for scope in granted if scope not in known]
    if not changed:
        return granted
    held = _held(registered)
    left = known.union(scope for scope in changed if _is_covered(held, _rule(scope)))
    return tuple(scope for scope in granted if scope in left)


def common_scopes(first: tuple[str, ...], second: tuple[str, ...]) -> tuple[str, ...]:
    """Return the scopes of either side that the other one holds, or covers; ``second`` first.

    Where two filters only overlap, as ``a/+/c`` and ``a/b/#`` do, neither is held by both.
    """
    both = still_registered(first, second) + still_registered(second, first)
    return tuple(dict.fromkeys(both))


def _all_covered(registered: Iterable[str], requested: Iterable[str]) -> bool:
    held = _held(registered)
    return all(_is_covered(held, wanted) for wanted in map(_rule, requested))


def _held(scopes: Iterable[str]) -> HeldFilters:
    held = HeldFilters()
    for rule in map(_rule, scopes):
        if rule is not None:
            held.add(rule.operations, rule.filter)
    return held


def _is_covered(held: HeldFilters, wanted: Rule | None) -> bool:
    return wanted is not None and held.cover(wanted.operations, wanted.filter)


def _rule(scope: str) -> Rule | None:
    try:
        return parse_scope(scope)
    except TopicError:  # not about topics: comparing the text was all there is to do
        return None


def _native_scope(device_id: str, operation: Operation, template: str) -> str:
    return encode_scope(operation, expand(template, {"device": device_id, "sub": device_id}))


def _checked(scope: str) -> str:
    if not is_scope_token(scope):
        raise ConfigError(f'{scope!r} is not a scope: printable ASCII without space, " and \\')
    if scope.startswith(_OURS):
        raise ConfigError(f"{scope!r}: scopes that begin with {_OURS} are not for devices")
    if scope.startswith(_NATIVE):
        parse_scope(scope)
    return scope
