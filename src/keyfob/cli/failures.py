# SPDX-License-Identifier: Apache-2.0
"""How a command that failed says so: one line, or one JSON document; never a traceback or a secret.

A traceback helps nobody who types commands, and its last line may quote a token. Whoever looks
for a fault in Keyfob itself sets KEYFOB_TRACEBACK and keeps the output to himself.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
import sys
import traceback
from collections.abc import Iterator
from typing import Final

import typer

from keyfob.cli.output import Exit, print_line
from keyfob.errors import BrokerRefusalError, KeyfobError, TokenError

__all__ = ["INTERRUPTED", "report", "without_secrets"]

INTERRUPTED: Final = 130
"""What shells say of a command that Ctrl-C ended."""

# People put tokens and secrets in the wrong place, and a usage error quotes what it does not know.
_SECRETS: Final = re.compile(r"(eyJ|kf[a-z]_)[A-Za-z0-9._~+/=-]*")


def report(error: BaseException, *, as_json: bool) -> int:
    """Tell what went wrong and return the exit code.

    Args:
        error: What ended the command. Of a group, the first error of ours speaks for all.
        as_json: Tell it as one JSON document on standard output.
    """
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        return INTERRUPTED
    if os.environ.get("KEYFOB_TRACEBACK"):
        traceback.print_exception(error)
    error = _spokesman(error)
    if type(error).__name__ == "NoArgsIsHelpError" and not as_json:
        sys.stderr.write(f"{error}\n")  # the help itself
        return int(Exit.MISUSE)
    code, message, status = _told(error)
    message = without_secrets(message)
    if as_json:
        print_line(json.dumps({"error": code, "message": message}, ensure_ascii=False))
    else:
        sys.stderr.write(f"keyfob: {message} ({code})\n")
    return int(status)


def without_secrets(text: str) -> str:
    """Return text without the tokens and secrets that stand in it."""
    return _SECRETS.sub(r"\1…", text)


def _spokesman(error: BaseException) -> BaseException:
    leaves = list(_leaves(error))
    return next((leaf for leaf in leaves if isinstance(leaf, KeyfobError)), leaves[0])


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _told(error: BaseException) -> tuple[str, str, int]:
    """Return the code, the message and the exit code of an error."""
    if isinstance(error, BrokerRefusalError):  # as mosquitto_pub and mosquitto_sub end
        return error.code, error.message, error.reason_code
    if isinstance(error, KeyfobError):
        refused = isinstance(error, TokenError)
        return error.code, error.message, Exit.REFUSED if refused else Exit.MISUSE
    if (usage := _usage(error)) is not None:
        return "usage", usage, Exit.MISUSE
    if isinstance(error, OSError) and error.strerror:
        place = f"{error.filename}: " if error.filename else ""
        return "system_error", f"{place}{error.strerror}", Exit.MISUSE
    if isinstance(error, sqlite3.Error):
        return "system_error", f"the database: {error}", Exit.MISUSE
    where = traceback.extract_tb(error.__traceback__)[-1:]
    place = f" in {where[0].name}, line {where[0].lineno}" if where else ""
    hint = "this is a fault of Keyfob; KEYFOB_TRACEBACK=1 shows more, secrets perhaps among it"
    return "internal_error", f"{type(error).__name__}{place}: {hint}", Exit.MISUSE


def _usage(error: BaseException) -> str | None:
    """Return what a command line lacks, where that is the error.

    Typer brought its own Click at some time, so its errors are known by their methods here.
    """
    tell = getattr(error, "format_message", None)
    if tell is None:
        return None
    message = str(tell()).strip().partition("\n")[0].rstrip(".")
    context = getattr(error, "ctx", None)
    command = getattr(context, "command_path", "keyfob")
    return f"{message[:1].lower()}{message[1:]}; `{command} --help` tells more"
