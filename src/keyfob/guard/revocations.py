# SPDX-License-Identifier: Apache-2.0
"""What was revoked, and until when it matters: on the disk before it is acknowledged.

A revocation takes effect the moment it is learned, and is kept until the last token that it can
concern has expired. It is checked whenever a token is used, so the index answers in one look-up
for each *shape* of revocation (which of subject, client and token it names) that is present.
"""

from __future__ import annotations

import asyncio
import math
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from keyfob.errors import ConfigError, UpstreamError
from keyfob.guard.database import Change, Database

__all__ = ["MAX_REVOCATIONS", "FeedPosition", "Revocation", "RevocationStore"]

MAX_REVOCATIONS: Final = 1_000_000
"""About 500 MB. More tokens than this revoked within one token lifetime is not an operator's
doing; the feed that sends them is refused, and what is known holds."""

_STORE: Final = (
    "INSERT OR REPLACE INTO revocation (issuer, subject, client, token_id, issued_before, until)"
    " VALUES (?, ?, ?, ?, ?, ?)"
)
_LOAD: Final = "SELECT issuer, subject, client, token_id, issued_before, until FROM revocation"
_PURGE: Final = "DELETE FROM revocation WHERE until <= ?"
_STORE_POSITION: Final = "INSERT OR REPLACE INTO feed (issuer, cursor) VALUES (?, ?)"

# No client identifier: RFC 6749 appendix A.1 allows printable characters only.
_ANY: Final = "\x00"

