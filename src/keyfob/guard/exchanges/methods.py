# SPDX-License-Identifier: Apache-2.0
"""The authentication methods by the names that clients call them.

A name that no method has for itself is one of plain tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from keyfob.guard.exchanges.ace import AceMethod
from keyfob.guard.exchanges.dpop import DpopMethod
from keyfob.guard.exchanges.exchange import Method
from keyfob.guard.exchanges.jwt import JwtMethod

__all__ = ["methods_of"]

_OWN_NAMES: Final[Mapping[str, Method]] = MappingProxyType(
    {"ace": AceMethod(), "OAUTH2-DPOP": DpopMethod()}
)


def methods_of(names: Iterable[str]) -> Mapping[str, Method]:
    """Return the methods of these names."""
    return MappingProxyType({name: _OWN_NAMES.get(name) or JwtMethod() for name in names})
