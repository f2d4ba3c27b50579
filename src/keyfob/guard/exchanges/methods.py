# SPDX-License-Identifier: Apache-2.0
"""The authentication methods by the names that clients call them.

A name that no method has for itself is one of plain tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from keyfob.guard.exchanges.exchange import Method
from keyfob.guard.exchanges.jwt import JwtMethod

__all__ = ["methods_of"]


def methods_of(names: Iterable[str]) -> Mapping[str, Method]:
    """Return the methods of these names."""
    return MappingProxyType({name: JwtMethod() for name in names})
