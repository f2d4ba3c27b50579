# SPDX-License-Identifier: Apache-2.0
"""What a token source asked over HTTP, told to whoever counts it: no secret is in it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from keyfob.device.flow import Answer, Exchange
from keyfob.device.token_answers import error_of, retry_after_of
from keyfob.errors import TokenUnavailableError

__all__ = ["Asked", "Watch", "tell"]

_log = logging.getLogger("keyfob.device")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One exchange with an authorization server.

    Attributes:
        url: Who was asked.
        posted: Whether something was asked for, a token most often; else metadata were read.
        began: When, in seconds of ``time.monotonic``.
        seconds: How long it took until the whole answer was there, or until it failed.
        status: The HTTP status; 0: there was no answer.
        error: Why it brought nothing: the server's ``error`` (RFC 6749 section 5.2), or a code of
            ``keyfob.errors`` where there was no answer; empty: it has none of these.
        retry_after: The seconds after which the server wants to be asked again, if it said so.
    """

    url: str
    posted: bool
    began: float
    seconds: float
    status: int
    error: str = ""
    retry_after: float | None = None


Watch = Callable[[Asked], object]
"""Is told of each exchange, in the thread that made it."""


def tell(
    watch: Watch,
    exchange: Exchange,
    outcome: Answer | TokenUnavailableError,
    *,
    began: float,
    seconds: float,
) -> None:
    """Tell of an exchange; a watch that fails keeps no token from anybody.

    Args:
        watch: Whom.
        exchange: What was asked.
        outcome: What came back, or why nothing did.
        began: When it began, in seconds of ``time.monotonic``.
        seconds: How long it took.
    """
    if isinstance(outcome, Answer):
        status, retry_after = outcome.status, retry_after_of(outcome)
        error = "" if status == 200 else error_of(outcome)
    else:
        status, retry_after, error = 0, None, outcome.code
    asked = Asked(
        url=exchange.url,
        posted=exchange.form is not None,
        began=began,
        seconds=seconds,
        status=status,
        error=error,
        retry_after=retry_after,
    )
    try:
        watch(asked)
    except Exception as error:  # noqa: BLE001 - somebody else's
        _log.error("who was told of a request failed: %s", type(error).__name__)
