# SPDX-License-Identifier: Apache-2.0
"""How often somebody may ask, and how often he may be wrong (docs/adr/0013-limits.md says why).

Everything is counted for a *pair*: the name that is claimed, and the network that it is claimed
from. So whoever guesses under a device's name uses up what that name may do from where he is, and
the device itself, somewhere else, notices nothing.

A pair that has proven itself lately is *known* and lives on its own allowance. All others of a
network share one: for requests, and a much smaller one for mistakes. So a gateway with ten thousand
devices and one guesser behind it serves the devices that it knows.
"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType, TracebackType
from typing import Final, Protocol, Self

from keyfob.errors import ConfigError
from keyfob.server.clients import ClientKind
from keyfob.server.names import is_name
from keyfob.server.oauth_errors import OAuthError

__all__ = [
    "DEFAULT_LIMITS",
    "Attempt",
    "LimitSettings",
    "LimitStore",
    "Limits",
    "NoLimits",
    "Refusal",
    "network_of",
]

# The prefix that is given to one subscriber (RFC 6177 section 2): an address of it is no identity.
_IPV6_PREFIX: Final = 64
_MOST_SECONDS: Final = 3_600
_FAILURES: Final = frozenset({"invalid_client", "invalid_grant", "invalid_token"})


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitSettings:
    """The numbers: so many at once (``burst``), and from then on so many a second (``rate``).

    Args:
        client_burst: Requests of a known device from one network.
        client_rate: The same.
        service_burst: Requests of a known application, guard or other service from one network.
        service_rate: The same.
        address_burst: Requests from one network by everybody who is not known there.
        address_rate: The same.
        failure_burst: Wrong proofs under one name from one network.
        failure_rate: The same.
        address_failure_burst: Wrong proofs, and requests that name nobody, from one network.
        address_failure_rate: The same.
        tracked: Known pairs, mistaken pairs and networks that are remembered, so many of each.

    Raises:
        ConfigError: A number is not above 0.
    """

    client_burst: int = 60
    client_rate: float = 1.0
    service_burst: int = 4_000
    service_rate: float = 2_000.0
    address_burst: int = 10_000
    address_rate: float = 500.0
    failure_burst: int = 10
    failure_rate: float = 0.1
    address_failure_burst: int = 500
    address_failure_rate: float = 5.0
    tracked: int = 65_536

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if not 0 < value < math.inf or (not name.endswith("_rate") and value < 1):
                raise ConfigError(f"the limit {name} is {value}; it has to be above 0")


DEFAULT_LIMITS: Final = LimitSettings()


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why somebody has to wait.

    Args:
        reason: ``limit_client``, ``limit_address``, ``limit_failures`` or
            ``limit_address_failures``.
        seconds: How long.
        told: It is the first of its kind for a while, so it belongs into the audit. The next ones
            say nothing new, and a flood of them must not fill a disk.
    """

    reason: str
    seconds: float
    told: bool


class LimitStore(Protocol):
    """What has been used up. Each method is one atomic operation; several servers may share one.

    A guess that is in flight is not counted yet. A store that suspends lets as many more of them
    through as are in flight at once.
    """

    @property
    def refusals(self) -> Mapping[str, int]:
        """How often somebody was refused by this process, by reason."""

    async def admit(self, name: str, network: str) -> Refusal | None:
        """Spend a request of a pair that is about to prove itself; None lets it try."""

    async def proven(self, name: str, network: str, kind: ClientKind) -> None:
        """Make a pair known."""

    async def failed(self, name: str, network: str) -> None:
        """Spend a mistake of a pair, and one of its network unless the pair is known."""

    async def nameless(self, network: str) -> Refusal | None:
        """Spend a mistake of a network by a request that names nobody."""


class NoLimits:
    """The store of somebody who wants no limits."""

    refusals: Final[Mapping[str, int]] = MappingProxyType({})

    async def admit(self, name: str, network: str) -> Refusal | None:
        """Let everybody try."""

    async def proven(self, name: str, network: str, kind: ClientKind) -> None:
        """Remember nothing."""

    async def failed(self, name: str, network: str) -> None:
        """Remember nothing."""

    async def nameless(self, network: str) -> Refusal | None:
        """Let everybody be wrong."""


class Attempt:
    """One try to prove something, as a context: an OAuthError of a wrong proof is counted.

    A class of its own and no generator, because every request for a token has one.

    Args:
        store: What has been used up.
        name: Who it claims to be.
        network: Where it came from.
    """

    __slots__ = ("_kind", "_name", "_network", "_store")

    def __init__(self, store: LimitStore, name: str, network: str) -> None:
        self._store = store
        self._name = name
        self._network = network
        self._kind: ClientKind | None = None

    def proved(self, kind: ClientKind) -> None:
        """Say who it was, when that was proven; a public client has nothing to prove."""
        self._kind = kind

    async def __aenter__(self) -> Self:
        refusal = await self._store.admit(self._name, self._network)
        if refusal is not None:
            raise _too_many(refusal)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None and self._kind is not None:
            await self._store.proven(self._name, self._network, self._kind)
        elif isinstance(error, OAuthError) and error.error in _FAILURES:
            await self._store.failed(self._name, self._network)


class Limits:
    """The limits as the endpoints use them.

    Args:
        store: What has been used up.
    """

    def __init__(self, store: LimitStore) -> None:
        self._store = store

    def attempt(self, name: str, address: str) -> Attempt:
        """Let somebody prove himself inside; an OAuthError of a wrong proof is counted.

        Args:
            name: Who he claims to be.
            address: Where the request came from.

        Raises:
            OAuthError: ``temporarily_unavailable`` with status 429, before anything was looked up.
        """
        # What is no name is nobody's: one of them for all, or each would cost memory.
        return Attempt(self._store, name if is_name(name) else "?", network_of(address))

    async def nameless(self, address: str, error: OAuthError) -> OAuthError:
        """Return what to answer to a request that was wrong before it named anybody."""
        refusal = await self._store.nameless(network_of(address))
        return error if refusal is None else _too_many(refusal)


@lru_cache(maxsize=4_096)
def network_of(address: str) -> str:
    """Return what an address is counted as: an IPv4 address itself, the /64 of an IPv6 address."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:  # a socket of another family
        return address[:64]
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((int(parsed), _IPV6_PREFIX), strict=False))


def _too_many(refusal: Refusal) -> OAuthError:
    seconds = min(_MOST_SECONDS, max(1, math.ceil(refusal.seconds)))
    return OAuthError(
        "temporarily_unavailable",
        "too many requests, or too many failed ones; try again later",
        reason=refusal.reason,
        status=429,
        retry_after=seconds,
        told=refusal.told,
    )
