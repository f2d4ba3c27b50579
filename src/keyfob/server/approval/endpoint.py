# SPDX-License-Identifier: Apache-2.0
"""The pages of the device authorization grant, each with what it takes (RFC 8628 section 3.3).

    page                     origin   form token   signed in   changes
    GET  /device/openid                                        nothing: leads to the other issuer
    GET  /device/openid/back                                   a session, where ``state`` is right
    GET  /device                                               nothing: also with a code in the URL
    POST /device/sign-in       x          x                    a session
    POST /device/request       x          x            x       nothing: shows what is asked for
    POST /device/decision      x          x            x       the request: approved or denied
    POST /device/sign-out      x          x            x       the session

Where nobody is an operator there is none of these pages.
"""

from __future__ import annotations

import datetime
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Literal

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from keyfob.http.json_response import NO_STORE
from keyfob.server.admission import Admission, Asked
from keyfob.server.approval.browser import Browser, form_token
from keyfob.server.approval.desk import Desk, Offer, Unfit
from keyfob.server.approval.openid import OpenIdSignIn
from keyfob.server.approval.pages import Pages
from keyfob.server.approval.sessions import Sessions, SignedIn
from keyfob.server.approval.sign_in import SignIn
from keyfob.server.audit import AuditSink, TokenEvent
from keyfob.server.clients import DEVICE_CODE, ClientKind
from keyfob.server.device_flow import DeviceRequest
from keyfob.server.forms import read_form
from keyfob.server.limits import network_of
from keyfob.server.oauth_errors import OAuthError, invalid_request
from keyfob.server.user_codes import read_user_code, shown_user_code

__all__ = ["ApprovalEndpoint"]

_UNKNOWN_CODE: Final = (
    "No request waits for this code. Compare it with the device; it may also be too old by now."
)
_WRONG_NAME: Final = "Name or password is not right."
_SIGN_IN_AGAIN: Final = "You are not signed in any more. Sign in again, then go on."
_CHANGED: Final = "What the device may do has changed meanwhile. Read it again."
_COMPARE: Final = "Compare the code with the one on the device, and say that you did."
_Outcome = Literal["signed_in", "approved", "denied"]
_Form = Mapping[str, str]
_Work = Callable[[Request, _Form, SignedIn, Asked], Awaitable[Response]]


