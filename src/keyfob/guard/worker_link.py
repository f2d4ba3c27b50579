# SPDX-License-Identifier: Apache-2.0
"""A worker's end of the link to its lead: what is revoked comes here, questions are answered.

Without its lead a worker hears of no revocation, so it must not go on: ``run`` returns, and the
process is to end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

import msgspec

from keyfob.errors import ProtocolError, UpstreamError
from keyfob.guard.lead_messages import Answered, Ask, Joined, Learn, Ready, read, write
from keyfob.guard.revocations import Revocation

__all__ = ["WorkerLink"]


class WorkerLink:
    """Open it with ``join`` before the guard's file is read: then nothing is missed."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        first: Sequence[Revocation],
    ) -> None:
        self.ready = asyncio.Event()
        self.first = tuple(first)
        self._reader = reader
        self._writer = writer

    @classmethod
    async def join(cls, path: Path, worker: int) -> Self:
        """Connect to the lead.

        Args:
            path: The lead's socket.
            worker: Which worker this is.

        Raises:
            UpstreamError: The lead is not there.
            ProtocolError: Whoever is there is no lead.
        """
        try:
            reader, writer = await asyncio.open_unix_connection(path)
        except OSError as error:
            raise UpstreamError(f"no lead of this guard at {path}: {error.strerror}") from error
        write(writer, Joined(worker))
        first = await read(reader)
        if not isinstance(first, Learn):
            writer.close()
            raise ProtocolError("whoever answers is no lead of this guard")
        return cls(reader, writer, first.revocations)

    async def run(
        self,
        learn: Callable[..., Awaitable[object]],
        answers: Mapping[str, Callable[[], Awaitable[object]]],
    ) -> None:
        """Do what the lead says until it is gone.

        Args:
            learn: Takes revocations; returns when they have taken effect.
            answers: What answers each question, by name.

        Raises:
            ProtocolError: It is no lead of this version.
        """
        write(self._writer, Answered(0))  # what came first has taken effect
        async with asyncio.TaskGroup() as questions:
            try:
                while (message := await read(self._reader)) is not None:
                    if isinstance(message, Learn):
                        await learn(*message.revocations)
                        write(self._writer, Answered(message.number))
                    elif isinstance(message, Ask) and message.what in answers:
                        # Apart: an answer that takes its time must not hold a revocation up.
                        questions.create_task(self._answer(message.number, answers[message.what]))
                    elif isinstance(message, Ready):
                        self.ready.set()
                    else:
                        raise ProtocolError(f"{type(message).__name__} from the lead")
            finally:
                self._writer.close()

    async def _answer(self, number: int, answer: Callable[[], Awaitable[object]]) -> None:
        encoded = msgspec.msgpack.encode(await answer())
        write(self._writer, Answered(number, msgspec.Raw(encoded)))
