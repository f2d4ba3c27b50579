# SPDX-License-Identifier: Apache-2.0
"""Leads schemathesis beyond the first 404: names that are there, and names that are free.

Loaded by schemathesis itself (``SCHEMATHESIS_HOOKS``), never imported by a test.
"""

from __future__ import annotations

import itertools
import random
from typing import Any

import schemathesis

_FRESH = itertools.count()
_RANDOM = random.Random(7)
# Those that ``test_schemathesis`` has registered before.
_THERE = {
    "devices": [f"dev{number}" for number in range(20)],
    "applications": [f"app{number}" for number in range(20)],
    "services": [f"svc{number}" for number in range(20)],
    "registration-tokens": [f"line{number}" for number in range(20)],
}


@schemathesis.hook
def map_body(context: Any, body: Any) -> Any:
    """Let half of what is to be made have a name that nobody has."""
    if isinstance(body, dict) and _RANDOM.random() < 0.5:
        for member in ("id", "name"):
            if isinstance(body.get(member), str) and context.operation.method == "post":
                return {**body, member: f"new-{next(_FRESH)}-{_RANDOM.randrange(1_000_000)}"}
    return body


@schemathesis.hook
def map_path_parameters(context: Any, path_parameters: Any) -> Any:
    """Let half of what is asked for be there."""
    there = _THERE.get(context.operation.path.split("/")[1])
    if there and path_parameters and _RANDOM.random() < 0.5:
        return {**path_parameters, "id": _RANDOM.choice(there)}
    return path_parameters
