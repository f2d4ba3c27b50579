# SPDX-License-Identifier: Apache-2.0
"""Disabling many devices, or giving them new secrets, a thousand in each transaction.

What one transaction did is whole, and has its lines in the trail. After an interruption the same
again goes on where it was.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from keyfob.errors import ConfigError, ConflictError
from keyfob.server.admin_trail import note_done
from keyfob.server.clients import Client, ClientKind
from keyfob.server.credentials import generate_secret, hash_secret
from keyfob.server.device_endings import revoke_tokens
from keyfob.server.fleet_import import secret_lines
from keyfob.server.names import is_name, shown_name
from keyfob.server.private_file import PrivateFile
from keyfob.server.rotation import check_overlap
from keyfob.server.stores.fleet import Selection, device_page
from keyfob.server.stores.jobs import Job, begin_job, find_job, forget_done, move_job, not_done
from keyfob.server.stores.old_secrets import replace_secret
from keyfob.server.stores.store import Store
from keyfob.server.void_secrets import cut_void

__all__ = ["CHUNK", "EVERY_DEVICE", "Chosen", "ManyDevices", "ManyOutcome"]

EVERY_DEVICE: Final = Selection()
CHUNK: Final = 1_000
_SHOWN: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Devices that something is done to: those of a selection, or those that a file names.

    Args:
        selection: Which ones.
        names: A file with a name on each line, which counts instead.
        listed: Names, which count instead of both.
    """

    selection: Selection = EVERY_DEVICE
    names: Path | None = None
    listed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ManyOutcome:
    """What was done.

    Args:
        done: To so many devices.
        passed_over: How many have keys or a certificate, and no secret that could be replaced.
        missing: How many names belong to no device.
        examples: The first of these names.
    """

    done: int = 0
    passed_over: int = 0
    missing: int = 0
    examples: tuple[str, ...] = ()

    def and_then(self, done: int, missing: list[str], passed_over: int = 0) -> ManyOutcome:
        """Return this and what one more transaction did."""
        return ManyOutcome(
            done=self.done + done,
            passed_over=self.passed_over + passed_over,
            missing=self.missing + len(missing),
            examples=(*self.examples, *map(shown_name, missing))[:_SHOWN],
        )


