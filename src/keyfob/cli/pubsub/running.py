# SPDX-License-Identifier: Apache-2.0
"""Around the work of ``keyfob pub`` and ``keyfob sub``: the first token, and the last word."""

from __future__ import annotations

import contextlib
import io
import logging
import sys
from collections.abc import Iterator

import typer

from keyfob.cli.failures import report
from keyfob.cli.logs import log_to_stderr
from keyfob.cli.output import Exit
from keyfob.cli.token_asking import no_word_of_a_next_try
from keyfob.device.tokens import Tokens
from keyfob.errors import KeyfobError, TokenRequestError

__all__ = ["running"]


@contextlib.contextmanager
def running(source: Tokens, *, quiet: bool) -> Iterator[None]:
    """Get the first token, and say how it ended.

    Args:
        source: Where tokens come from.
        quiet: Whether to tell no errors; the exit code does.

    Raises:
        typer.Exit: The server gives no token, or there was an error and nobody wants to hear it.
        KeyfobError: There was an error.
    """
    log_to_stderr()
    log = logging.getLogger("keyfob")
    log.setLevel(logging.CRITICAL if quiet else logging.WARNING)
    try:
        with no_word_of_a_next_try():
            source.get()
        yield
    except TokenRequestError as error:
        if not quiet:
            sys.stderr.write(f"keyfob: {error.message} ({error.error})\n")
        raise typer.Exit(int(Exit.REFUSED)) from None
    except (KeyfobError, OSError) as error:
        if quiet:
            with contextlib.redirect_stderr(io.StringIO()):
                raise typer.Exit(report(error, as_json=False)) from None
        raise
    finally:
        log.setLevel(logging.NOTSET)
