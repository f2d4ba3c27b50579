# SPDX-License-Identifier: Apache-2.0
"""The receivers of security events, and what each of them has still to be told.

A row of ``revocation`` is an event, committed with what it tells of; cursors come in the order of
the commits. A *turn* of the process that delivers is one transaction: it takes the receiver's lease
or goes on with it, writes down what became of the last pushes, and takes up what was revoked
since. What is taken up and not acknowledged is a row of ``event_delivery`` until it is: it goes on
after a crash, and an event that is held back holds back none of another device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from keyfob.errors import ConflictError, NotFoundError
from keyfob.server.events.answer import MAX_RETRY_AFTER, Verdict
from keyfob.server.events.receiver import PendingEvent, Receiver, ReceiverStatus
from keyfob.server.names import shown_name
from keyfob.server.stores.store import Store

__all__ = ["PURGED_AT_ONCE", "ReceiverTable", "Settled", "Turn", "TurnTaken"]

# At a time; a bulk of a million revocations is no single transaction.
_TAKEN_UP_AT_ONCE: Final = 10_000

PURGED_AT_ONCE: Final = 10_000
"""So many events are given up in one turn at most: while it lasts nobody else writes."""

_LEASE: Final = """
UPDATE receiver SET lease_owner = :owner, lease_until = :until
WHERE name = :name AND created_at = :created_at
  AND (lease_owner = :owner OR lease_owner = '' OR lease_until <= :now
       OR lease_until = :dead)
"""
# `+ 0`: the range of cursors is the way in, never the index of `until`.
_TAKE_UP: Final = """
INSERT INTO event_delivery (receiver, event, subject, taken_at)
SELECT :name, cursor, subject, :now FROM revocation
WHERE cursor > :after AND cursor <= :last AND until + 0 > :now
ON CONFLICT (receiver, event) DO NOTHING
"""
# The first of each device that is due: what comes after it waits for it.
_HEADS: Final = """
SELECT d.event, d.subject, r.issued_before, r.until, r.reason, r.token_id, d.attempts
FROM event_delivery d JOIN revocation r ON r.cursor = d.event
WHERE d.receiver = :name AND (d.not_before <= :now OR d.not_before > :latest) AND r.until > :now
  AND NOT EXISTS (SELECT 1 FROM event_delivery earlier
                  WHERE earlier.receiver = d.receiver AND earlier.subject = d.subject
                  AND earlier.event < d.event)
ORDER BY d.event LIMIT :limit
"""
_NEXT_DUE: Final = """
SELECT min(CASE WHEN d.not_before > :latest THEN 0 ELSE d.not_before END)
FROM event_delivery d JOIN revocation r ON r.cursor = d.event
WHERE d.receiver = :name AND r.until > :now
  AND NOT EXISTS (SELECT 1 FROM event_delivery earlier
                  WHERE earlier.receiver = d.receiver AND earlier.subject = d.subject
                  AND earlier.event < d.event)
"""
_OVER: Final = """
SELECT d.event FROM event_delivery d LEFT JOIN revocation r ON r.cursor = d.event
WHERE d.receiver = ? AND (r.cursor IS NULL OR r.until <= ?) LIMIT ?
"""
_DONE: Final = "DELETE FROM event_delivery WHERE receiver = ? AND event = ?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What became of a push.

    Attributes:
        number: The event's.
        verdict: What the receiver made of it.
        reason: Why it was not delivered.
        not_before: When it may be tried again, in Unix seconds.
    """

    number: int
    verdict: Verdict
    reason: str = ""
    not_before: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One turn of a process that wants to deliver to a receiver.

    Attributes:
        receiver: To whom.
        owner: Which process, in a text that no other has.
        now: Unix seconds.
        lease: For so many seconds nobody else delivers.
        settled: What became of the pushes since the last turn.
        afresh: Whether what waits for its next attempt is to be tried now.
        purge: Whether to give up what has stopped to matter; not all at once.
        dead: The end of another process's lease that was not renewed for as long as a lease lasts:
            whatever the clocks say, it is over. None is at -1.
    """

    receiver: Receiver
    owner: str
    now: float
    lease: float
    settled: Sequence[Settled] = ()
    afresh: bool = False
    purge: bool = False
    dead: float = -1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnTaken:
    """Whether the lease is ours, if not until when another's is; how many events were given up."""

    ours: bool
    held_until: float = 0.0
    expired: int = 0


