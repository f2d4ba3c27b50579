# SPDX-License-Identifier: Apache-2.0
"""What a browser has to show so that a form counts: where it comes from, and its token.

A form counts only from a page of this origin (``Origin``, RFC 6454 section 7) and with a token
that is derived from the browser's own cookie, which no other site can read. Before the sign-in that
cookie is a random one of its own: nobody signs somebody else in under his own name.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from keyfob.server.oauth_errors import OAuthError

__all__ = ["Browser", "form_token"]

# Cookies as the server made them: 32 bytes in base64url.
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)
_FORM: Final = b"keyfob form\0"
_DEFAULT_PORTS: Final = {"https": 443, "http": 80}


class Browser:
    """Reads and writes the cookies of one server, and judges its forms.

    Args:
        issuer: The issuer: its origin is where forms come from. Over http, which is for the
            loopback address only, cookies have no prefix, because that asks for TLS.
    """

    def __init__(self, issuer: str) -> None:
        url = urlsplit(issuer)
        host = f"[{url.hostname}]" if ":" in (url.hostname or "") else url.hostname
        port = "" if url.port in (None, _DEFAULT_PORTS[url.scheme]) else f":{url.port}"
        self._origin = f"{url.scheme}://{host}{port}"
        self._secure = url.scheme == "https"
        # __Host-: for this host and TLS alone (RFC 6265bis section 4.1.3.2).
        prefix = "__Host-" if self._secure else ""
        self._session, self._form = prefix + "keyfob-session", prefix + "keyfob-form"
        self._openid = prefix + "keyfob-openid"

    def session_token(self, request: Request) -> str:
        """Return the session's token as the browser shows it; empty where it shows none."""
        return _cookie(request, self._session)

    def form_secret(self, request: Request) -> str:
        """Return what tells this browser from others before somebody signs in; empty: nothing."""
        return _cookie(request, self._form)

    def openid_secret(self, request: Request) -> str:
        """Return what a browser shows that left to sign in elsewhere; empty: nothing."""
        return _cookie(request, self._openid)

    def keep_openid_secret(self, response: Response, secret: str) -> None:
        """Have the browser show that when it comes back."""
        self._set(response, self._openid, secret)

    def new_form_secret(self) -> str:
        """Make such a thing."""
        return secrets.token_urlsafe(32)

    def keep_session(self, response: Response, token: str) -> None:
        """Have the browser show a session's token from now on, until it is closed."""
        self._set(response, self._session, token)
        self._delete(response, self._form)
        self._delete(response, self._openid)

    def keep_form_secret(self, response: Response, secret: str) -> None:
        """Have the browser show what tells it from others."""
        self._set(response, self._form, secret)

    def forget_session(self, response: Response) -> None:
        """Have the browser forget a session's token."""
        self._delete(response, self._session)

    def check_origin(self, request: Request) -> None:
        """Refuse a form that does not say that it comes from a page of ours.

        Raises:
            OAuthError: ``access_denied`` with status 403.
        """
        origins = request.headers.getlist("origin")
        site = request.headers.get("sec-fetch-site", "same-origin")
        if origins != [self._origin] or site != "same-origin":
            raise _forged("origin_foreign")

    def check_token(self, parameters: Mapping[str, str], secret: str) -> None:
        """Refuse a form that was not made for this browser.

        Args:
            parameters: The form; ``token`` is the token.
            secret: The cookie that it has to be derived from.

        Raises:
            OAuthError: ``access_denied`` with status 403.
        """
        shown = parameters.get("token", "").encode("utf-8", "surrogatepass")
        if not (hmac.compare_digest(shown, form_token(secret).encode()) and secret):
            raise _forged("form_token_wrong")

    def _set(self, response: Response, name: str, value: str) -> None:
        # Lax: whoever comes from a link in a message, or by a QR code, is still signed in.
        response.set_cookie(
            name, value, path="/", secure=self._secure, httponly=True, samesite="lax"
        )

    def _delete(self, response: Response, name: str) -> None:
        response.delete_cookie(name, path="/", secure=self._secure, httponly=True, samesite="lax")


def form_token(secret: str) -> str:
    """Return the token of the forms that are shown to the browser with this cookie."""
    return hmac.digest(secret.encode(), _FORM, hashlib.sha256).hex()


def _cookie(request: Request, name: str) -> str:
    value = request.cookies.get(name, "")
    return value if _TOKEN.fullmatch(value) else ""


def _forged(reason: str) -> OAuthError:
    return OAuthError(
        "access_denied", "the form is not one of this page", reason=reason, status=403
    )
