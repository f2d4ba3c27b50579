# SPDX-License-Identifier: Apache-2.0
"""The signing keys from outside the server: what the command line changes while it runs.

Everything is on the disk when a method returns; a running server sees it within a second.
None of it reads a private key, so that all of it works also where no stored key can be decrypted
any more.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Literal

from keyfob.errors import ConflictError, NotFoundError
from keyfob.server.lifetimes import LONGEST_LIFE
from keyfob.server.recorded_register import RecordedRegister
from keyfob.server.signing.keys import made
from keyfob.server.signing.sealing import is_sealed
from keyfob.server.signing.settings import SigningSettings
from keyfob.server.signing.timetable import (
    Change,
    StoredKey,
    emergency,
    scheduled,
    timetable,
)
from keyfob.server.stores.place import Place
from keyfob.server.stores.store import Store, open_store

__all__ = ["KeyRegister", "ShownKey"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownKey:
    """A signing key, as the operator sees it.

    Attributes:
        kid: Its name in tokens and in the key set.
        algorithm: What it signs with.
        state: What it does now.
        created_at: When it was made, in Unix seconds.
        signs_from: From when on it signs.
        published_until: When its last token has ended; None: that is not known yet.
        encrypted: Whether its private half is encrypted at rest.
    """

    kid: str
    algorithm: str
    state: Literal["signing", "announced", "retired", "forgotten"]
    created_at: float
    signs_from: float
    published_until: float | None
    encrypted: bool


class KeyRegister(RecordedRegister):
    """The signing keys; a context manager that closes its database.

    Args:
        store: An open store, which this register closes.
        settings: How keys follow each other, and how they rest.
        clock: Unix seconds.
        actor: Who changes them, for the trail; None: the operating system's user.
    """

    def __init__(
        self,
        store: Store,
        settings: SigningSettings,
        *,
        clock: Callable[[], float] = time.time,
        actor: str | None = None,
    ) -> None:
        super().__init__(store, clock=clock, actor=actor)
        self._settings = settings

    @classmethod
    def open(
        cls, database: Place, settings: SigningSettings, *, migrate: bool = True
    ) -> KeyRegister:
        """Open the keys in a database: a file, made when missing, or one in PostgreSQL.

        Raises:
            ConfigError: It cannot be used; see ``open_store``.
            UpstreamError: The PostgreSQL server does not answer.
        """
        return cls(open_store(database, migrate=migrate), settings)

    def list_keys(self) -> tuple[ShownKey, ...]:
        """Return every key, the one that signs last first."""
        return _shown(self._store.keys.all(), self._clock())

    def rotate(self, *, at_once: bool = False) -> ShownKey:
        """Make a new key, and return it.

        Args:
            at_once: It signs now, and what was announced is withdrawn. Otherwise it is
                announced first.

        Raises:
            ConflictError: A key is announced already.
            ConfigError: Too many keys are published.
        """

        def decide(stored: tuple[StoredKey, ...], now: float) -> Change:
            if at_once or not stored:
                return emergency(stored, now)
            if announced := timetable(stored, now).announced:
                raise ConflictError(
                    f"the key {announced[-1].kid} is announced already; `keyfob key list` shows"
                    " when it signs, `keyfob key rotate --now` does not wait"
                )
            return scheduled(stored, self._settings.rotation, now)

        # Made before anybody has to wait for it: an RSA key takes its time.
        new = made(self._settings, signs_from=0, now=self._clock())
        with self._recorded("key.rotate-now" if at_once else "key.rotate", new.kid):
            self._change(decide, new)
        return next(key for key in self.list_keys() if key.kid == new.kid)

    def remove(self, kid: str) -> None:
        """Publish a key no longer, from now on: no token that it signed is good any more.

        Raises:
            NotFoundError: There is none of this name.
            ConflictError: It signs.
        """

        def decide(stored: tuple[StoredKey, ...], now: float) -> Change:
            if kid not in {key.kid for key in stored}:
                raise NotFoundError("no such signing key; `keyfob key list` shows them")
            if timetable(stored, now).signing.kid == kid:
                raise ConflictError(
                    f"the key {kid} signs; `keyfob key rotate --now` puts another in its place"
                )
            return Change(seen=frozenset(key.kid for key in stored), remove=frozenset({kid}))

        with self._recorded("key.remove", kid):
            self._change(decide)

    def _change(
        self,
        decide: Callable[[tuple[StoredKey, ...], float], Change],
        new: StoredKey | None = None,
    ) -> None:
        """Make a change while nobody else makes one."""
        with self._store.transaction():
            now = self._clock()
            change = decide(self._store.keys.all(), now)
            if new is not None and change.signs_from is not None:
                new = replace(new, signs_from=change.signs_from, created_at=now)
            self._store.keys.change(change, new)
        self._store.keys.scrub()


def _shown(stored: Iterable[StoredKey], now: float) -> tuple[ShownKey, ...]:
    keys = tuple(stored)
    if not keys:
        return ()
    table = timetable(keys, now)
    retired = {key.kid for key in table.retired}
    announced = {key.kid for key in table.announced}
    shown = []
    until: float | None = None
    for key in keys:  # the one that signs last first
        state: Literal["signing", "announced", "retired", "forgotten"] = "forgotten"
        if key.kid == table.signing.kid:
            state = "signing"
        elif key.kid in announced:
            state = "announced"
        elif key.kid in retired:
            state = "retired"
        shown.append(
            ShownKey(
                kid=key.kid,
                algorithm=key.algorithm,
                state=state,
                created_at=key.created_at,
                signs_from=key.signs_from,
                published_until=until,
                encrypted=is_sealed(key.private_key),
            )
        )
        until = key.signs_from + LONGEST_LIFE
    return tuple(shown)
