# SPDX-License-Identifier: Apache-2.0
"""From what a grant allows to what the token says: narrowed by the request, never widened.

The rule, for every grant:

    scope    authorization_details    the token says
    -        -                        all that the grant allows
    named    -                        these scopes, and no details
    -        named                    these details, and ``mqtt.connect`` where it is allowed
    named    named                    both

Who names rights gets what he names: details beside all registered scopes would narrow nothing,
because resource servers take the union of both. A service, whose token is for this server's own
API, names scopes only.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from keyfob.authorization.syntaxes.scopes import CONNECT
from keyfob.server.authorization_details import (
    Detail,
    details_covered,
    details_text,
    requested_details,
)
from keyfob.server.issue import Access
from keyfob.server.oauth_errors import OAuthError
from keyfob.server.resources import Resources, audience_of
from keyfob.server.scopes import MAX_SCOPE_LENGTH, MAX_SCOPES, narrowed

__all__ = ["AskedRights"]

_DETAILS: Final = "authorization_details"
# The members of ``cnf`` that a request proves by itself (RFC 8705, RFC 9449). Every other one is
# taken from what a client asks for or is registered with.
_PROVEN: Final = frozenset({"x5t#S256", "jkt"})
TOKEN_EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"  # noqa: S105 - a name


@dataclass(frozen=True, slots=True)
class AskedRights:
    """What every grant's outcome passes through before a token is made of it.

    Args:
        resources: Whom tokens may be for.
    """

    resources: Resources

    def narrow(
        self,
        access: Access,
        parameters: Mapping[str, str],
        *,
        grant_type: str,
        proven: Mapping[str, object],
    ) -> Access:
        """Return what the token says.

        Args:
            access: What the grant allows.
            parameters: Of the form.
            grant_type: The grant.
            proven: The ``cnf`` that this request has proven.

        Raises:
            OAuthError: ``invalid_scope`` (also for more than a token holds), ``invalid_target``,
                ``invalid_authorization_details``, or ``invalid_request`` where a token that was
                shown is bound to what is not proven.
        """
        _check_confirmed(access.shown_confirmations, proven)
        if access.closed:
            _check_closed(parameters)
            return replace(access, scopes=narrowed(access.scopes, parameters.get("scope")))
        scopes, details = _rights(access, parameters)
        _check_room(scopes, details)
        held = (access.audience,) if isinstance(access.audience, str) else access.audience
        targets = self.resources.targets(
            parameters, held=held, by_name=grant_type == TOKEN_EXCHANGE
        )
        return replace(
            access,
            scopes=scopes,
            details=details,
            audience=audience_of(targets),
        )


def _rights(
    access: Access, parameters: Mapping[str, str]
) -> tuple[tuple[str, ...], tuple[Detail, ...]]:
    scope, text = parameters.get("scope"), parameters.get(_DETAILS)
    if text is None:
        scopes = narrowed(access.scopes, scope)
        return scopes, access.details if scope is None else ()
    details = requested_details(text)
    if not details_covered(access.scopes, access.details, details):
        raise _refused_details("details_exceeded")
    if scope is None:
        scopes = tuple(known for known in access.scopes if known == CONNECT)
    else:
        scopes = narrowed(access.scopes, scope)
    return scopes, details


def _check_closed(parameters: Mapping[str, str]) -> None:
    """Refuse what would make another token of it: one for somebody else, or with other rights."""
    if "resource" in parameters:
        raise OAuthError(
            "invalid_target", "this client names no resource", reason="target_of_service"
        )
    if _DETAILS in parameters:
        raise _refused_details("details_of_service")


def _check_room(scopes: tuple[str, ...], details: tuple[Detail, ...]) -> None:
    """Refuse more than a token holds: what two sides have in common may be longer than either."""
    length = len(" ".join(scopes)) + (len(details_text(details).encode()) if details else 0)
    if len(scopes) > MAX_SCOPES or length > MAX_SCOPE_LENGTH:
        raise OAuthError(
            "invalid_scope", "a token does not hold so much; ask for less", reason="rights_too_long"
        )


def _check_confirmed(shown: tuple[Mapping[str, object], ...], proven: Mapping[str, object]) -> None:
    """Refuse a bound token that is shown by somebody who does not prove what it is bound to."""
    for confirmation in shown:
        for name, value in confirmation.items():
            mine = proven.get(name) if name in _PROVEN else None
            if not isinstance(value, str) or not isinstance(mine, str):
                raise _unproven()
            if not hmac.compare_digest(value.encode(), mine.encode()):
                raise _unproven()


def _unproven() -> OAuthError:
    return OAuthError(
        "invalid_request", "a token that was shown is not valid", reason="confirmation_unproven"
    )


def _refused_details(reason: str) -> OAuthError:
    return OAuthError(
        "invalid_authorization_details",
        "the authorization details exceed what is allowed",
        reason=reason,
    )
