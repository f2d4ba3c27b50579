# SPDX-License-Identifier: Apache-2.0
"""Whom a token is for: resource indicators (RFC 8707), and the ``audience`` of RFC 8693.

The operator registers resources and the ``aud`` that tokens for each of them carry. Who names none
gets the server's own audience, or what was granted before.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from keyfob.errors import ConfigError
from keyfob.server.oauth_errors import OAuthError

__all__ = ["MAX_RESOURCES", "MAX_TARGETS", "REPEATABLE", "Resources", "audience_of"]

REPEATABLE: Final = frozenset({"resource", "audience"})
"""The parameters that may stand more than once (RFC 8707 section 2, RFC 8693 section 2.1)."""

# Of one token, whose room is shared with its scopes.
MAX_TARGETS: Final = 4
MAX_RESOURCES: Final = 64
_MAX_CHARS: Final = 255
# RFC 3986 section 4.3: an absolute URI has a scheme and no fragment.
_ABSOLUTE: Final = re.compile(
    r"[A-Za-z][A-Za-z0-9+.-]*:[\x21\x24-\x3b\x3d\x3f-\x5b\x5d\x5f\x61-\x7a\x7e%]+"
)


@dataclass(frozen=True, slots=True)
class Resources:
    """The registered ones.

    Args:
        default: The ``aud`` of a token that was asked for without naming anything.
        by_uri: The ``aud`` of each resource.

    Raises:
        ConfigError: A resource is no absolute URI, or an audience is empty or too long.
    """

    default: str
    by_uri: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        if len(self.by_uri) > MAX_RESOURCES:
            raise ConfigError(f"there may be {MAX_RESOURCES} resources at most", key="resources")
        for uri, audience in self.by_uri.items():
            if not _is_absolute(uri):
                raise ConfigError(
                    f"{uri!r} is no absolute URI without a fragment (RFC 8707 section 2)",
                    key="resources",
                )
            if not 0 < len(audience) <= _MAX_CHARS or not audience.isprintable():
                raise ConfigError(
                    f"the audience of {uri!r} has 1 to {_MAX_CHARS} printable characters",
                    key="resources",
                )

    @property
    def audiences(self) -> frozenset[str]:
        """Every ``aud`` that a token of this server may carry."""
        return frozenset((self.default, *self.by_uri.values()))

    def targets(
        self, parameters: Mapping[str, str], *, held: tuple[str, ...] | None, by_name: bool
    ) -> tuple[str, ...]:
        """Return whom a token is for.

        Args:
            parameters: Of the form; what was repeated has spaces in between.
            held: What the token may be for, because it was granted so before; None: everything.
            by_name: Whether ``audience`` counts, too.

        Raises:
            OAuthError: ``invalid_target``: malformed, unknown, or more than what is held.
        """
        if held is None and REPEATABLE.isdisjoint(parameters):  # nearly every request
            return (self.default,)
        asked = [self._of_uri(uri) for uri in _values(parameters, "resource")]
        if by_name:
            asked += [self._of_name(name) for name in _values(parameters, "audience")]
        if not asked:
            asked = [self.default] if held is None else [*held]
        wanted = tuple(dict.fromkeys(asked))
        may = self.audiences if held is None else self.audiences.intersection(held)
        if len(wanted) > MAX_TARGETS:
            raise _refused("targets_too_many")
        if not may.issuperset(wanted):
            raise _refused("target_exceeded")
        return wanted

    def _of_uri(self, uri: str) -> str:
        if not _is_absolute(uri):
            raise _refused("target_malformed")
        if uri in self.by_uri:
            return self.by_uri[uri]
        if uri == self.default:
            return uri
        raise _refused("target_unknown")

    def _of_name(self, name: str) -> str:
        if name not in self.audiences:
            raise _refused("target_unknown")
        return name


def audience_of(targets: tuple[str, ...]) -> str | tuple[str, ...]:
    """Return the ``aud`` claim: one text where it is one (RFC 7519 section 4.1.3)."""
    return targets[0] if len(targets) == 1 else targets


def _values(parameters: Mapping[str, str], name: str) -> list[str]:
    return parameters[name].split(" ") if name in parameters else []


def _is_absolute(uri: str) -> bool:
    return len(uri) <= _MAX_CHARS and _ABSOLUTE.fullmatch(uri) is not None


def _refused(reason: str) -> OAuthError:
    return OAuthError("invalid_target", "the resource is not acceptable", reason=reason)
