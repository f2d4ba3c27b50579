# SPDX-License-Identifier: Apache-2.0
"""Finds the sessions that a revocation may concern, by what it names.

A guard is told of revocations by others, as many as they like, and decides nothing meanwhile: one
that means a single session must not cost a look at each.
"""

from __future__ import annotations

from collections.abc import Iterator

from keyfob.guard.revocations import Revocation
from keyfob.guard.session import Session, SessionState

__all__ = ["Key", "SessionIndex"]

Key = tuple[str, str]
"""A session's: the broker's name and the client identifier."""


class _KeysByName:
    """Which sessions of an issuer have a name: mostly one, so that one has no set of its own."""

    __slots__ = ("_of_issuer",)

    def __init__(self) -> None:
        self._of_issuer: dict[str, dict[str | None, Key | dict[Key, None]]] = {}

    def add(self, issuer: str, name: str | None, key: Key) -> None:
        names = self._of_issuer.setdefault(issuer, {})
        present = names.setdefault(name, key)
        if isinstance(present, dict):
            present[key] = None
        elif present != key:
            names[name] = {present: None, key: None}

    def remove(self, issuer: str, name: str | None, key: Key) -> None:
        names = self._of_issuer[issuer]
        present = names[name]
        if isinstance(present, dict):
            del present[key]
            if present:
                return
        del names[name]
        if not names:
            del self._of_issuer[issuer]

    def of(self, issuer: str, name: str | None) -> tuple[Key, ...]:
        present = self._of_issuer.get(issuer, {}).get(name, {})
        return tuple(present) if isinstance(present, dict) else (present,)


class SessionIndex:
    """The sessions that can be revoked, by subject, OAuth client and token.

    Those that are marked as revoked are not in it, nor are names that no revocation can have.
    """

    def __init__(self) -> None:
        self._by_subject = _KeysByName()
        self._by_client = _KeysByName()
        self._by_token = _KeysByName()

    def add(self, key: Key, session: Session) -> None:
        """Take a session in, under the key that the caller has it under."""
        for keys, name in self._names(session):
            keys.add(session.issuer, name, key)

    def remove(self, key: Key, session: Session) -> None:
        """Take a session out that is in it as given."""
        for keys, name in self._names(session):
            keys.remove(session.issuer, name, key)

    def may_concern(self, revocation: Revocation) -> tuple[Key, ...] | None:
        """Return whom a revocation may concern, by the most exact of its names.

        Returns:
            The keys, of more sessions than it concerns perhaps, never of fewer; None: it has no
            name, so it may concern every session.
        """
        issuer = revocation.issuer
        if revocation.token_id is not None:
            return self._by_token.of(issuer, revocation.token_id)
        if revocation.subject is not None:
            return self._by_subject.of(issuer, revocation.subject)
        if revocation.client_id is not None:
            not_known = self._by_client.of(issuer, None)
            return self._by_client.of(issuer, revocation.client_id) + not_known
        return None

    def _names(self, session: Session) -> Iterator[tuple[_KeysByName, str | None]]:
        if session.state is SessionState.REVOKED:
            return
        yield self._by_subject, session.subject
        if session.client != "":
            yield self._by_client, session.client
        if session.token_id:
            yield self._by_token, session.token_id
