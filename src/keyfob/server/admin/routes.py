# SPDX-License-Identifier: Apache-2.0
"""The table of operations, as routes of the server.

The steps of each, in this order, with the status that each may end in:

    1 the token     401, 403, 429
    2 the path      404: what is no name names nothing
    3 the query     422
    4 the body      400, 408, 413, 415, 422
    5 the work      404, 409, 422, 503

Step 5 is one call of what the command line calls, in the thread that writes the register; the
answer is sent when it is on the disk.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route

from keyfob.errors import KeyfobError
from keyfob.http.json_response import NO_STORE
from keyfob.server.admin import (
    applications,
    bulk,
    certificates,
    devices,
    grants,
    groups,
    keys,
    operators,
    receivers,
    registration_tokens,
    services,
    trail,
)
from keyfob.server.admin.access import AdminAccess, Caller
from keyfob.server.admin.openapi import description
from keyfob.server.admin.operations import Call, Lines, Operation, read_query
from keyfob.server.admin.problems import (
    ProblemError,
    no_route,
    of_oauth,
    of_register,
    problem_response,
    server_failed,
)
from keyfob.server.admin_scopes import ADMIN_PATH
from keyfob.server.json_body import LINES_TYPE, JsonBodyError, read_json, read_lines
from keyfob.server.oauth_errors import OAuthError
from keyfob.server.register_thread import Registers, RegisterThread
from keyfob.server.settings import ServerSettings

__all__ = ["OPERATIONS", "admin_route"]

OPERATIONS: Final[tuple[Operation, ...]] = (
    *devices.OPERATIONS,
    *groups.OPERATIONS,
    *bulk.OPERATIONS,
    *applications.OPERATIONS,
    *certificates.OPERATIONS,
    *grants.OPERATIONS,
    *services.OPERATIONS,
    *keys.OPERATIONS,
    *registration_tokens.OPERATIONS,
    *operators.OPERATIONS,
    *receivers.OPERATIONS,
    *trail.OPERATIONS,
)
# A thousand names of the longest, and what stands between them.
MAX_BYTES: Final = 262_144
# A name, or the thumbprint of a key.
_TARGET: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._~-]{0,127}", re.ASCII)


def admin_route(
    settings: ServerSettings, access: AdminAccess, thread: RegisterThread, token_endpoint: str
) -> BaseRoute:
    """Return the whole API, as one route of the server.

    Args:
        settings: The issuer.
        access: Its door.
        thread: What does the work.
        token_endpoint: Where services get their tokens.
    """
    document = msgspec.json.encode(
        description(OPERATIONS, base=settings.base, token_endpoint=token_endpoint)
    )

    async def openapi(request: Request) -> Response:  # noqa: ARG001 - the same for everybody
        return Response(document, media_type="application/json", headers=dict(NO_STORE))

    app = Starlette(
        routes=[Route("/openapi.json", openapi), *_routes(access, thread, settings)],
        exception_handlers={HTTPException: no_route, Exception: server_failed},
    )
    app.router.redirect_slashes = False
    mount = Mount(settings.path + ADMIN_PATH, app=app)
    # A line feed in a path is no way out of the API either: its dot has to match everything.
    mount.path_regex = re.compile(mount.path_regex.pattern, re.DOTALL)
    return mount


def _routes(
    access: AdminAccess, thread: RegisterThread, settings: ServerSettings
) -> list[BaseRoute]:
    by_path: dict[str, dict[str, Operation]] = {}
    for one in OPERATIONS:
        by_path.setdefault(one.path, {})[one.method.upper()] = one
    base = settings.base + ADMIN_PATH
    return [
        Route(
            path.replace("{id}", "{id:str}"),
            _endpoint(at_path, access, thread, base),
            methods=[*at_path],
        )
        for path, at_path in by_path.items()
    ]


def _endpoint(
    operations: dict[str, Operation], access: AdminAccess, thread: RegisterThread, base: str
) -> Callable[[Request], Any]:
    async def answer(request: Request) -> Response:
        # Starlette answers HEAD where there is GET.
        one = operations["GET" if request.method == "HEAD" else request.method]
        try:
            caller = await _admitted(one, request, access)
            return await _done(one, request, caller, thread, base)
        except ProblemError as error:
            return problem_response(error)
        except KeyfobError as error:
            return problem_response(of_register(error))

    return answer


async def _admitted(one: Operation, request: Request, access: AdminAccess) -> Caller:
    try:
        return await access.admit(request, one.scope)
    except OAuthError as error:
        raise of_oauth(error, scope=one.scope) from None


async def _done(
    one: Operation, request: Request, caller: Caller, thread: RegisterThread, base: str
) -> Response:
    target = request.path_params.get("id", "")
    if "id" in request.path_params and not _TARGET.fullmatch(target):
        raise ProblemError(404, "not_found", "there is nothing of this name")
    query = read_query(request, one.query)
    body = None if one.body is None else await _body(request, one.body)

    def work(registers: Registers) -> Any:  # noqa: ANN401 - each operation has its own answer
        return one.work(
            Call(
                caller=caller,
                register=registers.register,
                keys=registers.keys,
                registration_tokens=registers.registration_tokens,
                operators=registers.operators,
                receivers=registers.receivers,
                target=target,
                body=body,
                query=query,
            )
        )

    answer = await thread.with_registers(f"service:{caller.client_id}", work)
    headers = dict(NO_STORE)
    if one.answer is None:
        return Response(status_code=one.status, headers=headers)
    if isinstance(answer, Lines):
        if answer.next is not None:  # RFC 8288; the same question, from there on
            place = request.url.include_query_params(after=answer.next)
            headers["Link"] = f'<{base}{one.path}?{place.query}>; rel="next"'
        return Response(answer.text, media_type=LINES_TYPE, headers=headers)
    if one.location is not None:
        headers["Location"] = base + one.location(answer)
    return Response(
        msgspec.json.encode(answer),
        status_code=one.status,
        media_type="application/json",
        headers=headers,
    )


async def _body(request: Request, kind: type[Any]) -> object:
    try:
        if kind is bytes:
            return await read_lines(request)
        return msgspec.convert(await read_json(request, limit=MAX_BYTES), kind)
    except JsonBodyError as error:
        raise ProblemError(error.status, error.reason, error.detail) from None
    except msgspec.ValidationError as error:
        raise ProblemError(422, "body_invalid", str(error)) from None