_Target = tuple[str, str, str, str]
_Shape = tuple[bool, bool, bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """Tokens that are not good any more: those of an issuer that fit everything given.

    Attributes:
        issuer: The issuer identifier.
        subject: Their ``sub``; None: any.
        client_id: Their ``client_id``, the OAuth client; None: any.
        token_id: Their ``jti``; None: any.
        issued_before: The last moment of their issue (``iat``), in Unix seconds; None: any.
        until: When the last of them has expired, in Unix seconds.
        reason: Why, in a word of the issuer's. It explains, and is not compared or kept.

    Raises:
        ValueError: A name is empty or no text, a time is none, or nothing tells which tokens are
            meant.
    """

    issuer: str
    subject: str | None = None
    client_id: str | None = None
    token_id: str | None = None
    issued_before: float | None = None
    until: float
    reason: str = ""

    def __post_init__(self) -> None:
        names = (self.subject, self.client_id, self.token_id)
        if "" in (self.issuer, *names):
            raise ValueError("a revocation names with text or not at all")
        if self.issued_before is None and names == (None, None, None):
            raise ValueError("a revocation says which tokens it means")
        if not (math.isfinite(self.until) and math.isfinite(self.issued_before or 0.0)):
            raise ValueError("a revocation has times")
        for name in (self.issuer, *names):
            (name or "").encode()  # a lone surrogate, which could not be stored, is a ValueError

    def concerns(
        self,
        *,
        issuer: str,
        subject: str,
        client: str | None,
        token_id: str,
        issued_at: float | None,
    ) -> bool:
        """Tell whether a token is one of those meant; what is not known (None) counts as fitting.

        ``token_id`` and a known ``client`` are empty where the token has none.
        """
        return (
            self.issuer == issuer
            and self.subject in (None, subject)
            and (self.client_id in (None, client) or client is None)
            and self.token_id in (None, token_id)
            and (self.issued_before is None or issued_at is None or issued_at <= self.issued_before)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedPosition:
    """How far an issuer's feed has been read."""

    issuer: str
    cursor: int


class RevocationStore:
    """All revocations that still matter; used in one event loop.

    Args:
        database: The file they are kept in; None: they are not kept past the process.
        writes: Whether this process writes the file; otherwise it only reads what is there.

    Raises:
        ConfigError: The file holds damaged revocations.
    """

    def __init__(self, database: Database | None = None, *, writes: bool = True) -> None:
        self._database = database if writes else None
        self._by_target: dict[_Target, Revocation] = {}
        self._shapes: Counter[_Shape] = Counter()
        # For tokens whose client is not known: what concerns any client, under its name _ANY.
        self._of_any_client: dict[_Target, Revocation] = {}
        self._unsaved: dict[_Target, Revocation] = {}
        self._cursors: dict[str, int] = {}
        if database is not None:
            self._load(database)

    def __len__(self) -> int:
        return len(self._by_target)

    def __iter__(self) -> Iterator[Revocation]:
        return iter(tuple(self._by_target.values()))

    @property
    def unsaved(self) -> tuple[Revocation, ...]:
        """Those that took effect and are not on the disk yet."""
        return tuple(self._unsaved.values())

    @property
    def cursors(self) -> Mapping[str, int]:
        """How far each issuer's feed has been read and stored."""
        return self._cursors

    def find(
        self,
        *,
        issuer: str,
        subject: str,
        client: str | None,
        token_id: str,
        issued_at: float | None,
    ) -> Revocation | None:
        """Return a revocation that concerns a token, if there is one.

        The arguments are those of ``Revocation.concerns``.
        """
        for by_subject, by_client, by_token in self._shapes:
            target = (
                issuer,
                subject if by_subject else "",
                (_ANY if client is None else client) if by_client else "",
                token_id if by_token else "",
            )
            found = self._by_target.get(target) or self._of_any_client.get(target)
            if found is not None and (
                found.issued_before is None or issued_at is None or issued_at <= found.issued_before
            ):
                return found
        return None

    def learn(self, revocations: Sequence[Revocation]) -> tuple[Revocation, ...]:
        """Let revocations take effect at once, in memory; ``save`` makes them last.

        Of two for the same tokens the wider holds: the later time of issue, the later end.

        Returns:
            Those that say more than was known, each as it now holds.

        Raises:
            UpstreamError: With them there would be more than ``MAX_REVOCATIONS``; none is learned.
        """
        new = {_target(revocation) for revocation in revocations} - self._by_target.keys()
        if len(self._by_target) + len(new) > MAX_REVOCATIONS:
            message = f"more than {MAX_REVOCATIONS} revocations"
            raise UpstreamError(message, code="upstream_invalid")
        changed: list[Revocation] = []
        for revocation in revocations:
            target = _target(revocation)
            known = self._by_target.get(target)
            wider = revocation if known is None else _wider(known, revocation)
            if wider == known:
                continue
            self._add(target, wider)
            self._unsaved[target] = wider
            changed.append(wider)
        return tuple(changed)

    async def save(self, position: FeedPosition | None = None, also: Sequence[Change] = ()) -> None:
        """Return when everything learned so far is on the disk.

        Args:
            position: How far a feed was read to learn it, kept in the same transaction.
            also: What else is true once it is learned, written in the same transaction.

        Raises:
            sqlite3.Error: The disk refuses it. It holds nevertheless, and the next call tries
                again.
        """
        unsaved = dict(self._unsaved)
        if self._database is not None:
            changes = [_store(revocation) for revocation in unsaved.values()]
            if position is not None:
                changes.append(_store_position(position))
            changes.extend(also)
            await asyncio.wrap_future(self._database.commit(changes))
        for target, revocation in unsaved.items():
            if self._unsaved.get(target) is revocation:
                del self._unsaved[target]
        if position is not None:
            self._cursors[position.issuer] = position.cursor

    def purge(self, now: float) -> int:
        """Forget revocations whose tokens have all expired; return how many.

        Args:
            now: Unix seconds, less the time by which tokens may outlive their ``exp``.
        """
        self._of_any_client = {
            target: known for target, known in self._of_any_client.items() if known.until > now
        }
        over = [target for target, known in self._by_target.items() if known.until <= now]
        for target in over:
            del self._by_target[target]
            self._unsaved.pop(target, None)
            shape = _shape(target)
            self._shapes[shape] -= 1
            if not self._shapes[shape]:
                del self._shapes[shape]
        if over and self._database is not None:
            self._database.put("purge of revocations", partial(_execute, _PURGE, (now,)))
        return len(over)

    def _add(self, target: _Target, revocation: Revocation) -> None:
        if target not in self._by_target:
            self._shapes[_shape(target)] += 1
        self._by_target[target] = revocation
        if revocation.client_id is not None:
            widest = (*target[:2], _ANY, target[3])
            known = self._of_any_client.get(widest, revocation)
            self._of_any_client[widest] = _wider(known, revocation)

    def _load(self, database: Database) -> None:
        for row in database.rows(_LOAD):
            try:
                revocation = _revocation(row)
            except (TypeError, ValueError) as error:
                raise ConfigError("the guard's file holds a damaged revocation") from error
            self._add(_target(revocation), revocation)
        for issuer, cursor in database.rows("SELECT issuer, cursor FROM feed"):
            self._cursors[str(issuer)] = int(str(cursor))


def _target(revocation: Revocation) -> _Target:
    return (
        revocation.issuer,
        revocation.subject or "",
        revocation.client_id or "",
        revocation.token_id or "",
    )


def _shape(target: _Target) -> _Shape:
    _, subject, client, token_id = target
    return bool(subject), bool(client), bool(token_id)


def _wider(known: Revocation, other: Revocation) -> Revocation:
    """Return the revocation that concerns what either concerns, for as long as either does."""
    issued_before = None
    if known.issued_before is not None and other.issued_before is not None:
        issued_before = max(known.issued_before, other.issued_before)
    until = max(known.until, other.until)
    if (known.issued_before, known.until) == (issued_before, until):
        return known
    return replace(other, issued_before=issued_before, until=until)


def _store(revocation: Revocation) -> Change:
    row = (*_target(revocation), revocation.issued_before, revocation.until)
    return partial(_execute, _STORE, row)


def _store_position(position: FeedPosition) -> Change:
    return partial(_execute, _STORE_POSITION, (position.issuer, position.cursor))


def _execute(statement: str, row: tuple[object, ...], connection: sqlite3.Connection) -> None:
    connection.execute(statement, row)


def _revocation(row: tuple[Any, ...]) -> Revocation:
    issuer, subject, client, token_id, issued_before, until = row
    return Revocation(
        issuer=issuer,
        subject=subject or None,
        client_id=client or None,
        token_id=token_id or None,
        issued_before=issued_before,
        until=until,
    )
