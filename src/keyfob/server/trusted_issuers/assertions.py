# SPDX-License-Identifier: Apache-2.0
"""An assertion of a trusted issuer: whose device it is about, or why it is not good.

In this order: who is said to have signed it picks an issuer that is configured; its keys, its
algorithms, its kinds of JWT (``tokens.verify``); then what an assertion has to be beside a token:

    aud    this server alone. For whom else it were, he could show it here (RFC 7523 section 3, 3)
    exp    not farther away than the issuer's ``lifetime``
    jti    required where an assertion is good once
    cnf    absent: what only the holder of a key may use is no bearer's (RFC 7521 section 3)
    device the claim without its prefix is the name of a device that the issuer speaks for
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from keyfob.errors import TokenError, UpstreamError
from keyfob.server.client_authentication.assertion import CLOCK_SKEW, AssertionRules
from keyfob.server.client_authentication.private_key_jwt import UsedAssertionStore
from keyfob.server.name_patterns import is_meant
from keyfob.server.names import is_name
from keyfob.server.oauth_errors import OAuthError
from keyfob.server.trusted_issuers.keys import IssuerKeys, keys_of
from keyfob.server.trusted_issuers.settings import TrustedAssertionIssuer
from keyfob.tokens.issuers import TrustedIssuer
from keyfob.tokens.keys import KeySet
from keyfob.tokens.verify import NeedIntrospection, NeedKeys, VerifiedToken, verify

__all__ = ["Assertions", "GoodAssertion", "TrustedAssertions", "trusted_assertions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GoodAssertion:
    """An assertion that may be used, if it was not before.

    Args:
        issuer: By whose rules.
        device: The name of the device that it is about; whether there is one is not known here.
        token_hash: What is remembered of it; None: it may be used again.
        until: For how long.
    """

    issuer: TrustedAssertionIssuer
    device: str
    token_hash: bytes | None
    until: int


@dataclass(frozen=True, slots=True)
class Assertions:
    """One issuer with its rules and keys."""

    settings: TrustedAssertionIssuer
    rules: TrustedIssuer
    keys: IssuerKeys


class _Known:
    """The issuers of one moment: whoever began with them goes on with them."""

    def __init__(self, issuers: Sequence[Assertions]) -> None:
        self.issuers: Final = {one.settings.issuer: one for one in issuers}
        self.rules: Final = {iss: one.rules for iss, one in self.issuers.items()}


class TrustedAssertions:
    """The assertions of every issuer that is trusted.

    Args:
        ours: What this server is called in assertions.
        used: Which assertions were used.
    """

    def __init__(self, ours: AssertionRules, used: UsedAssertionStore) -> None:
        self._audiences = frozenset((ours.issuer, *ours.token_endpoints))
        self._used = used
        self._known = _Known(())

    def __bool__(self) -> bool:
        return bool(self._known.issuers)

    def trust(self, issuers: Sequence[TrustedAssertionIssuer]) -> None:
        """Trust these from now on, and no others; where one cannot be, everything stays.

        Keys that were fetched from one whose settings have not changed are kept.

        Raises:
            ConfigError: A file of keys cannot be used.
        """
        before = self._known.issuers
        made = []
        for one in issuers:
            known = before.get(one.issuer)
            if known is None or known.settings != one:
                known = Assertions(one, one.rules(self._audiences), keys_of(one, time.monotonic))
            made.append(known)
        self._known = _Known(made)

    async def read(self, assertion: str, now: float) -> GoodAssertion:
        """Return what an assertion is good for.

        Raises:
            OAuthError: ``invalid_grant``, one answer for everything that can be wrong with it;
                ``temporarily_unavailable``: there are no keys to check it with.
        """
        known = self._known
        verified = await _verified(known, assertion, now)
        settings = known.issuers[verified.claims.issuer].settings
        claims = verified.claims
        if not known.rules[claims.issuer].audiences.issuperset(claims.audience):
            raise _refused("aud_others")
        if claims.expires_at > now + settings.lifetime + CLOCK_SKEW:
            raise _refused("exp_too_far")
        if settings.single_use and not claims.token_id:
            raise _refused("jti_missing")
        if "cnf" in claims.members:
            raise _refused("cnf_unproven")
        if not verified.device.startswith(settings.device_prefix):
            raise _refused("device_prefix_missing")
        device = verified.device.removeprefix(settings.device_prefix)
        if not is_name(device) or not is_meant(device, settings.devices):
            raise _refused("device_not_its_own")
        return GoodAssertion(
            issuer=settings,
            device=device,
            token_hash=_hash(claims.issuer, claims.token_id) if settings.single_use else None,
            until=math.ceil(claims.expires_at) + CLOCK_SKEW,
        )

    async def use(self, assertion: GoodAssertion, now: float) -> None:
        """Use one up; it is on the disk when this returns.

        Raises:
            OAuthError: ``invalid_grant``: it was used before; ``temporarily_unavailable``: its use
                cannot be written down.
        """
        if assertion.token_hash is None:
            return
        try:
            first = await self._used.insert_if_absent(
                # No client's name holds a space, so this is nobody else's row.
                f"issuer {assertion.issuer.issuer}",
                assertion.token_hash,
                until=assertion.until,
                now=now,
            )
        except UpstreamError:
            raise _not_now("assertion_use_not_written") from None
        if not first:
            raise _refused("replayed", assertion.device)


async def _verified(known: _Known, assertion: str, now: float) -> VerifiedToken:
    keys: dict[str, KeySet] = {}
    try:
        found = verify(assertion, known.rules, keys, now)
        for again in (False, True):
            if not isinstance(found, NeedKeys):
                break
            iss = found.issuer.issuer
            keys[iss] = await known.issuers[iss].keys.current(again=again)
            found = verify(assertion, known.rules, keys, now)
    except TokenError as error:
        raise _refused(error.code) from None
    except UpstreamError:
        raise _not_now("issuer_keys_unavailable") from None
    if isinstance(found, (NeedKeys, NeedIntrospection)):
        raise _refused("key_unknown")
    return found


def trusted_assertions(
    issuers: Sequence[TrustedAssertionIssuer], ours: AssertionRules, used: UsedAssertionStore
) -> TrustedAssertions:
    """Make what reads the assertions of these issuers.

    Args:
        issuers: They.
        ours: What this server is called in assertions.
        used: Which assertions were used.

    Raises:
        ConfigError: A file of keys cannot be used.
    """
    made = TrustedAssertions(ours, used)
    made.trust(issuers)
    return made


def _hash(issuer: str, token_id: str) -> bytes:
    return hashlib.sha256(f"{len(issuer)} {issuer}{token_id}".encode()).digest()


def _refused(fault: str, subject: str = "") -> OAuthError:
    return OAuthError(
        "invalid_grant", "the assertion is not valid", reason=f"assertion_{fault}", subject=subject
    )


def _not_now(reason: str) -> OAuthError:
    return OAuthError("temporarily_unavailable", "try again later", reason=reason)
