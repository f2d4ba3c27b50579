# SPDX-License-Identifier: Apache-2.0
"""The running server's keys: which one signs now, and which are published.

A request asks the memory only. A look at the database once a second sees what other processes and
the command line changed, makes the rotation that the schedule asks for, and forgets keys of
which no token is left. The change from one key to the next needs no look: its moment is known.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Final, Protocol

from keyfob.errors import ConfigError, KeyfobError
from keyfob.server.oauth_errors import OAuthError
from keyfob.server.signing.events import KeyAudit, KeyEvent, differences, ignore_keys
from keyfob.server.signing.keys import loaded, made
from keyfob.server.signing.settings import SigningSettings
from keyfob.server.signing.timetable import (
    Change,
    StoredKey,
    outdated,
    planned,
    signing_key,
    timetable,
)
from keyfob.tokens.keys import KeySet
from keyfob.tokens.sign import SigningKey

__all__ = ["KeyStore", "Keyring"]

_SECONDS: Final = 1.0


class KeyStore(Protocol):
    """What the key ring needs of the database."""

    async def signing_keys(self) -> tuple[StoredKey, ...]:
        """Return every key."""

    async def change_signing_keys(self, change: Change, new: StoredKey | None) -> bool:
        """Make one change, or nothing where somebody else was faster; say which."""


class Keyring:
    """Signing keys that follow each other.

    Args:
        store: Where they are kept; several processes share it.
        settings: How they follow each other, and how they are encrypted.
        stored: The keys as they are now; at least one.
        keys: The same, ready to sign, by name.
        clock: Unix seconds.
        audit: Is told of every change.
    """

    def __init__(
        self,
        store: KeyStore,
        settings: SigningSettings,
        stored: Sequence[StoredKey],
        keys: Mapping[str, SigningKey],
        *,
        clock: Callable[[], float],
        audit: KeyAudit = ignore_keys,
    ) -> None:
        self._store = store
        self._settings = settings
        self._stored = tuple(stored)
        self._keys = dict(keys)
        self._public = {kid: key.public_jwk() for kid, key in keys.items()}
        self._verified_with: tuple[list[dict[str, str]], KeySet] = (
            [],
            KeySet.from_jwks({"keys": []}),
        )
        self._unreadable: set[str] = set()
        self._clock = clock
        self._audit = audit
        self._looking = asyncio.Lock()
        self._seen = timetable(stored, clock())

    def signing_key(self, now: float) -> SigningKey:
        """Return the key that signs at a moment.

        Raises:
            OAuthError: This process cannot read it. It does not sign with another: that one's
                place in the key set would end before its tokens do.
        """
        key = self._keys.get(signing_key(self._stored, now).kid)
        if key is None:
            raise OAuthError(
                "temporarily_unavailable", "try again later", reason="signing_key_unreadable"
            )
        return key

    def can_sign(self, now: float) -> bool:
        """Say whether this process can read the key that signs at a moment."""
        return signing_key(self._stored, now).kid in self._keys

    def public_keys(self, now: float) -> list[dict[str, str]]:
        """Return the public keys that are published at a moment, the signing one first."""
        published = timetable(self._stored, now).published
        return [self._public[key.kid] for key in published if key.kid in self._public]

    def key_set(self, now: float) -> KeySet:
        """Return the same, ready to verify with; parsed again only where they are others."""
        keys = self.public_keys(now)
        if keys != self._verified_with[0]:
            self._verified_with = (keys, KeySet.from_jwks({"keys": keys}))
        return self._verified_with[1]

    def is_unreadable(self, kid: str | None) -> bool:
        """Say whether there is a key of this name that this process cannot decrypt."""
        return kid in self._unreadable

    async def refresh(self) -> None:
        """Look at the database, and make the changes that are due."""
        async with self._looking:  # one look after the other: none takes an older one's place
            await self._look(self._clock())

    async def _look(self, now: float) -> None:
        stored = await self._store.signing_keys()
        change = planned(stored, self._settings.rotation, now) or outdated(stored, now)
        if change is not None:
            new = None
            if change.signs_from is not None:
                new = await asyncio.to_thread(
                    made, self._settings, signs_from=change.signs_from, now=now
                )
            await self._store.change_signing_keys(change, new)
            stored = await self._store.signing_keys()
        await self._take(stored, now)

    async def run(self) -> None:
        """Refresh at intervals until cancelled; where the database fails, the keys stay."""
        while True:
            await asyncio.sleep(_SECONDS)
            try:
                await self.refresh()
            except (KeyfobError, sqlite3.Error):
                continue

    async def _take(self, stored: tuple[StoredKey, ...], now: float) -> None:
        """Go by these keys from now on."""
        if not stored:
            return  # somebody emptied the table: what is known stays
        for each in stored:
            if each.kid not in self._keys and each.kid not in self._unreadable:
                await self._load(each, now)
        # First what the time did to the keys that were known, then what somebody did.
        looks = (self._seen, timetable(self._stored, now), timetable(stored, now))
        self._stored, self._seen = stored, looks[-1]
        kept = {each.kid for each in stored}
        self._keys = {kid: key for kid, key in self._keys.items() if kid in kept}
        self._public = {kid: jwk for kid, jwk in self._public.items() if kid in kept}
        for before, after in pairwise(looks):
            for event in differences(before, after, now=now):
                self._audit(event)

    async def _load(self, stored: StoredKey, now: float) -> None:
        try:
            key = await asyncio.to_thread(loaded, stored, self._settings.sealer)
        except ConfigError:
            self._unreadable.add(stored.kid)
            self._audit(
                KeyEvent(
                    at=now,
                    what="unreadable",
                    kid=stored.kid,
                    algorithm=stored.algorithm,
                    signs_from=stored.signs_from,
                )
            )
        else:
            self._keys[stored.kid] = key
            self._public[stored.kid] = key.public_jwk()
