# SPDX-License-Identifier: Apache-2.0
"""What a receiver's answer to a push means, and when a push is repeated (RFC 8935 section 2).

    answer                              meaning
    202                                 delivered
    400 with another SET error code     rejected: it says of this token that it is wrong
    400 with a code of the whole stream failed: repeated until somebody mends the stream
    anything else, or no answer         failed: repeated

A code such as ``invalid_audience`` says nothing of one event: every other would meet the same, and
a stream that is set up wrongly must not cost the events that came before somebody saw it.
Nothing is repeated for ever: an event ends with the tokens that it means.
"""

from __future__ import annotations

import datetime
import email.utils
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

import msgspec

__all__ = ["MAX_DELAY", "MAX_RETRY_AFTER", "Answer", "Verdict", "delay", "judged"]

MAX_DELAY: Final = 30.0
"""The highest ceiling, in seconds, of the wait after a failure."""

MAX_RETRY_AFTER: Final = 300.0
"""For so long, in seconds, a receiver may send us away at most."""

_BASE: Final = 0.5
_CODE: Final = re.compile(r"[A-Za-z0-9_]{1,64}", re.ASCII)
_OF_THE_STREAM: Final = frozenset(
    {
        *("invalid_key", "invalid_issuer", "invalid_audience"),
        *("authentication_failed", "access_denied"),
    }
)


class Verdict(Enum):
    """What became of a push."""

    DELIVERED = "delivered"
    REJECTED = "rejected"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What became of a push, why, and how long to wait at least before the next."""

    verdict: Verdict
    reason: str = ""
    retry_after: float = 0.0


def judged(status: int, *, body: bytes = b"", retry_after: str = "", now: float = 0.0) -> Answer:
    """Say what an HTTP answer means.

    Args:
        status: Its status code.
        body: Its beginning; read only of a 400.
        retry_after: The header (RFC 9110 section 10.2.3); empty: none.
        now: Unix seconds.
    """
    if status == 202:
        return Answer(verdict=Verdict.DELIVERED)
    code = _error_code(body) if status == 400 else ""
    if code and code not in _OF_THE_STREAM:
        return Answer(verdict=Verdict.REJECTED, reason=code)
    return Answer(
        verdict=Verdict.FAILED,
        reason=code or f"status_{status}",
        retry_after=_seconds(retry_after, now),
    )


def delay(attempts: int, jitter: Callable[[float], float]) -> float:
    """Return the seconds to wait after so many failures: exponential, with full jitter.

    Args:
        attempts: At least 1.
        jitter: Picks a number between zero and its argument.
    """
    return jitter(min(MAX_DELAY, _BASE * 2.0 ** min(attempts - 1, 16)))


def _error_code(body: bytes) -> str:
    """Read ``err`` (RFC 8935 section 2.4); what is no code is not shown to anybody."""
    try:
        document: Any = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ""
    code = document.get("err") if isinstance(document, dict) else None
    return code if isinstance(code, str) and _CODE.fullmatch(code) else ""


def _seconds(header: str, now: float) -> float:
    text = header.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), MAX_RETRY_AFTER)
    try:
        moment = email.utils.parsedate_to_datetime(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=datetime.UTC)
        return min(max(0.0, moment.timestamp() - now), MAX_RETRY_AFTER)
    except (ValueError, TypeError, OverflowError, IndexError):
        return 0.0
