# SPDX-License-Identifier: Apache-2.0
"""What an authorization server answered: a token, a refusal, or nonsense (RFC 6749 section 5).

A refusal is final: another try with the same words would meet it again. Everything else, a busy
server, a broken one, or something between that is no authorization server, may be over later.
Nothing is quoted that could repeat a secret: a server can echo what it was sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeGuard

from keyfob.device.clock import Moment
from keyfob.device.flow import Answer
from keyfob.device.token import Token, is_token_text
from keyfob.errors import ClaimError, TokenRequestError, TokenUnavailableError
from keyfob.tokens import base64url
from keyfob.tokens.json_strict import JsonError, loads
from keyfob.tokens.proof_keys import take_symmetric_key

__all__ = ["error_of", "read_json", "read_token", "refusal", "retry_after_of"]

DEFAULT_LIFETIME: Final = 3600.0
"""Seconds that a token is taken to live where nobody says (RFC 6749 section 5.1 allows that)."""

LONGEST_LIFETIME: Final = 10 * 365 * 86400.0
"""Seconds beyond which a lifetime is a mistake."""

SHORTEST_LIFETIME: Final = 1.0
"""Seconds below which a lifetime is one, too: every use would be another request."""

LONGEST_RETRY_AFTER: Final = 3600.0

# RFC 6750, 9449 and 9200 section 8.7; their case does not count (RFC 6749 section 5.1).
_TYPES: Final = {"bearer": "Bearer", "dpop": "DPoP", "pop": "PoP"}

# RFC 6749 5.2, 8628 3.5, 9449 12.2, 8707 2, 9396 5, 9200 5.8.3: any other word might be an echo.
_ERRORS: Final = frozenset(
    {
        "invalid_request",
        "invalid_client",
        "invalid_grant",
        "unauthorized_client",
        "unsupported_grant_type",
        "invalid_scope",
        "access_denied",
        "expired_token",
        "authorization_pending",
        "slow_down",
        "invalid_dpop_proof",
        "use_dpop_nonce",
        "invalid_target",
        "invalid_authorization_details",
        "unsupported_pop_key",
        "server_error",
        "temporarily_unavailable",
    }
)
_LATER: Final = frozenset(
    {"server_error", "temporarily_unavailable", "slow_down", "use_dpop_nonce"}
)
"""Said for now; of a nonce the last one may have just ended (RFC 9449 section 8)."""
_BUSY: Final = frozenset({408, 425, 429})


def read_token(
    url: str,
    answer: Answer,
    *,
    obtained: Moment,
    scope: str,
    origin: str = "",
    bound: bool = False,
) -> Token:
    """Read the answer to a token request.

    Args:
        url: Who answered, for messages.
        answer: What it was.
        obtained: When it was asked for.
        scope: What was asked for.
        origin: Who asked whom for what, for ``Token.origin``.
        bound: Whether it was to be bound to a key: one that is not is discarded, as RFC 9449
            section 5 has it where that matters.

    Raises:
        TokenRequestError: The server refuses.
        TokenUnavailableError: It cannot answer now, or not sensibly.
    """
    if answer.status != 200:
        raise refusal(url, answer)
    members = read_json(url, answer)
    access_token = _text(url, members, "access_token")
    if not is_token_text(access_token):
        raise _nonsense(url, "an access_token that is none")
    token_type = _TYPES.get(_text(url, members, "token_type").lower())
    if token_type is None:
        raise _nonsense(url, "a token_type other than Bearer, DPoP and PoP")
    if bound and token_type == "Bearer":  # noqa: S105 - the name of a kind
        raise _nonsense(url, "a token that is not bound to the key (token_type Bearer)")
    refresh_token = _text(url, members, "refresh_token", "")
    if refresh_token and not is_token_text(refresh_token):
        raise _nonsense(url, "a refresh_token that is none")
    granted = _text(url, members, "scope", scope)
    if not granted.isprintable():
        raise _nonsense(url, "a scope that is none")
    return Token(
        access_token=access_token,
        token_type=token_type,
        scope=granted,
        lifetime=_lifetime(url, members, access_token),
        obtained=obtained,
        refresh_token=refresh_token or None,
        origin=origin,
        proof_key=_proof_key(url, members) if token_type == "PoP" else None,  # noqa: S105 - the name of a kind
    )


def read_json(url: str, answer: Answer) -> Mapping[str, object]:
    """Read an answer's JSON object.

    Raises:
        TokenUnavailableError: It is none.
    """
    try:
        members = loads(answer.body)
    except JsonError:
        raise _nonsense(url, "no JSON") from None
    if not isinstance(members, dict):
        raise _nonsense(url, "no JSON object")
    return members


def error_of(answer: Answer) -> str:
    """Return the ``error`` of a refusal; empty: there is none that is known."""
    try:
        members = loads(answer.body)
    except JsonError:
        return ""
    error = members.get("error") if isinstance(members, dict) else None
    return error if isinstance(error, str) and error in _ERRORS else ""


def refusal(url: str, answer: Answer) -> TokenRequestError | TokenUnavailableError:
    """Make the error of an answer that is not 200."""
    error = error_of(answer)
    if answer.status >= 500 or answer.status in _BUSY or error in _LATER:
        said = f"{url}: cannot answer now ({answer.status})"
        return TokenUnavailableError(said, retry_after=retry_after_of(answer))
    if 400 <= answer.status < 500 and error:
        said = f"{url}: refused: {error}"
        return TokenRequestError(said, error=error, status=answer.status)
    away = " (redirects are not followed)" if 300 <= answer.status < 400 else ""
    return _nonsense(url, f"status {answer.status}{away}")


def _lifetime(url: str, members: Mapping[str, object], access_token: str) -> float:
    stated = members.get("expires_in")
    if stated is None:
        stated = _own_lifetime(access_token)
    if isinstance(stated, str) and stated.isascii() and stated.isdigit() and len(stated) < 16:
        stated = int(stated)  # Microsoft's older endpoint writes it so
    if not _is_number(stated):
        raise _nonsense(url, "an expires_in that is no number")
    if not SHORTEST_LIFETIME <= stated <= LONGEST_LIFETIME:
        raise _nonsense(url, "an expires_in that no token can have")
    return float(stated)


def _proof_key(url: str, members: Mapping[str, object]) -> bytes | None:
    """Read the symmetric key that came with the token (RFC 9201 section 3.2)."""
    try:
        _, key = take_symmetric_key({"cnf": members.get("cnf")})
    except ClaimError:
        raise _nonsense(url, "a proof key that is none for HS256") from None
    return None if key is None else key.octets


def _own_lifetime(access_token: str) -> float:
    """Read how long a JWT lives, by its own account; neither clock matters for that."""
    parts = access_token.split(".")
    if len(parts) != 3:
        return DEFAULT_LIFETIME
    try:
        claims = loads(base64url.decode(parts[1].encode("ascii")))
    except (ValueError, JsonError):
        return DEFAULT_LIFETIME
    if not isinstance(claims, dict):
        return DEFAULT_LIFETIME
    issued, expires = claims.get("iat"), claims.get("exp")
    if not (_is_number(issued) and _is_number(expires)):
        return DEFAULT_LIFETIME
    # As whole seconds: an int that no float holds is compared, and refused, as what it is.
    return expires - issued


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(url: str, members: Mapping[str, object], name: str, default: str | None = None) -> str:
    value = members.get(name)
    value = default if value is None else value  # some servers write null for what is not there
    if not isinstance(value, str):
        raise _nonsense(url, f"no {name}" if value is None else f"a {name} that is no text")
    return value


def retry_after_of(answer: Answer) -> float | None:
    """Read Retry-After as seconds (RFC 9110 section 10.2.3); a date would need a right clock."""
    value = answer.headers.get("retry-after", "")
    if not (value.isascii() and value.isdigit()):
        return None
    return min(float(value[:9]), LONGEST_RETRY_AFTER)


def _nonsense(url: str, what: str) -> TokenUnavailableError:
    return TokenUnavailableError(f"{url}: answered with {what}", code="upstream_invalid")
