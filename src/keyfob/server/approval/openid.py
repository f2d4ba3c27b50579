# SPDX-License-Identifier: Apache-2.0
"""Signing in by another issuer: to it and back, with the browser's own cookie in between.

State, nonce and the verifier of PKCE (RFC 7636) all come from one random cookie of this browser, so
that nothing is kept here meanwhile, and nobody comes back in a browser that did not leave.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Final
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from keyfob.http.json_response import NO_STORE
from keyfob.server.admission import Admission, Asked
from keyfob.server.approval.browser import Browser
from keyfob.server.approval.sessions import Sessions, SignedIn
from keyfob.server.clients import ClientKind
from keyfob.server.oauth_errors import OAuthError
from keyfob.server.openid.id_token import IdTokenError
from keyfob.server.openid.provider import OpenIdIssuer, OpenIdUnavailableError
from keyfob.server.stores.operators import StoredOperators
from keyfob.server.user_codes import read_user_code

__all__ = ["OpenIdSignIn"]

_MAX_CODE: Final = 4_096


class OpenIdSignIn:
    """Sends browsers to the issuer, and lets those in who come back as operators.

    Args:
        issuer: The issuer.
        redirect_uri: Where browsers come back to.
        browser: Has the cookie.
        operators: Who is one.
        sessions: Where a session begins.
        admission: Has the limits.
    """

    def __init__(
        self,
        *,
        issuer: OpenIdIssuer,
        redirect_uri: str,
        browser: Browser,
        operators: StoredOperators,
        sessions: Sessions,
        admission: Admission,
    ) -> None:
        self._issuer = issuer
        self._redirect_uri = redirect_uri
        self._browser = browser
        self._operators = operators
        self._sessions = sessions
        self._admission = admission

    @property
    def name(self) -> str:
        """What operators know the issuer by."""
        return self._issuer.settings.name

    async def leave(self, user_code: str) -> Response:
        """Send a browser to the issuer.

        Args:
            user_code: What it shall come back to; empty for nothing.

        Raises:
            OAuthError: ``temporarily_unavailable``: the issuer cannot be discovered.
        """
        try:
            metadata = await self._issuer.metadata()
        except OpenIdUnavailableError as error:
            raise _unavailable() from error
        secret = self._browser.new_form_secret()
        challenge = hashlib.sha256(_derived(secret, "verifier").encode()).digest()
        query = urlencode(
            {
                "response_type": "code",
                "client_id": self._issuer.settings.client_id,
                "redirect_uri": self._redirect_uri,
                "scope": "openid",
                "state": _state(secret, user_code),
                "nonce": _derived(secret, "nonce"),
                "code_challenge": _base64url(challenge),
                "code_challenge_method": "S256",
            }
        )
        mark = "&" if "?" in metadata.authorization_endpoint else "?"
        answer = RedirectResponse(
            metadata.authorization_endpoint + mark + query, status_code=303, headers=dict(NO_STORE)
        )
        self._browser.keep_openid_secret(answer, secret)
        return answer

    async def come_back(self, request: Request, asked: Asked) -> tuple[SignedIn, str]:
        """Sign in whoever comes back, and return the user code that he left with.

        Args:
            request: With ``code`` and ``state``, or ``error``, in its query.
            asked: Learns who it is.

        Raises:
            OAuthError: ``access_denied`` with status 403: it is not this browser's, or the issuer
                or the register says no; ``temporarily_unavailable``.
        """
        query = request.query_params
        secret = self._browser.openid_secret(request)
        state = query.get("state", "")
        user_code = read_user_code(state.partition(".")[2]) or ""
        wanted = _state(secret, user_code)
        if not secret or not hmac.compare_digest(_bytes(state), wanted.encode()):
            raise _denied("openid_state_wrong")
        async with self._admission.attempt("operator~openid", asked) as attempt:
            subject = await self._subject(request, secret)
            name = await self._operators.name_of(subject)
            if name is None:
                raise _denied("openid_no_operator")
            asked.operator = name
            signed_in = await self._sessions.begin(name, openid_subject=subject)
            if signed_in is None:
                raise _denied("openid_no_operator")
            attempt.proved(ClientKind.DEVICE)
        return signed_in, user_code

    async def _subject(self, request: Request, secret: str) -> str:
        query = request.query_params
        try:
            metadata = await self._issuer.metadata()
            named = query.get("iss")
            expected = self._issuer.settings.issuer
            if named != expected and (named is not None or metadata.names_itself):  # RFC 9207
                raise _denied("openid_iss_wrong")
            code = query.get("code", "")
            if "error" in query or not 0 < len(code) <= _MAX_CODE:
                raise _denied("openid_refused")
            return await self._issuer.subject(
                code,
                verifier=_derived(secret, "verifier"),
                redirect_uri=self._redirect_uri,
                nonce=_derived(secret, "nonce"),
            )
        except OpenIdUnavailableError as error:
            raise _unavailable() from error
        except IdTokenError as error:
            # A guess that cost a question over there: ``invalid_grant`` is what limits count.
            raise OAuthError(
                "invalid_grant", "the issuer's answer is not good", reason=error.reason, status=403
            ) from None


def _state(secret: str, user_code: str) -> str:
    return f"{_derived(secret, 'state' + user_code)}.{user_code}"


def _derived(secret: str, purpose: str) -> str:
    """Return 256 bits in base64url, which nobody has who has not the cookie."""
    message = f"keyfob openid {purpose}".encode()
    return _base64url(hmac.digest(secret.encode(), message, "sha256"))


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _denied(reason: str) -> OAuthError:
    return OAuthError("access_denied", "this sign-in is not good", reason=reason, status=403)


def _unavailable() -> OAuthError:
    return OAuthError(
        "temporarily_unavailable", "the issuer does not answer", reason="openid_unavailable"
    )
