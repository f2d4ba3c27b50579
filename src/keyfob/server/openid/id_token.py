# SPDX-License-Identifier: Apache-2.0
"""What an ID token must say before it signs somebody in (OpenID Connect Core 1.0, 3.1.3.7)."""

from __future__ import annotations

import hmac
from typing import Final

from keyfob.errors import TokenError
from keyfob.server.openid.settings import OpenIdSettings
from keyfob.tokens.claims import Claims
from keyfob.tokens.jws import json_object, parse_compact
from keyfob.tokens.keys import ALGORITHMS, KeySet

__all__ = ["IdTokenError", "read_id_token"]

# How far clocks may differ, and how long ago somebody may have been signed in over there.
_SKEW: Final = 60
_OLDEST: Final = 600
_MAX_CLAIM_LENGTH: Final = 255  # as OpenID Connect Core section 2 has it for ``sub``


class IdTokenError(Exception):
    """An ID token that signs nobody in.

    Args:
        reason: Why not, in a word, for the audit.
        key_unknown: Whether newer keys of the issuer might change that.
    """

    def __init__(self, reason: str, *, key_unknown: bool = False) -> None:
        super().__init__(reason)
        self.reason = f"openid_{reason}"
        self.key_unknown = key_unknown


def read_id_token(
    token: str, settings: OpenIdSettings, keys: KeySet, *, nonce: str, now: float
) -> str:
    """Return who an ID token says that it is: the value of the settings' claim.

    Args:
        token: From the token endpoint's answer.
        settings: Whose it has to be, and for whom.
        keys: The issuer's.
        nonce: What this sign-in was begun with.
        now: Unix seconds.

    Raises:
        IdTokenError: It is not signed by the issuer, not for this server, not for this sign-in,
            too old, or says nobody, or somebody by an address that was not verified.
    """
    try:
        jws = parse_compact(token)
        if jws.header.typ not in ("", "jwt"):
            raise IdTokenError("typ_refused")
        if jws.header.alg not in ALGORITHMS:  # neither ``none`` nor a shared secret is in there
            raise IdTokenError("alg_refused")
        found = keys.find(jws.header.kid, jws.header.alg)
        if not found:
            raise IdTokenError("key_unknown", key_unknown=True)
        if not any(key.verify(jws.signing_input, jws.signature) for key in found):
            raise IdTokenError("signature_wrong")
        claims = Claims.parse(json_object(jws.payload, "payload"))
    except TokenError as error:
        raise IdTokenError(error.code) from None
    _check(claims, settings, nonce, now)
    value = claims.members.get(settings.claim)
    if not isinstance(value, str) or not 0 < len(value) <= _MAX_CLAIM_LENGTH:
        raise IdTokenError("claim_missing")
    # Of many issuers anybody gets an account with an address that he only says is his (Core 5.1).
    if settings.claim == "email" and claims.members.get("email_verified") is not True:
        raise IdTokenError("email_not_verified")
    return value


def _check(claims: Claims, settings: OpenIdSettings, nonce: str, now: float) -> None:
    if claims.issuer != settings.issuer:
        raise IdTokenError("iss_refused")
    party = claims.members.get("azp", settings.client_id)
    if claims.audience != (settings.client_id,) or party != settings.client_id:
        raise IdTokenError("aud_refused")
    if claims.expires_at <= now:
        raise IdTokenError("expired")
    issued = claims.issued_at
    if issued is None or not now - _OLDEST <= issued <= now + _SKEW:
        raise IdTokenError("iat_refused")
    if claims.not_before is not None and claims.not_before > now + _SKEW:
        raise IdTokenError("nbf_in_future")
    shown = claims.members.get("nonce")
    if not isinstance(shown, str) or not hmac.compare_digest(
        shown.encode("utf-8", "surrogatepass"), nonce.encode()
    ):
        raise IdTokenError("nonce_wrong")
