# SPDX-License-Identifier: Apache-2.0
"""Templates of rights: topic filters in which ``{device}`` stands for whoever asks.

A template is checked and encoded once, with the placeholder left in its place. What remains for a
device is to put its name in: names are made of unreserved characters (``names``), which mean
nothing in a filter and are encoded as themselves in a scope, so that this is the same as expanding
the filter and encoding it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from keyfob.authorization.permissions import Operation
from keyfob.authorization.syntaxes.scopes import CONNECT, encode_scope
from keyfob.mqtt.topics import expand
from keyfob.server.scopes import check_scopes, checked_extra

__all__ = ["ScopeTemplate", "compiled"]

_DEVICE: Final = "{device}"
_KEPT: Final = {"device": _DEVICE, "sub": _DEVICE}


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeTemplate:
    """Scopes for any device.

    Args:
        filled: Scopes that a device's name is put into.
        fixed: Scopes that are the same for all.
    """

    filled: tuple[str, ...]
    fixed: tuple[str, ...]

    def scopes_of(self, device_id: str) -> tuple[str, ...]:
        """Return a device's scopes, ``mqtt.connect`` first; its name has been checked."""
        filled = [scope.replace(_DEVICE, device_id) for scope in self.filled]
        return tuple(dict.fromkeys((CONNECT, *filled, *self.fixed)))


@lru_cache(maxsize=256)
def compiled(
    publish: tuple[str, ...] = (), subscribe: tuple[str, ...] = (), extra: tuple[str, ...] = ()
) -> ScopeTemplate:
    """Check a template and make it ready.

    Args:
        publish: Topic filters to publish to.
        subscribe: Topic filters to subscribe to.
        extra: Scopes as they are, each one or several separated by spaces.

    Raises:
        TopicError: A filter is not one, or has an unknown placeholder.
        ConfigError: A scope is not one, is reserved, or they are too many for a token.
    """
    filters = [(Operation.PUBLISH, text) for text in publish]
    filters += [(Operation.SUBSCRIBE, text) for text in subscribe]
    template = ScopeTemplate(
        filled=tuple(encode_scope(operation, expand(text, _KEPT)) for operation, text in filters),
        fixed=checked_extra(extra),
    )
    check_scopes((*template.filled, *template.fixed))
    return template