class ApprovalEndpoint:
    """Shows the pages and takes their forms.

    Args:
        page: The URL of the first page.
        pages: What they look like.
        browser: What a browser has to show.
        sign_in: Lets operators in.
        openid: Lets them in by another issuer; None: there is none.
        sessions: Who is signed in.
        desk: The requests that wait.
        admission: The limits, and the audit of refusals.
        audit: Is told of each sign-in, approval and denial.
        clock: Unix seconds.
    """

    def __init__(
        self,
        *,
        page: str,
        pages: Pages,
        browser: Browser,
        sign_in: SignIn,
        openid: OpenIdSignIn | None,
        sessions: Sessions,
        desk: Desk,
        admission: Admission,
        audit: AuditSink,
        clock: Callable[[], float],
    ) -> None:
        self._page = page
        self._pages = pages
        self._browser = browser
        self._sign_in = sign_in
        self._openid = openid
        self._sessions = sessions
        self._desk = desk
        self._admission = admission
        self._audit = audit
        self._clock = clock

    async def get(self, request: Request) -> Response:
        """Show the first page: a form to sign in with, or one for a code."""
        await self._must_have_operators()
        code = read_user_code(request.query_params.get("user_code", "")) or ""
        shown = shown_user_code(code) if code else ""
        asked = Asked.of(request, "approval")
        try:
            signed_in = await self._sessions.find(self._browser.session_token(request))
        except OAuthError as error:
            return await self._refused(asked, error)
        if signed_in is None:
            return self._sign_in_page(request, user_code=shown)
        return self._code_page(signed_in, user_code=shown)

    async def back(self, request: Request) -> Response:  # noqa: ARG002 - whatever it was
        """Lead a browser that comes back to a form's address to the first page."""
        await self._must_have_operators()
        return self._to_page()

    async def style(self, request: Request) -> Response:  # noqa: ARG002 - the same for everybody
        """Return the style sheet."""
        return self._pages.style()

    async def post_sign_in(self, request: Request) -> Response:
        """Sign somebody in."""
        await self._must_have_operators()
        asked = Asked.of(request, "sign_in")
        try:
            self._browser.check_origin(request)
            form = await read_form(request)
            self._browser.check_token(form, self._browser.form_secret(request))
        except OAuthError as error:
            return await self._refused(asked, error)
        name = form.get("username", "")
        code = read_user_code(form.get("user_code", "")) or ""
        try:
            signed_in = await self._sign_in(name, form.get("password", ""), asked)
            # A browser that shows a session already has another one from now on.
            await self._sessions.end(self._browser.session_token(request))
        except OAuthError as error:
            if error.error != "invalid_grant":
                return await self._refused(asked, error)
            await self._admission.refused(asked, error)
            return self._sign_in_page(
                request,
                user_code=shown_user_code(code) if code else "",
                typed_name=name[:128],
                error=_WRONG_NAME,
                status=403,
            )
        self._tell("signed_in", asked)
        answer = self._to_page(code)
        self._browser.keep_session(answer, signed_in.token)
        return answer

    async def get_openid(self, request: Request) -> Response:
        """Lead a browser to the other issuer."""
        await self._must_have_operators()
        if self._openid is None:
            raise HTTPException(404)
        code = read_user_code(request.query_params.get("user_code", "")) or ""
        try:
            return await self._openid.leave(code)
        except OAuthError as error:
            return await self._refused(Asked.of(request, "sign_in"), error)

    async def get_openid_back(self, request: Request) -> Response:
        """Sign in whoever comes back from there."""
        await self._must_have_operators()
        if self._openid is None:
            raise HTTPException(404)
        asked = Asked.of(request, "sign_in")
        try:
            signed_in, code = await self._openid.come_back(request, asked)
            await self._sessions.end(self._browser.session_token(request))
        except OAuthError as error:
            return await self._refused(asked, error)
        self._tell("signed_in", asked)
        answer = self._to_page(code)
        self._browser.keep_session(answer, signed_in.token)
        return answer

    async def post_request(self, request: Request) -> Response:
        """Show what is asked for, once it is known for which device."""
        return await self._form(request, self._show)

    async def post_decision(self, request: Request) -> Response:
        """Approve or deny."""
        return await self._form(request, self._decide)

    async def post_sign_out(self, request: Request) -> Response:
        """Sign somebody out."""
        return await self._form(request, self._sign_out)

    async def _form(self, request: Request, work: _Work) -> Response:
        await self._must_have_operators()
        asked = Asked.of(request, "approval")
        signed_in = None
        try:
            self._browser.check_origin(request)
            form = await read_form(request)
            signed_in = await self._sessions.find(self._browser.session_token(request))
            if signed_in is None:
                code = read_user_code(form.get("user_code", "")) or ""
                return self._sign_in_page(
                    request,
                    user_code=shown_user_code(code) if code else "",
                    error=_SIGN_IN_AGAIN,
                    status=403,
                )
            asked.operator = signed_in.operator
            self._browser.check_token(form, signed_in.token)
            return await work(request, form, signed_in, asked)
        except OAuthError as error:
            return await self._refused(asked, error, signed_in)

    async def _show(
        self, request: Request, form: _Form, signed_in: SignedIn, asked: Asked
    ) -> Response:
        code, found = await self._find(form, asked)
        device = found.hint or form.get("device", "")
        if not device:
            return self._device_page(signed_in, code, found)
        offer = await self._desk.offer(found, device)
        return self._offer_page(request, signed_in, code, found, offer, device=device)

    async def _decide(
        self, request: Request, form: _Form, signed_in: SignedIn, asked: Asked
    ) -> Response:
        decision = form.get("decision", "")
        if decision not in ("approve", "deny"):
            raise invalid_request("it is approved or denied", reason="decision_missing")
        code, found = await self._find(form, asked)
        asked.client_id, asked.subject = found.client_id, found.hint
        if decision == "deny":
            await self._desk.deny(found, signed_in=signed_in, peer=asked.peer)
            self._tell("denied", asked)
            return self._done_page(signed_in, found, device="")
        device = asked.subject = found.hint or form.get("device", "")
        offer = await self._desk.offer(found, device)
        if isinstance(offer, Offer):
            error = ""
            if form.get("shown") != offer.fingerprint:
                error = _CHANGED
            elif form.get("compared") != "yes":
                error = _COMPARE
            if not error:
                await self._desk.approve(found, offer, signed_in=signed_in, peer=asked.peer)
                self._tell("approved", asked)
                return self._done_page(signed_in, found, device=device)
            return self._offer_page(
                request, signed_in, code, found, offer, device=device, error=error
            )
        return self._offer_page(request, signed_in, code, found, offer, device=device)

    async def _sign_out(
        self,
        request: Request,  # noqa: ARG002 - as of every form
        form: _Form,  # noqa: ARG002 - the same
        signed_in: SignedIn,
        asked: Asked,  # noqa: ARG002 - the same
    ) -> Response:
        await self._sessions.end(signed_in.token)
        answer = self._to_page()
        self._browser.forget_session(answer)
        return answer

    async def _find(self, form: _Form, asked: Asked) -> tuple[str, DeviceRequest]:
        # Not the name that passwords are guessed under: strangers must not keep who is signed in
        # from denying what they asked for.
        async with self._admission.attempt(f"approver~{asked.operator}", asked) as attempt:
            found = await self._desk.find(form.get("user_code", ""))
            attempt.proved(ClientKind.DEVICE)  # as many requests as a device, no more
        return found

    async def _must_have_operators(self) -> None:
        if not await self._sign_in.is_possible():
            raise HTTPException(404)

    async def _refused(
        self, asked: Asked, error: OAuthError, signed_in: SignedIn | None = None
    ) -> Response:
        told = await self._admission.refused(asked, error)
        if told.error == "invalid_grant" and signed_in is not None:
            return self._code_page(signed_in, error=_UNKNOWN_CODE, status=400)
        heading, message = _explained(told)
        answer = self._pages.render(
            "message", status=told.status, heading=heading, error=message, page=self._page
        )
        if told.retry_after:
            answer.headers["Retry-After"] = str(told.retry_after)
        return answer

    def _to_page(self, code: str = "") -> Response:
        query = f"?user_code={shown_user_code(code)}" if code else ""
        return RedirectResponse(self._page + query, status_code=303, headers=dict(NO_STORE))

    def _sign_in_page(
        self,
        request: Request,
        *,
        user_code: str,
        typed_name: str = "",
        error: str = "",
        status: int = 200,
    ) -> Response:
        secret = self._browser.form_secret(request) or self._browser.new_form_secret()
        answer = self._pages.render(
            "sign_in",
            status=status,
            error=error,
            token=form_token(secret),
            user_code=user_code,
            typed_name=typed_name,
            openid="" if self._openid is None else self._openid.name,
        )
        self._browser.keep_form_secret(answer, secret)
        return answer

    def _code_page(
        self, signed_in: SignedIn, *, user_code: str = "", error: str = "", status: int = 200
    ) -> Response:
        return self._render("code", signed_in, user_code=user_code, error=error, status=status)

    def _device_page(self, signed_in: SignedIn, code: str, found: DeviceRequest) -> Response:
        return self._render(
            "device", signed_in, user_code=shown_user_code(code), request=found, device=""
        )

    def _offer_page(
        self,
        request: Request,
        signed_in: SignedIn,
        code: str,
        found: DeviceRequest,
        offer: Offer | Unfit,
        *,
        device: str,
        error: str = "",
    ) -> Response:
        user_code = shown_user_code(code)
        if isinstance(offer, Unfit):
            name = "refusable" if found.hint else "device"
            return self._render(
                name,
                signed_in,
                status=400,
                error=offer.why,
                user_code=user_code,
                request=found,
                device=device[:128],
            )
        peer = request.client.host if request.client else ""
        return self._render(
            "confirm",
            signed_in,
            status=400 if error else 200,
            error=error,
            user_code=user_code,
            request=found,
            offer=offer,
            peer=peer,
            # Behind a proxy that is not trusted (``http.proxy``) everybody has its address: that
            # two are the same says nothing then.
            other_network=network_of(peer) != found.network,
            asked_at=_time(found.created_at),
        )

    def _done_page(self, signed_in: SignedIn, found: DeviceRequest, *, device: str) -> Response:
        return self._render(
            "done",
            signed_in,
            approved=bool(device),
            device=device,
            client_id=found.client_id,
        )

    def _render(
        self,
        name: str,
        signed_in: SignedIn,
        *,
        status: int = 200,
        error: str = "",
        **values: object,
    ) -> Response:
        return self._pages.render(
            name,
            status=status,
            error=error,
            operator=signed_in.operator,
            token=form_token(signed_in.token),
            **values,
        )

    def _tell(self, outcome: _Outcome, asked: Asked) -> None:
        self._audit(
            TokenEvent(
                at=self._clock(),
                outcome=outcome,
                peer=asked.peer,
                request=asked.request,
                grant_type="" if outcome == "signed_in" else DEVICE_CODE,
                client_id=asked.client_id,
                subject=asked.subject,
                operator=asked.operator,
            )
        )


def _explained(error: OAuthError) -> tuple[str, str]:
    """Return a heading and a sentence for a person."""
    if error.status == 429:
        return "Too many tries", f"Wait {error.retry_after} seconds, then try again."
    if error.status == 503:
        return "Not now", "The server is busy. Try again in a moment."
    if error.reason.startswith("openid_"):
        return "Not signed in", "The other server did not sign you in as an operator of this one."
    if error.status == 403:
        return "Not from here", (
            "This form does not come from this page, or it is too old. Nothing was done."
        )
    return "Not understood", "The form could not be read. Nothing was done."


def _time(seconds: float) -> str:
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return moment.strftime("%d %B %Y, %H:%M:%S UTC")
