# SPDX-License-Identifier: Apache-2.0
"""What a client assertion must say (RFC 7521 section 4.2, RFC 7523 section 3); nothing is proven.

Strict where the RFCs leave a choice:

    iss, sub   both the client's identifier
    aud        this server alone: its issuer identifier, one string (RFC 7523bis). The token
               endpoint's URL, and an array, where the rules let them: what libraries send that
               were written before. Every element must be this server: a server that an assertion
               is for beside us could show it here.
    exp        required; not over, and not farther away than the rules say
    iat, nbf   where present: not in the future, beyond what clocks differ; iat not long ago
    jti        required: what makes an assertion good for once
    typ        where present: ``JWT`` or ``client-authentication+jwt``. An access token, a DPoP
               proof or a security event is no assertion, whoever has signed it (RFC 8725 3.11)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from keyfob.errors import ClaimError, TokenError
from keyfob.server.oauth_errors import OAuthError, invalid_client, invalid_request
from keyfob.tokens.claims import Claims
from keyfob.tokens.jws import CompactJws, json_object, parse_compact
from keyfob.tokens.keys import ALGORITHMS
from keyfob.tokens.kinds import other_kind

__all__ = [
    "ASSERTION_TYPE",
    "CLOCK_SKEW",
    "AssertionRules",
    "PresentedAssertion",
    "check_assertion",
    "read_assertion",
]

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
# How far clocks of devices may be ahead of ours; ``exp`` is exact.
CLOCK_SKEW: Final = 30
_TYPES: Final = frozenset({"", "jwt", "client-authentication+jwt"})


@dataclass(frozen=True, slots=True, kw_only=True)
class AssertionRules:
    """What this server wants of an assertion.

    Args:
        issuer: Its issuer identifier.
        token_endpoints: The URLs that are an audience too; none: only the issuer is, as one string.
        lifetime: How many seconds ahead ``exp`` may be, and how many ago ``iat``.
    """

    issuer: str
    token_endpoints: frozenset[str]
    lifetime: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PresentedAssertion:
    """An assertion, taken apart; who it claims to come from is not proven."""

    client_id: str
    jws: CompactJws = field(repr=False)
    claims: Claims = field(repr=False)

    @property
    def is_name_alone(self) -> bool:
        """Whether nothing is shown but a name: an assertion is more."""
        return False


def read_assertion(parameters: Mapping[str, str]) -> PresentedAssertion:
    """Take the assertion in a form apart.

    Raises:
        OAuthError: ``invalid_request`` where one of the two parameters is missing,
            ``invalid_client`` for another type of assertion, or one that is not well formed.
    """
    assertion, kind = parameters.get("client_assertion"), parameters.get("client_assertion_type")
    if assertion is None or kind is None:
        raise invalid_request(
            "client_assertion and client_assertion_type go together", reason="parameter_missing"
        )
    if kind != ASSERTION_TYPE:
        raise invalid_client("assertion_type_unsupported")
    try:
        jws = parse_compact(assertion)
        claims = Claims.parse(json_object(jws.payload, "payload"))
    except ClaimError as error:
        raise invalid_client(f"assertion_{error.claim}_{_fault(error)}") from None
    except TokenError as error:
        raise invalid_client(f"assertion_{error.code.removeprefix('token_')}") from None
    for claim, value in (("sub", claims.subject), ("jti", claims.token_id)):
        if not value:
            raise invalid_client(f"assertion_{claim}_missing")
    if claims.issuer != claims.subject:  # RFC 7523 section 3, 1 and 2.B
        raise invalid_client("assertion_iss_is_not_sub")
    return PresentedAssertion(client_id=claims.subject, jws=jws, claims=claims)


def check_assertion(shown: PresentedAssertion, rules: AssertionRules, now: float) -> None:
    """Refuse an assertion that would be no good whoever has signed it.

    Raises:
        OAuthError: ``invalid_client``.
    """
    if (
        fault := _kind_fault(shown)
        or _audience_fault(shown, rules)
        or _time_fault(shown.claims, rules.lifetime, now)
    ):
        raise _refused(fault)


def _kind_fault(shown: PresentedAssertion) -> str | None:
    header = shown.jws.header
    if header.typ not in _TYPES or other_kind(shown.claims.members) is not None:
        return "typ_refused"
    # Symmetric ones and ``none`` are not in the table; which of it counts is the key's matter.
    return None if header.alg in ALGORITHMS else "alg_refused"


def _audience_fault(shown: PresentedAssertion, rules: AssertionRules) -> str | None:
    audience = shown.claims.members["aud"]
    if audience == rules.issuer:
        return None
    ours = {rules.issuer, *rules.token_endpoints}
    named = shown.claims.audience
    if not rules.token_endpoints or not named or not ours.issuperset(named):
        return "aud_refused"
    return None


def _time_fault(claims: Claims, lifetime: int, now: float) -> str | None:
    if claims.expires_at <= now:
        return "expired"
    if claims.expires_at > now + lifetime + CLOCK_SKEW:
        return "exp_too_far"
    if claims.not_before is not None and claims.not_before > now + CLOCK_SKEW:
        return "nbf_in_future"
    if claims.issued_at is not None:
        if claims.issued_at > now + CLOCK_SKEW:
            return "iat_in_future"
        if claims.issued_at < now - lifetime - CLOCK_SKEW:
            return "iat_too_old"
    return None


def _refused(fault: str) -> OAuthError:
    return invalid_client(f"assertion_{fault}")


def _fault(error: ClaimError) -> str:
    return "missing" if error.code == "claim_missing" else "invalid"
