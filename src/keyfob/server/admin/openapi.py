# SPDX-License-Identifier: Apache-2.0
"""The description of the admin API (OpenAPI 3.1), made from the table of operations.

Parameters, bodies and answers are described by the types that parse and write them, so that the
description cannot say what the API does not do.
"""

from __future__ import annotations

import http
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from keyfob import __version__
from keyfob.server.admin.operations import NAME_PATTERN, Lines, Operation
from keyfob.server.admin.problems import PROBLEM_TYPE, Problem
from keyfob.server.admin_scopes import ADMIN_PATH
from keyfob.server.json_body import LINES_TYPE

__all__ = ["description", "problem_statuses"]

_TEMPLATE: Final = "#/components/schemas/{name}"
_SECURITY: Final = "service"
_LINES: Final = {
    LINES_TYPE: {
        "schema": {
            # No type: it is text of which each line is JSON, and JSON Schema has no word for that.
            "contentMediaType": LINES_TYPE,
            "description": "One JSON object on each line, as `keyfob device import` reads it.",
        }
    }
}
_ALWAYS: Final = (401, 403, 429, 503)


def description(
    operations: Iterable[Operation], *, base: str, token_endpoint: str
) -> dict[str, object]:
    """Return the document.

    Args:
        operations: The table.
        base: The issuer's URL without a closing slash.
        token_endpoint: Where services get their tokens.
    """
    table = tuple(operations)
    types = tuple(
        dict.fromkeys(
            kind
            for one in table
            for kind in (one.body, one.answer)
            if kind not in (None, bytes, Lines)
        )
    )
    schemas, components = msgspec.json.schema_components((*types, Problem), ref_template=_TEMPLATE)
    refs = dict(zip((*types, Problem), schemas, strict=True))
    paths: dict[str, dict[str, object]] = {}
    for one in table:
        paths.setdefault(one.path, {})[one.method] = _operation(one, refs)
    scopes = {one.scope: "" for one in table}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Keyfob admin API",
            "version": __version__,
            "description": "Devices, applications, services, keys and people of a Keyfob server. "
            "Times are seconds since 1970.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": base + ADMIN_PATH}],
        "security": [{_SECURITY: []}],
        "paths": paths,
        "components": {
            "schemas": {name: _told(schema) for name, schema in components.items()},
            "securitySchemes": {
                _SECURITY: {
                    "type": "oauth2",
                    "description": "A service that is registered with the scopes; the token's "
                    "audience is this API.",
                    "flows": {"clientCredentials": {"tokenUrl": token_endpoint, "scopes": scopes}},
                }
            },
        },
    }


def problem_statuses(operation: Operation) -> tuple[int, ...]:
    """Return the statuses of all problems that an operation may answer with."""
    found = {*_ALWAYS, *operation.statuses}
    if "{id}" in operation.path:
        found.add(404)
    if operation.body is not None:
        found |= {400, 408, 413, 415}
    # A name in the path, a parameter, a body: each may be what it cannot be.
    found.add(422)
    return tuple(sorted(found))


def _operation(one: Operation, refs: Mapping[Any, Any]) -> dict[str, object]:
    found: dict[str, object] = {
        "operationId": one.name,
        "summary": one.summary,
        "tags": [one.path.split("/")[1]],
        "security": [{_SECURITY: [one.scope]}],
        "responses": _responses(one, refs),
    }
    if parameters := _parameters(one):
        found["parameters"] = parameters
    if one.body is not None:
        lines = one.body is bytes
        content = _LINES if lines else {"application/json": {"schema": refs[one.body]}}
        found["requestBody"] = {"required": True, "content": content}
    return found


def _parameters(one: Operation) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    if "{id}" in one.path:
        schema = {"type": "string", "minLength": 1, "maxLength": 128, "pattern": NAME_PATTERN}
        found.append({"name": "id", "in": "path", "required": True, "schema": schema})
    query = msgspec.json.schema_components((one.query,))[1][one.query.__name__]
    for name, schema in query.get("properties", {}).items():
        shown = {key: value for key, value in schema.items() if key != "description"}
        found.append(
            {
                "name": name,
                "in": "query",
                "required": name in query.get("required", ()),
                "description": schema.get("description", ""),
                "schema": shown,
            }
        )
    return found


def _responses(one: Operation, refs: Mapping[Any, Any]) -> dict[str, object]:
    success: dict[str, object] = {"description": "Done."}
    if one.answer is Lines:
        success["content"] = _LINES
        link = {"description": "Where it goes on (RFC 8288).", "schema": {"type": "string"}}
        success["headers"] = {"Link": link}
    elif one.answer is not None:
        success["content"] = {"application/json": {"schema": refs[one.answer]}}
    if one.location is not None:
        location = {"description": "What is new.", "schema": {"type": "string"}}
        success["headers"] = {"Location": location}
    found: dict[str, object] = {str(one.status): success}
    for status in problem_statuses(one):
        found[str(status)] = {
            "description": http.HTTPStatus(status).phrase,
            "content": {PROBLEM_TYPE: {"schema": refs[Problem]}},
        }
    return found


def _told(schema: Mapping[str, object]) -> dict[str, object]:
    """Leave of a docstring what is for readers of the API: its first paragraph."""
    told = dict(schema)
    if isinstance(text := told.get("description"), str):
        told["description"] = " ".join(text.partition("\n\n")[0].split())
    return told
