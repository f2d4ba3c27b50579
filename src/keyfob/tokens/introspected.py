# SPDX-License-Identifier: Apache-2.0
"""An introspection response, read strictly (RFC 7662 section 2.2).

Three outcomes, by whose fault it is. An answer that is none by the RFC (no JSON object, no
boolean ``active``) says nothing about the token: ``UpstreamError``. ``{"active": false}`` says
that the token is not good: ``token_inactive``. An active one brings members, to be checked as a
JWT's claims are (``verify.verify_introspected``).

RFC 7662 leaves out what a JWT has to say: who issued the token (it was its issuer that answered)
and, where the operator accepts that, for whom. ``claims_set`` fills those in, and refuses what
is active but no access token: introspection endpoints answer about refresh tokens too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from keyfob.errors import ClaimError, UntrustedTokenError, UpstreamError
from keyfob.tokens import json_strict
from keyfob.tokens.claims import invalid
from keyfob.tokens.issuers import TrustedIssuer

__all__ = ["active_members", "claims_set"]

# A token and the answer about it name the same party, key and token, or one of them is wrong.
_SAME: Final = ("iss", "sub", "client_id", "jti", "cnf")
# Members in which issuers of the field tell access tokens from the others, in lower case:
# Hydra's and Cognito's, Keycloak's.
_KINDS: Final = (
    ("token_use", frozenset({"access_token", "access"})),
    ("typ", frozenset({"bearer", "dpop", "at+jwt", "jwt"})),
)


def active_members(body: bytes) -> dict[str, Any]:
    """Read the body of an introspection response about an active token.

    Returns:
        Its members but for ``active``.

    Raises:
        UntrustedTokenError: ``token_inactive``: the token is not active.
        UpstreamError: ``upstream_invalid``: not a JSON object that can mean one thing only, or
            ``active`` is missing or no boolean.
    """
    try:
        members = json_strict.loads(body)
    except json_strict.JsonError as error:
        raise _no_answer(str(error)) from None
    if not isinstance(members, dict):
        raise _no_answer("not a JSON object")
    active = members.pop("active", None)
    if not isinstance(active, bool):
        raise _no_answer("active is missing or no boolean")
    if not active:
        raise UntrustedTokenError("the issuer says that it is not active", code="token_inactive")
    return members


def claims_set(
    members: Mapping[str, Any], issuer: TrustedIssuer, presented: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Make a claims set of an active answer.

    Args:
        members: What the issuer answered.
        issuer: Whom we asked.
        presented: The verified claims of the token itself, if it is a JWT. What the answer says
            is the newer word; what it leaves out the token says.

    Raises:
        UntrustedTokenError: ``type_refused``: no access token.
        ClaimError: ``claim_invalid``: token and answer contradict each other;
            ``confirmation_unproven``: said to be bound, but not to what.
    """
    own = presented or {}
    claims = {"iss": issuer.issuer, **own, **members}
    _check_kind(claims)
    for name in _SAME:
        if name in own and own[name] != claims[name]:
            raise invalid(name, "is not what the issuer says of the token")
    if issuer.scope_claim == "scp" and "scope" in members and "scp" not in members:
        # Another name for the same in tokens; an answer has RFC 7662's. It is the newer word here,
        # too: what it leaves out was taken away.
        claims["scp"] = members["scope"]
    if issuer.missing_audience == "accept" and claims.get("aud") in (None, []):
        # Hydra writes an empty array for a token that is for nobody in particular.
        claims["aud"] = sorted(issuer.audiences)
    return claims


def _check_kind(claims: Mapping[str, Any]) -> None:
    kind = claims.get("token_type", "Bearer")
    if not isinstance(kind, str):
        raise invalid("token_type", "is not a string")
    if kind.lower() in {"dpop", "pop"} and "cnf" not in claims:
        # RFC 9449 section 6.2, RFC 9200 section 5.9.2. Without its key it would pass for a bearer
        # token.
        raise ClaimError(
            "the token is bound to a key (DPoP, PoP) that the issuer does not name",
            code="confirmation_unproven",
            claim="cnf",
        )
    if kind.lower() not in {"bearer", "dpop", "pop"}:
        raise _no_access_token("token_type")
    for name, kinds in _KINDS:
        value = claims.get(name)
        if value is not None and (not isinstance(value, str) or value.lower() not in kinds):
            raise _no_access_token(name)


def _no_access_token(member: str) -> UntrustedTokenError:
    return UntrustedTokenError(
        f"the issuer says by {member} that this is no access token", code="type_refused"
    )


def _no_answer(fault: str) -> UpstreamError:
    return UpstreamError(f"no introspection response: {fault}", code="upstream_invalid")