class ReceiverTable:
    """The tables on one connection; whatever changes them is called in a transaction.

    Args:
        store: The register.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._connection = store.connection

    def all(self) -> tuple[Receiver, ...]:
        """Return every receiver, by name."""
        rows = self._connection.execute(
            "SELECT name, url, audience, credential, ca, created_at FROM receiver ORDER BY name"
        )
        return tuple(_receiver(row) for row in rows.fetchall())

    def add(self, receiver: Receiver) -> None:
        """Add a receiver; it is told of what is revoked from now on.

        Raises:
            ConflictError: There is one of this name.
        """
        added = self._connection.execute(
            "INSERT INTO receiver (name, url, audience, credential, ca, created_at, taken_up)"
            " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO NOTHING",
            (
                receiver.name,
                receiver.url,
                receiver.audience,
                receiver.credential,
                receiver.ca,
                receiver.created_at,
                self._store.last_cursor(),
            ),
        )
        if not added.rowcount:
            raise ConflictError(f"there is a receiver {receiver.name!r} already")

    def remove(self, name: str) -> None:
        """Forget a receiver, and what it was not told.

        Raises:
            NotFoundError: There is none of this name.
        """
        gone = self._connection.execute("DELETE FROM receiver WHERE name = ?", (name,))
        if not gone.rowcount:
            raise NotFoundError(
                f"no receiver {shown_name(name)!r}; `keyfob receiver list` shows them"
            )
        self._connection.execute("DELETE FROM event_delivery WHERE receiver = ?", (name,))

    def reseal(self, name: str, *, before: bytes, after: bytes) -> None:
        """Replace how a credential is written down, where it is still written as before."""
        self._connection.execute(
            "UPDATE receiver SET credential = ? WHERE name = ? AND credential = ?",
            (after, name, before),
        )

    def status(self, name: str, *, now: float) -> ReceiverStatus | None:
        """Return how the deliveries to a receiver go; None: there is none of this name."""
        row = self._connection.execute(
            "SELECT delivered, rejected, expired, failures, last_delivered_at, last_error,"
            " last_error_at, taken_up FROM receiver WHERE name = ?",
            (name,),
        ).fetchone()
        if row is None:
            return None
        (waiting,) = self._connection.execute(
            "SELECT count(*) FROM event_delivery WHERE receiver = ?", (name,)
        ).fetchone()
        head = self._connection.execute(
            "SELECT taken_at FROM event_delivery WHERE receiver = ? ORDER BY event LIMIT 1", (name,)
        ).fetchone()
        ahead, first = self._connection.execute(
            "SELECT count(*), min(issued_before) FROM revocation"
            " WHERE cursor > ? AND until + 0 > ?",
            (row[7], now),
        ).fetchone()
        return ReceiverStatus(
            pending=int(waiting) + int(ahead),
            oldest_at=first if head is None else head[0],
            delivered=row[0],
            rejected=row[1],
            expired=row[2],
            failures=row[3],
            last_delivered_at=row[4],
            last_error=row[5],
            last_error_at=row[6],
        )

    def has_new(self, name: str) -> bool:
        """Say whether something was revoked that is not taken up yet; cheap."""
        found = self._connection.execute(
            "SELECT count(*) FROM receiver WHERE name = ?"
            " AND taken_up < (SELECT max(cursor) FROM revocation)",
            (name,),
        ).fetchone()
        return bool(found[0])

    def next_due(self, name: str, *, now: float) -> float | None:
        """Return when the first event of any device may be tried again; None: there is none."""
        row = self._connection.execute(_NEXT_DUE, _at(name, now)).fetchone()
        return None if row[0] is None else float(row[0])

    def heads(self, name: str, *, now: float, limit: int) -> tuple[PendingEvent, ...]:
        """Return the first event of each device that may be tried now, oldest first."""
        rows = self._connection.execute(_HEADS, {**_at(name, now), "limit": limit})
        return tuple(_event(row) for row in rows.fetchall())

    def turn(self, turn: Turn) -> TurnTaken:
        """Take one turn; see the top of this file."""
        name = turn.receiver.name
        # Also where somebody else delivers by now: what was acknowledged was.
        self._settle(name, turn)
        ours = self._connection.execute(
            _LEASE,
            {
                "name": name,
                "created_at": turn.receiver.created_at,
                "owner": turn.owner,
                "now": turn.now,
                "until": turn.now + turn.lease,
                "dead": turn.dead,
            },
        ).rowcount
        if not ours:
            return TurnTaken(ours=False, held_until=self._held_until(name))
        if turn.afresh:
            self._connection.execute(
                "UPDATE event_delivery SET not_before = 0 WHERE receiver = ? AND not_before > 0",
                (name,),
            )
        self._take_up(name, turn.now)
        return TurnTaken(ours=True, expired=self._purge(name, turn.now) if turn.purge else 0)

    def release(self, name: str, owner: str) -> None:
        """Let another process deliver at once."""
        self._connection.execute(
            "UPDATE receiver SET lease_owner = '', lease_until = 0"
            " WHERE name = ? AND lease_owner = ?",
            (name, owner),
        )

    def _held_until(self, name: str) -> float:
        row = self._connection.execute(
            "SELECT lease_until FROM receiver WHERE name = ?", (name,)
        ).fetchone()
        return 0.0 if row is None else float(row[0])

    def _settle(self, name: str, turn: Turn) -> None:
        counts = dict.fromkeys(Verdict, 0)
        error = ""
        for each in turn.settled:
            if each.verdict is Verdict.FAILED:
                changed = self._connection.execute(
                    "UPDATE event_delivery SET attempts = attempts + 1, not_before = ?"
                    " WHERE receiver = ? AND event = ?",
                    (each.not_before, name, each.number),
                )
            else:
                changed = self._connection.execute(_DONE, (name, each.number))
            if changed.rowcount:  # another process may have been told so before us
                counts[each.verdict] += 1
                error = each.reason or error
        if counts[Verdict.DELIVERED] or counts[Verdict.REJECTED] or counts[Verdict.FAILED]:
            self._connection.execute(
                "UPDATE receiver SET delivered = delivered + ?, rejected = rejected + ?,"
                " failures = failures + ? WHERE name = ?",
                (
                    counts[Verdict.DELIVERED],
                    counts[Verdict.REJECTED],
                    counts[Verdict.FAILED],
                    name,
                ),
            )
        if counts[Verdict.DELIVERED]:
            self._connection.execute(
                "UPDATE receiver SET last_delivered_at = ? WHERE name = ?", (turn.now, name)
            )
        if error:
            self._connection.execute(
                "UPDATE receiver SET last_error = ?, last_error_at = ? WHERE name = ?",
                (error, turn.now, name),
            )

    def _take_up(self, name: str, now: float) -> None:
        (after,) = self._connection.execute(
            "SELECT taken_up FROM receiver WHERE name = ?", (name,)
        ).fetchone()
        (last,) = self._connection.execute(
            "SELECT max(cursor) FROM (SELECT cursor FROM revocation WHERE cursor > ?"
            " ORDER BY cursor LIMIT ?) AS following",
            (after, _TAKEN_UP_AT_ONCE),
        ).fetchone()
        if last is None:
            return
        self._connection.execute(_TAKE_UP, {"name": name, "after": after, "last": last, "now": now})
        self._connection.execute("UPDATE receiver SET taken_up = ? WHERE name = ?", (last, name))

    def _purge(self, name: str, now: float) -> int:
        over = self._connection.execute(_OVER, (name, now, PURGED_AT_ONCE)).fetchall()
        if over:
            self._connection.executemany(_DONE, [(name, row[0]) for row in over])
            self._connection.execute(
                "UPDATE receiver SET expired = expired + ? WHERE name = ?", (len(over), name)
            )
        return len(over)


def _at(name: str, now: float) -> dict[str, object]:
    # Nobody is made to wait for longer: what is due later was written by a clock that was ahead.
    return {"name": name, "now": now, "latest": now + MAX_RETRY_AFTER}


def _receiver(row: tuple[Any, ...]) -> Receiver:
    return Receiver(
        name=row[0],
        url=row[1],
        audience=row[2],
        credential=None if row[3] is None else bytes(row[3]),
        ca=row[4],
        created_at=row[5],
    )


def _event(row: tuple[Any, ...]) -> PendingEvent:
    return PendingEvent(
        number=row[0],
        subject=row[1],
        issued_before=row[2],
        until=row[3],
        reason=row[4],
        token_id=row[5],
        attempts=row[6],
    )
