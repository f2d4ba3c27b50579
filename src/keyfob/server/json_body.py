# SPDX-License-Identifier: Apache-2.0
"""Requests whose body is one JSON document, read strictly."""

from __future__ import annotations

from typing import Any, Final

from starlette.requests import Request

from keyfob.http.body import BodyError, read_body
from keyfob.tokens import json_strict

__all__ = ["LINES_TYPE", "MAX_BODY_BYTES", "JsonBodyError", "read_json", "read_lines"]

# The longest request that makes sense holds the longest scopes and the longest keys.
MAX_BODY_BYTES: Final = 65_536
LINES_TYPE: Final = "application/x-ndjson"
# A thousand rows, each with room for rights and a key.
MAX_LINES_BYTES: Final = 4_194_304


class JsonBodyError(Exception):
    """A body that is not what it has to be.

    Args:
        status: The HTTP status.
        reason: What is wrong, in a word.
        detail: The same in a sentence, which repeats no input.
    """

    def __init__(self, status: int, reason: str, detail: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.detail = detail


async def read_json(request: Request, *, limit: int = MAX_BODY_BYTES) -> Any:  # noqa: ANN401 - it is JSON
    """Return what a request's body holds.

    Args:
        request: The request, whose body was not read yet.
        limit: The most bytes.

    Raises:
        JsonBodyError: 415 for another content type, 413, 408, 400 for what is cut short or is no
            JSON that can mean one thing only.
    """
    _check_media_type(request.headers.getlist("content-type"))
    try:
        body = await read_body(request, limit=limit)
    except BodyError as error:
        raise JsonBodyError(error.status, error.reason, error.message) from None
    try:
        return json_strict.loads(body)
    except json_strict.JsonError as error:
        detail = f"the body is no strict JSON: {error}"
        raise JsonBodyError(400, "json_malformed", detail) from None


async def read_lines(request: Request) -> bytes:
    """Return a body of JSON lines, of which none was looked at yet.

    Raises:
        JsonBodyError: 415 for another content type, 413, 408; 400 for what is cut short.
    """
    _check_media_type(request.headers.getlist("content-type"), LINES_TYPE)
    try:
        return await read_body(request, limit=MAX_LINES_BYTES)
    except BodyError as error:
        raise JsonBodyError(error.status, error.reason, error.message) from None


def _check_media_type(values: list[str], wanted: str = "application/json") -> None:
    media_type, _, parameters = values[0].partition(";") if len(values) == 1 else ("", "", "")
    charset = parameters.lower().replace(" ", "").replace('"', "")
    if media_type.strip().lower() != wanted or charset not in ("", "charset=utf-8"):
        detail = f"the content type has to be {wanted}"
        raise JsonBodyError(415, "media_type_unsupported", detail)
