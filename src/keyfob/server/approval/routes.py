# SPDX-License-Identifier: Apache-2.0
"""The device authorization grant as routes of the application (RFC 8628)."""

from __future__ import annotations

from starlette.routing import Route

from keyfob.server.approval.browser import Browser
from keyfob.server.approval.desk import Desk
from keyfob.server.approval.endpoint import ApprovalEndpoint
from keyfob.server.approval.openid import OpenIdSignIn
from keyfob.server.approval.pages import Pages
from keyfob.server.approval.sessions import Sessions
from keyfob.server.approval.sign_in import SignIn
from keyfob.server.endpoints.device_authorization import DeviceAuthorizationEndpoint
from keyfob.server.endpoints.metadata import DEVICE_AUTHORIZATION_PATH, DEVICE_PATH
from keyfob.server.openid.provider import OpenIdIssuer
from keyfob.server.parts import Parts
from keyfob.server.passwords import PasswordChecker
from keyfob.server.stores.operators import StoredOperators

__all__ = ["approval_routes"]


def approval_routes(
    parts: Parts, checker: PasswordChecker, openid: OpenIdIssuer | None
) -> list[Route]:
    """Make the routes: the endpoint that begins a request, and the pages that decide it.

    Args:
        parts: What they have in common with other endpoints.
        checker: Compares the passwords of operators.
        openid: The issuer at which they may sign in instead; None: there is none.
    """
    settings, at = parts.settings, parts.settings.path + DEVICE_PATH
    begin = DeviceAuthorizationEndpoint(
        admission=parts.admission,
        codes=parts.device_codes,
        resources=settings.targets,
        page=settings.base + DEVICE_PATH,
    )
    pages = _pages(parts, checker, openid)
    forms = {
        "sign-in": pages.post_sign_in,
        "request": pages.post_request,
        "decision": pages.post_decision,
        "sign-out": pages.post_sign_out,
    }
    return [
        Route(settings.path + DEVICE_AUTHORIZATION_PATH, begin.post, methods=["POST"]),
        Route(at, pages.get),
        Route(f"{at}/style.css", pages.style),
        Route(f"{at}/openid", pages.get_openid),
        Route(f"{at}/openid/back", pages.get_openid_back),
        *(Route(f"{at}/{name}", form, methods=["POST"]) for name, form in forms.items()),
        *(Route(f"{at}/{name}", pages.back) for name in forms),
    ]


def _pages(parts: Parts, checker: PasswordChecker, openid: OpenIdIssuer | None) -> ApprovalEndpoint:
    settings, admission, clock = parts.settings, parts.admission, parts.clock
    page = settings.base + DEVICE_PATH
    operators = StoredOperators(parts.opened.reading, parts.opened.writer)
    sessions = Sessions(operators, clock)
    browser = Browser(settings.issuer)
    elsewhere = None
    if openid is not None:
        elsewhere = OpenIdSignIn(
            issuer=openid,
            redirect_uri=f"{page}/openid/back",
            browser=browser,
            operators=operators,
            sessions=sessions,
            admission=admission,
        )
    return ApprovalEndpoint(
        page=page,
        pages=Pages(settings.path + DEVICE_PATH),
        browser=browser,
        openid=elsewhere,
        sign_in=SignIn(operators, sessions, checker, admission),
        sessions=sessions,
        desk=Desk(parts.device_requests, parts.reads, clock, parts.wrong_codes),
        admission=admission,
        audit=parts.audit,
        clock=clock,
    )
