# SPDX-License-Identifier: Apache-2.0
"""What an operation of the admin API is, and how a request becomes a call of it.

An operation is a row of a table: the description of the API is made from it, and so is the route
that parses, checks and answers; neither can say what the other does not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec
from starlette.requests import Request

from keyfob.server.admin.access import Caller
from keyfob.server.admin.problems import ProblemError
from keyfob.server.events.receiver_register import ReceiverRegister
from keyfob.server.operator_register import OperatorRegister
from keyfob.server.register import Register
from keyfob.server.registration.initial_tokens import RegistrationTokens
from keyfob.server.signing.key_register import KeyRegister

__all__ = [
    "NAME_PATTERN",
    "Call",
    "Lines",
    "Name",
    "NoQuery",
    "Operation",
    "Page",
    "read_query",
]

MAX_PAGE: Final = 1_000
NAME_PATTERN: Final = "^[A-Za-z0-9][A-Za-z0-9._~-]*$"

Name = Annotated[
    str,
    msgspec.Meta(
        pattern=NAME_PATTERN,
        min_length=1,
        max_length=128,
        description="Letters, digits and . _ ~ - with a letter or digit first.",
    ),
]
Method = Literal["get", "post", "put", "patch", "delete"]
_T = TypeVar("_T")


class NoQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """No parameter."""


class Page(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of a list, in the order of names."""

    after: Annotated[
        str,
        msgspec.Meta(max_length=128, description="Begin behind this name; empty: at the start."),
    ] = ""
    limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_PAGE, description="So many at most.")] = 100

    def read(
        self, find: Callable[[str, int], tuple[_T, ...]], name: Callable[[_T], str]
    ) -> tuple[tuple[_T, ...], str | None]:
        """Return this part of a list, and what ``after`` has to be for the next one, if there is.

        Args:
            find: Returns what follows a name, so many at most.
            name: Names one of them.
        """
        found = find(self.after, self.limit + 1)  # one more says whether there is a next part
        items = found[: self.limit]
        return items, name(items[-1]) if len(found) > len(items) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """An answer of JSON lines.

    Args:
        text: The lines.
        next: What ``after`` has to be for the next ones; None: these were the last.
    """

    text: str
    next: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request, parsed, with what it may work on; in the thread that writes.

    Args:
        caller: The service that asks; who the trail says did it.
        register: The register.
        keys: The signing keys.
        registration_tokens: Initial access tokens.
        operators: People who approve.
        receivers: Who is told of revocations.
        target: What the path names; empty where it names nothing.
        body: Of the operation's type.
        query: The same.
    """

    caller: Caller
    register: Register
    keys: KeyRegister
    registration_tokens: RegistrationTokens
    operators: OperatorRegister
    receivers: ReceiverRegister
    target: str
    body: Any
    query: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A row of the table.

    Args:
        name: For programs that are made from the description (``operationId``).
        method: Of HTTP.
        path: Below the API's; ``{id}`` is what it is about.
        summary: One sentence.
        scope: What the caller's token must have.
        work: What is done.
        body: What the request holds; None: nothing; ``bytes``: JSON lines.
        query: Its parameters.
        answer: What comes back; None: nothing, with status 204; ``Lines``: JSON lines.
        created: Whether something is new then: 201, with its ``Location`` where it has a path.
        location: Says where, from the answer; below the API's path.
        statuses: Those of problems beside the ones that every operation has.
    """

    name: str
    method: Method
    path: str
    summary: str
    scope: str
    work: Callable[[Call], Any]
    body: type[msgspec.Struct | bytes] | None = None
    query: type[msgspec.Struct] = NoQuery
    answer: Any = None
    created: bool = False
    location: Callable[[Any], str] | None = None
    statuses: tuple[int, ...] = ()

    @property
    def status(self) -> int:
        """The status of success."""
        return 201 if self.created else 204 if self.answer is None else 200


def read_query(request: Request, kind: type[_T]) -> _T:
    """Return the parameters in a request's URL.

    Raises:
        ProblemError: One is unknown, stands twice, or is not what it has to be.
    """
    pairs = request.query_params.multi_items()
    values: Mapping[str, str] = dict(pairs)
    if len(values) != len(pairs):
        raise ProblemError(422, "query_invalid", "a parameter is repeated")
    try:
        return msgspec.convert(values, kind, strict=False)
    except msgspec.ValidationError as error:
        raise ProblemError(422, "query_invalid", str(error)) from None