class ManyDevices:
    """Does something to many devices.

    Args:
        store: The register.
        clock: Unix seconds.
        actor: Who does it, for the trail.
        on_progress: Is told how many are done.
    """

    def __init__(
        self,
        store: Store,
        *,
        clock: Callable[[], float],
        actor: str,
        on_progress: Callable[[int], None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._actor = actor
        self._on_progress = on_progress

    def disable(self, chosen: Chosen) -> ManyOutcome:
        """Give devices no new token, and revoke those that they have.

        Doing it again is not an error, and goes on where an interruption left it.

        Raises:
            ConfigError: The file of names cannot be read.
        """
        outcome = ManyOutcome()
        for names, _ in self._chunks(chosen, Job(key="")):
            with self._store.transaction():
                clients, missing = self._devices(names)
                now = self._clock()
                for client in clients:
                    self._store.set_disabled(client.client_id, now)
                    revoke_tokens(self._store, client, "disabled", now)
                self._note("device.disable", clients, now)
            # Why once more: see ``device_endings``.
            if int(after := self._clock()) > int(now):
                with self._store.transaction():
                    for client in clients:
                        revoke_tokens(self._store, client, "disabled", after)
            outcome = outcome.and_then(len(clients), missing)
            self._on_progress(outcome.done)
        return outcome

    def rotate(
        self, chosen: Chosen, secrets: PrivateFile, *, overlap: int, until_used: bool
    ) -> ManyOutcome:
        """Give devices new secrets, which are in a file before they count.

        After an interruption the same again, with the same file, goes on where it was: no device
        gets a second new secret, however often it is named.

        Raises:
            ConfigError: The overlap is too long, or the file is not the one from before.
            ConflictError: The file holds secrets already, or all of this was done.
        """
        check_overlap(overlap)
        job = self._begin_rotation(chosen, secrets)
        outcome = ManyOutcome()
        for names, position in self._chunks(chosen, job):
            with self._store.transaction():
                clients, missing = self._devices(names)
                if chosen.names is not None:
                    fresh = set(not_done(self._store, job.key, [it.client_id for it in clients]))
                    clients = [client for client in clients if client.client_id in fresh]
                having = [client for client in clients if client.secret_hash is not None]
                self._replace(having, secrets, overlap=overlap, until_used=until_used)
                moved = replace(
                    job,
                    position=position,
                    count=job.count + len(names),
                    secrets_size=secrets.size,
                )
                move_job(self._store, job, moved)
            job = moved
            outcome = outcome.and_then(len(having), missing, len(clients) - len(having))
            self._on_progress(outcome.done)
        self._finish(job)
        return outcome

    def rotate_listed(
        self, names: tuple[str, ...], *, overlap: int, until_used: bool
    ) -> tuple[ManyOutcome, list[tuple[str, str]]]:
        """Give so many devices new secrets in one transaction, and return these.

        Raises:
            ConfigError: The overlap is too long.
        """
        check_overlap(overlap)
        with self._store.transaction():
            clients, missing = self._devices(names)
            having = [client for client in clients if client.secret_hash is not None]
            made = [(client, generate_secret()) for client in having]
            self._put(made, overlap=overlap, until_used=until_used)
        outcome = ManyOutcome().and_then(len(having), missing, len(clients) - len(having))
        return outcome, [(client.client_id, secret) for client, secret in made]

    def _replace(
        self, clients: list[Client], secrets: PrivateFile, *, overlap: int, until_used: bool
    ) -> None:
        made = [(client, generate_secret()) for client in clients]
        lines = [(client.client_id, secret) for client, secret in made]
        secrets.write(secret_lines(secrets, lines))
        secrets.sync()  # before the commit: no device without its secret
        self._put(made, overlap=overlap, until_used=until_used)

    def _put(self, made: list[tuple[Client, str]], *, overlap: int, until_used: bool) -> None:
        now = self._clock()
        for client, secret in made:
            replace_secret(
                self._store,
                client,
                hash_secret(secret),
                old_until=now + overlap if overlap else None,
                until_used=until_used,
            )
        self._note("device.rotate-secret", (client for client, _ in made), now)

    def _note(self, action: str, clients: Iterable[Client], now: float) -> None:
        names = [client.client_id for client in clients]
        note_done(self._store, action, names, actor=self._actor, now=now)

    def _finish(self, job: Job) -> None:
        """End a job; only then forget whom it was done to, else it were done to them again."""
        with self._store.transaction():
            move_job(self._store, job, replace(job, finished=True))
        self._forget_done(job.key)

    def _forget_done(self, key: str) -> None:
        left = CHUNK
        while left == CHUNK:
            with self._store.transaction():
                left = forget_done(self._store, key, limit=CHUNK)

    def _begin_rotation(self, chosen: Chosen, secrets: PrivateFile) -> Job:
        path = str(secrets.path.absolute())
        key = f"rotate {hashlib.sha256(repr((path, chosen)).encode()).hexdigest()}"
        known = find_job(self._store, key)
        if known is None or known.finished:
            self._forget_done(key)  # what an end that was interrupted left of it
        with self._store.transaction():
            job = find_job(self._store, key)
            if job is not None and not job.finished:
                cut_void(self._store, secrets, job.secrets_size)
                return job
            if secrets.size:
                raise ConflictError(f"{path} holds secrets already: name a new file")
            job = Job(key=key, secrets_path=path)
            begin_job(self._store, job)
        return job

    def _chunks(self, chosen: Chosen, job: Job) -> Iterator[tuple[list[str], str]]:
        """Yield names, and the position behind them."""
        if chosen.listed:
            yield list(chosen.listed), ""
            return
        if chosen.names is None:
            after = job.position
            while page := device_page(self._store, chosen.selection, after=after, limit=CHUNK):
                after = page[-1].device_id
                yield [row.device_id for row in page], after
            return
        try:
            with chosen.names.open(encoding="utf-8-sig", errors="surrogateescape") as file:
                # From the beginning, also where a job goes on: the file may be another by now, and
                # those that it was done to are known by name.
                names = (line.strip() for line in file)
                wanted = (name for name in names if name)
                while chunk := list(itertools.islice(wanted, CHUNK)):
                    yield chunk, ""
        except OSError as error:
            raise ConfigError(f"{chosen.names}: {error.strerror}") from error

    def _devices(self, names: Iterable[str]) -> tuple[list[Client], list[str]]:
        clients, missing = [], []
        for name in dict.fromkeys(names):
            client = self._store.client(name) if is_name(name) else None
            if client is None or client.kind is not ClientKind.DEVICE:
                missing.append(name)
            else:
                clients.append(client)
        return clients, missing
