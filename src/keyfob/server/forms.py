# SPDX-License-Identifier: Apache-2.0
"""Form-encoded requests, read strictly (RFC 6749 section 3.2 and appendix B).

A parameter that stands twice is an error unless its RFC lets it (then the values are joined by a
space, which none of them may hold), an empty one counts as left out, an unknown one is
carried along and ignored by everybody. Percent-encoding is decoded once; what is not well formed
UTF-8 is an error, never replaced.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_to_bytes

from starlette.requests import Request

from keyfob.http.body import BODY_SECONDS, BodyError, read_body
from keyfob.server.oauth_errors import OAuthError, invalid_request

__all__ = ["MAX_BODY_BYTES", "decode_component", "parse_form", "read_form"]

# The longest request that makes sense holds the longest scope (scopes.MAX_SCOPE_LENGTH) with
# every character percent-encoded, three bytes each, and leaves room for the other parameters.
MAX_BODY_BYTES: Final = 65_536
MAX_PARAMETERS: Final = 64
_BAD_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_MEDIA_TYPE: Final = "application/x-www-form-urlencoded"


async def read_form(
    request: Request,
    *,
    seconds: float = BODY_SECONDS,
    repeatable: frozenset[str] = frozenset(),
) -> dict[str, str]:
    """Return the parameters of a POST.

    Args:
        request: The request, whose body was not read yet.
        repeatable: The parameters that may stand more than once.
        seconds: How long the client may take to send it.

    Raises:
        OAuthError: ``invalid_request``: another content type, too large, too slow, or not well
            formed.
    """
    if request.scope["query_string"]:  # RFC 6749 section 2.3.1: a secret in a URL ends in logs
        raise invalid_request("parameters belong into the request body", reason="query_string")
    _check_content_type(request.headers.getlist("content-type"))
    try:
        body = await read_body(request, limit=MAX_BODY_BYTES, seconds=seconds)
    except BodyError as error:
        raise invalid_request(error.message, reason=error.reason, status=error.status) from None
    return parse_form(body, repeatable)


def parse_form(body: bytes, repeatable: frozenset[str] = frozenset()) -> dict[str, str]:
    """Decode ``application/x-www-form-urlencoded``.

    Args:
        body: The body.
        repeatable: The parameters that may stand more than once.

    Raises:
        OAuthError: ``invalid_request``.
    """
    try:
        text = body.decode("ascii")
    except UnicodeDecodeError:
        raise _malformed() from None
    pairs = [pair for pair in text.split("&") if pair]
    if len(pairs) > MAX_PARAMETERS:
        raise invalid_request("too many parameters", reason="too_many_parameters")
    parameters: dict[str, str] = {}
    for pair in pairs:
        name, _, value = pair.partition("=")
        name = decode_component(name)
        if name in repeatable:
            _add(parameters, name, decode_component(value))
            continue
        if name in parameters:
            raise invalid_request("a parameter is repeated", reason="parameter_repeated")
        parameters[name] = decode_component(value)
    return {name: value for name, value in parameters.items() if value}


def _add(parameters: dict[str, str], name: str, value: str) -> None:
    if " " in value:
        raise _malformed()
    before = parameters.get(name)
    parameters[name] = f"{before} {value}" if before and value else before or value


def decode_component(text: str) -> str:
    """Decode one name or value: ``+`` is a space, then percent-encoding, then UTF-8.

    Raises:
        OAuthError: ``invalid_request``.
    """
    if "%" not in text and "+" not in text:
        return text
    if _BAD_PERCENT.search(text):
        raise _malformed()
    try:
        return unquote_to_bytes(text.replace("+", " ")).decode("utf-8")
    except UnicodeDecodeError:
        raise _malformed() from None


def _malformed() -> OAuthError:
    return invalid_request("the form is not well formed", reason="form_malformed")


def _check_content_type(values: list[str]) -> None:
    media_type, _, parameters = values[0].partition(";") if len(values) == 1 else ("", "", "")
    charset = parameters.lower().replace(" ", "").replace('"', "")
    if media_type.strip().lower() != _MEDIA_TYPE or charset not in ("", "charset=utf-8"):
        raise invalid_request(f"the content type has to be {_MEDIA_TYPE}", reason="content_type")
