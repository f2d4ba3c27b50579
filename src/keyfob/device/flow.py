# SPDX-License-Identifier: Apache-2.0
"""A flow: what is to be done over HTTP, without doing it.

A generator yields the exchanges and pauses that it wants and is sent the answers, so one body
serves a program with threads and one with an event loop (``driving``). What goes wrong on the way
is thrown into it as ``TokenUnavailableError``.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

__all__ = ["Answer", "Exchange", "Flow", "Pause", "Step"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One request.

    Attributes:
        url: Where to.
        form: The parameters to post; None: the document is only read.
        headers: More header fields.
    """

    url: str
    form: Mapping[str, str] | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back, whatever its status.

    Attributes:
        status: The HTTP status.
        headers: The header fields, by their names in lower case.
        body: The body.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Pause:
    """Some seconds in which nothing is to be done."""

    seconds: float


Step = Exchange | Pause

Flow = Generator[Step, Answer | None, T]
"""Yields steps, is sent the answers to its exchanges, returns a result."""
