# SPDX-License-Identifier: Apache-2.0
"""The lead of several workers: hears of revocations once, and makes sure that all of them did.

Theory of operation. A client belongs to one worker, whatever it does, so workers need not know of
each other. What concerns them all comes to the lead, which alone follows the issuers' feeds and
writes the revocations of the guard's file. A revocation is acknowledged when it is on the disk and
in every worker that was there. A worker that comes joins first, so that it misses nothing from then
on, and reads the file then.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

from keyfob.errors import ProtocolError
from keyfob.guard.database import Change
from keyfob.guard.lead_messages import (
    Answered,
    Ask,
    Joined,
    Learn,
    Message,
    Ready,
    read,
    write,
)
from keyfob.guard.revocations import FeedPosition, Revocation, RevocationStore

__all__ = ["ANSWER_TIMEOUT", "Lead"]

ANSWER_TIMEOUT: Final = 5.0
"""Seconds after which a worker that does not answer counts as stuck."""

_log = logging.getLogger("keyfob.guard")


class Lead:
    """Passes on to the workers what concerns them all.

    Args:
        revocations: What was revoked; this process writes the file.
        stuck: Told the number of a worker that does not answer: it is to be ended.
        timeout: Seconds that an answer may take.
    """

    def __init__(
        self,
        revocations: RevocationStore,
        *,
        stuck: Callable[[int], None],
        timeout: float = ANSWER_TIMEOUT,
    ) -> None:
        self._revocations = revocations
        self._stuck = stuck
        self._timeout = timeout
        self._links: set[_WorkerLink] = set()
        self._ready = False

    @property
    def workers(self) -> tuple[int, ...]:
        """The numbers of the workers that are there."""
        return tuple(sorted(link.worker for link in self._links))

    def become_ready(self) -> None:
        """Let the workers know that what was revoked until now has been read."""
        self._ready = True
        for link in self._links:
            link.send(Ready())

    async def revoke(
        self,
        *revocations: Revocation,
        position: FeedPosition | None = None,
        also: Sequence[Change] = (),
    ) -> Sequence[object]:
        """Revoke tokens, in every worker and on the disk.

        Args:
            revocations: What to revoke; it may be nothing.
            position: How far a feed was read to know it, kept in the same transaction.
            also: Written in the same transaction.

        Returns:
            Nothing: the sessions are the workers'.

        Raises:
            sqlite3.Error: The disk refuses it. It holds until the guard ends.
            UpstreamError: They are too many.
        """
        learned = self._revocations.learn(revocations)
        # Also where all of it is known: a worker may still be about to learn what came before.
        answers = {link: link.learn(learned) for link in self._links} if revocations else {}
        await self._revocations.save(position, also)
        # Who still reads its files serves no client, and learns this before it does.
        answers = {link: answer for link, answer in answers.items() if link.listens}
        if answers:
            await asyncio.wait(answers.values(), timeout=self._timeout)
        for link, answer in answers.items():
            if not answer.done():
                self._give_up(link)
        return ()

    async def learn(self, revocations: Sequence[Revocation], position: FeedPosition) -> None:
        """Take a page of an issuer's feed."""
        await self.revoke(*revocations, position=position)

    async def ask(self, what: str, *, timeout: float = ANSWER_TIMEOUT) -> dict[int, bytes]:  # noqa: ASYNC109 - late answers are left out
        """Ask every worker something.

        Args:
            what: The question's name.
            timeout: Seconds that answers may take.

        Returns:
            What each worker that answered in time said, as MessagePack.
        """
        questions = {link.worker: link.ask(what) for link in self._links}
        if questions:
            await asyncio.wait(questions.values(), timeout=timeout)
        return {
            worker: answer
            for worker, question in questions.items()
            if question.done() and (answer := question.result()) is not None
        }

    def close(self) -> None:
        """Let the workers go: without a lead they end."""
        for link in self._links:
            link.close()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one worker until it goes."""
        try:
            link = _WorkerLink(await self._who(reader), writer)
            self._links.add(link)
            try:
                # What is not on the disk yet: the rest the worker reads there, now.
                link.send(Learn(0, self._revocations.unsaved))
                if self._ready:
                    link.send(Ready())
                while (message := await read(reader)) is not None:
                    link.take(message)
            finally:
                self._links.discard(link)
                link.gone()
        except (ProtocolError, TimeoutError) as error:
            _log.warning("the link of a worker ended: %s", error)
        finally:
            writer.close()

    async def _who(self, reader: asyncio.StreamReader) -> int:
        joined = await asyncio.wait_for(read(reader), self._timeout)
        if not isinstance(joined, Joined):
            raise ProtocolError("a worker says who it is first")
        return joined.worker

    def _give_up(self, link: _WorkerLink) -> None:
        if link in self._links:
            _log.error("worker %d does not answer", link.worker)
            self._links.discard(link)
            link.close()  # should it come to itself, it finds itself alone and ends
            self._stuck(link.worker)


class _WorkerLink:
    """The lead's end of a link to one worker."""

    def __init__(self, worker: int, writer: asyncio.StreamWriter) -> None:
        self.worker = worker
        self.listens = False
        self._writer = writer
        self._number = 0
        self._waiting: dict[int, asyncio.Future[bytes | None]] = {}

    def send(self, message: Message) -> None:
        write(self._writer, message)

    def close(self) -> None:
        self._writer.close()

    def learn(self, revocations: tuple[Revocation, ...]) -> asyncio.Future[bytes | None]:
        return self._answer(Learn(self._next(), revocations))

    def ask(self, what: str) -> asyncio.Future[bytes | None]:
        return self._answer(Ask(self._next(), what))

    def _next(self) -> int:
        self._number += 1
        return self._number

    def take(self, message: Message) -> None:
        if not isinstance(message, Answered):
            raise ProtocolError(f"{type(message).__name__} from a worker")
        self.listens = True
        waiting = self._waiting.pop(message.number, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(bytes(message.value))

    def gone(self) -> None:
        """The worker is not there any more: the next one reads the file."""
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_result(None)
        self._waiting.clear()

    def _answer(self, message: Learn | Ask) -> asyncio.Future[bytes | None]:
        waiting: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        self._waiting[message.number] = waiting
        self.send(message)
        return waiting
