# SPDX-License-Identifier: Apache-2.0
"""Leads schemathesis beyond the first 404: names that are there, and names that are free.

Loaded by schemathesis itself (``SCHEMATHESIS_HOOKS``), never imported by a test.
"""

from __future__ import annotations

import itertools
import random
import re
from typing import Any

import schemathesis

_FRESH = itertools.count()
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~-]{0,127}", re.ASCII)
_RANDOM = random.Random(7)
# Those that ``test_schemathesis`` has registered before.
_THERE = {
    "devices": [f"dev{number}" for number in range(20)],
    "groups": [f"group{number}" for number in range(20)],
    "applications": [f"app{number}" for number in range(20)],
    "services": [f"svc{number}" for number in range(20)],
    "grants": [f"dev{number}" for number in range(20)],
    "operators": [f"person{number}" for number in range(20)],
    "receivers": [f"hears{number}" for number in range(20)],
    "registration-tokens": [f"line{number}" for number in range(20)],
}


def _is_name(value: Any) -> bool:
    """What is no name is meant to be refused, and stays."""
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


@schemathesis.serializer("application/x-ndjson")
def json_lines(context: Any, value: Any) -> Any:
    """Write what was made for JSON lines: mostly none, which the API has to say."""
    rows = b"".join(
        b'{"device": "row-%d", "labels": {"a": "b"}}\n' % next(_FRESH)
        for _ in range(_RANDOM.randrange(3))
    )
    return rows + str(value).encode("utf-8", "surrogatepass")


@schemathesis.hook
def map_body(context: Any, body: Any) -> Any:
    """Let half of what is to be made have a name that nobody has, and half of groups be there."""
    if not isinstance(body, dict):
        return body
    changed = dict(body)
    for member in ("groups", "into", "out_of"):
        names = body.get(member)
        if isinstance(names, list) and all(map(_is_name, names)) and _RANDOM.random() < 0.5:
            changed[member] = sorted({f"group{_RANDOM.randrange(20)}" for _ in names})
    for member in ("id", "name"):
        new = _is_name(body.get(member)) and context.operation.method == "post"
        if new and _RANDOM.random() < 0.5:
            changed[member] = f"new-{next(_FRESH)}-{_RANDOM.randrange(1_000_000)}"
    return changed


@schemathesis.hook
def map_path_parameters(context: Any, path_parameters: Any) -> Any:
    """Let half of what is asked for be there."""
    there = _THERE.get(context.operation.path.split("/")[1])
    names = _is_name((path_parameters or {}).get("id"))
    if there and names and _RANDOM.random() < 0.5:
        return {**path_parameters, "id": _RANDOM.choice(there)}
    return path_parameters
