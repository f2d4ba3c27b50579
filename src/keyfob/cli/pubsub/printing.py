# SPDX-License-Identifier: Apache-2.0
"""Standard output as messages are printed on it: their bytes, and each at once."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

from keyfob.cli.pubsub.message import Message
from keyfob.cli.pubsub.message_format import When

__all__ = ["Printer"]


class Printer:
    """Prints messages.

    Args:
        form: How; None is nothing at all.
        newline: Whether a line ends behind each.
        told: Is told of a message that cannot be printed so.
    """

    def __init__(
        self,
        form: Callable[[Message, When], bytes | None],
        *,
        newline: bool,
        told: Callable[[str], object],
    ) -> None:
        self._form = form
        self._end = b"\n" if newline else b""
        self._told = told
        self._out = sys.stdout.fileno()

    def __call__(self, message: Message) -> None:
        """Print one.

        Raises:
            BrokenPipeError: Nobody reads it any more.
        """
        try:
            text = self._form(message, When(time.time_ns()))
        except ValueError:
            self._told(f"the payload is no JSON, on topic {message.topic}")
            text = b""
        if text is not None:
            self._write(text + self._end)

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._out, view) :]
