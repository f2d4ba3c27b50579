# SPDX-License-Identifier: Apache-2.0
"""The fleet as a whole: its groups, and what is done to many devices at once.

Many devices are many transactions, each of some thousand: a server that runs never waits for long.
What one of them did is whole, a device's state and its revocation together, as for one device.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from keyfob.authorization.binding import ClientIdTemplate
from keyfob.errors import ConfigError, ConflictError, NotFoundError
from keyfob.server.clients import Client, ClientKind
from keyfob.server.credentials import generate_secret, hash_secret
from keyfob.server.devices import revoke_tokens
from keyfob.server.fleet_import import DeviceImport, ImportOutcome, secret_lines
from keyfob.server.fleet_rows import RowReader
from keyfob.server.groups import Group, GroupRights
from keyfob.server.names import is_name, shown_name
from keyfob.server.private_file import PrivateFile
from keyfob.server.rotation import check_overlap
from keyfob.server.stores.fleet import (
    DeviceRow,
    Selection,
    delete_group,
    device_page,
    group_row,
    group_rows,
    leave_group,
    put_group,
)
from keyfob.server.stores.jobs import Job, begin_job, find_job, move_job
from keyfob.server.stores.sqlite import SqliteStore

__all__ = ["EVERY_DEVICE", "Chosen", "Fleet", "ManyOutcome", "Selection"]

EVERY_DEVICE: Final = Selection()
_CHUNK: Final = 1_000
_SHOWN: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Devices that something is done to: those of a selection, or those that a file names.

    Args:
        selection: Which ones.
        names: A file with a name on each line, which counts instead.
    """

    selection: Selection = EVERY_DEVICE
    names: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ManyOutcome:
    """What was done.

    Args:
        done: To so many devices.
        missing: How many names belong to no device.
        examples: The first of these names.
    """

    done: int = 0
    missing: int = 0
    examples: tuple[str, ...] = ()

    def and_then(self, done: int, missing: list[str]) -> ManyOutcome:
        """Return this and what one more transaction did."""
        return ManyOutcome(
            done=self.done + done,
            missing=self.missing + len(missing),
            examples=(*self.examples, *map(shown_name, missing))[:_SHOWN],
        )


class Fleet:
    """Groups and many devices; made by ``Register.fleet``.

    Args:
        store: The register.
        template: What MQTT client identifiers are made of.
        clock: Unix seconds.
    """

    def __init__(
        self, store: SqliteStore, *, template: ClientIdTemplate, clock: Callable[[], float]
    ) -> None:
        self._store = store
        self._template = template
        self._clock = clock

    # Groups

    def add_group(
        self,
        name: str,
        *,
        publish: Iterable[str] = (),
        subscribe: Iterable[str] = (),
        scopes: Iterable[str] = (),
        lifetime: int | None = None,
    ) -> Group:
        """Make a group.

        Raises:
            ConfigError: Name, scope or lifetime is not allowed.
            TopicError: A filter is not one.
            ConflictError: There is a group of this name.
        """
        group = Group(
            name=name,
            publish=tuple(publish),
            subscribe=tuple(subscribe),
            scopes=tuple(scopes),
            lifetime=lifetime,
            created_at=self._clock(),
        )
        group.check()
        with self._store.transaction():
            if group_row(self._store, name) is not None:
                raise ConflictError(f"there is a group {name!r} already")
            put_group(self._store, group)
        return group

    def set_group(self, name: str, changes: Mapping[str, object]) -> Group:
        """Change what a group gives; it counts from its devices' next tokens on.

        Args:
            name: Which one.
            changes: ``publish``, ``subscribe``, ``scopes`` and ``lifetime``, those that change.

        Raises:
            ConfigError: A scope or the lifetime is not allowed.
            TopicError: A filter is not one.
            NotFoundError: There is none of this name.
        """
        with self._store.transaction():
            group: Group = replace(self.show_group(name), **changes)  # type: ignore[arg-type]
            group.check()
            put_group(self._store, group)
        return group

    def show_group(self, name: str) -> Group:
        """Return a group.

        Raises:
            NotFoundError: There is none of this name.
        """
        group = group_row(self._store, name)
        if group is None:
            raise NotFoundError(f"no group {shown_name(name)!r}; `keyfob group list` shows them")
        return group

    def list_groups(self) -> tuple[Group, ...]:
        """Return every group, by name."""
        return group_rows(self._store)

    def remove_group(self, name: str) -> None:
        """Take every device out of a group and forget it.

        Raises:
            NotFoundError: There is none of this name.
        """
        self.show_group(name)
        left = _CHUNK
        while left == _CHUNK:
            with self._store.transaction():
                left = leave_group(self._store, name, limit=_CHUNK)
                if left < _CHUNK:
                    delete_group(self._store, name)

    def rights(self, client_id: str) -> tuple[str, ...]:
        """Return what a device's tokens may say: its own scopes and those of its groups."""
        client = self._store.client(client_id)
        if client is None:
            return ()
        groups = GroupRights(lambda name: group_row(self._store, name), lambda: 0)
        return groups.applied(client).scopes

    # Many devices

    def import_devices(
        self,
        reader: RowReader,
        *,
        rejects: PrivateFile,
        secrets: PrivateFile | None,
        restart: bool = False,
        on_progress: Callable[[int], None] = lambda _: None,
    ) -> ImportOutcome:
        """Register the devices of a file; see ``fleet_import``.

        Raises:
            ConfigError: The input or the file for secrets is not what it has to be.
            ConflictError: The file of secrets holds others, or somebody imports the same now.
        """
        work = DeviceImport(
            self._store,
            reader,
            rejects=rejects,
            secrets=secrets,
            template=self._template,
            clock=self._clock,
            on_progress=on_progress,
        )
        return work.run(restart=restart)

    def pages(self, selection: Selection, *, after: str = "") -> Iterator[tuple[DeviceRow, ...]]:
        """Yield all devices of a selection, by name, page by page."""
        while page := device_page(self._store, selection, after=after, limit=_CHUNK):
            yield page
            after = page[-1].device_id

    def disable(
        self, chosen: Chosen, *, on_progress: Callable[[int], None] = lambda _: None
    ) -> ManyOutcome:
        """Give devices no new token, and revoke those that they have.

        Doing it again is not an error, and goes on where an interruption left it.
        """
        outcome = ManyOutcome()
        for names, _ in self._chunks(chosen, Job(key="")):
            with self._store.transaction():
                clients, missing = self._devices(names)
                now = self._clock()
                for client in clients:
                    self._store.set_disabled(client.client_id, now)
                    revoke_tokens(self._store, client, "disabled", now)
            # Why once more: see ``devices``.
            if int(after := self._clock()) > int(now):
                with self._store.transaction():
                    for client in clients:
                        revoke_tokens(self._store, client, "disabled", after)
            outcome = outcome.and_then(len(clients), missing)
            on_progress(outcome.done)
        return outcome

    def rotate(
        self,
        chosen: Chosen,
        secrets: PrivateFile,
        *,
        overlap: int = 0,
        until_used: bool = False,
        on_progress: Callable[[int], None] = lambda _: None,
    ) -> ManyOutcome:
        """Give devices new secrets, which are in a file before they count.

        After an interruption the same again, with the same file, goes on where it was: no device
        gets a second new secret.

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
                made = [(client.client_id, generate_secret()) for client in clients]
                secrets.write(secret_lines(secrets, made))
                secrets.sync()  # before the commit: no device without its secret
                old_until = self._clock() + overlap if overlap else None
                for name, secret in made:
                    self._store.set_secret(
                        name, hash_secret(secret), old_until=old_until, old_ends_on_use=until_used
                    )
                moved = replace(
                    job,
                    position=position,
                    count=job.count + len(names),
                    secrets_size=secrets.size,
                )
                move_job(self._store, job, moved)
            job = moved
            outcome = outcome.and_then(len(clients), missing)
            on_progress(outcome.done)
        with self._store.transaction():
            move_job(self._store, job, replace(job, finished=True))
        return outcome

    def _begin_rotation(self, chosen: Chosen, secrets: PrivateFile) -> Job:
        path = str(secrets.path.absolute())
        wish = hashlib.sha256(repr((path, chosen)).encode()).hexdigest()
        with self._store.transaction():
            job = find_job(self._store, f"rotate {wish}")
            if job is not None and not job.finished:
                secrets.cut(job.secrets_size)
                return job
            if secrets.size:
                raise ConflictError(f"{path} holds secrets already: name a new file")
            job = Job(key=f"rotate {wish}", secrets_path=path)
            begin_job(self._store, job)
        return job

    def _chunks(self, chosen: Chosen, job: Job) -> Iterator[tuple[list[str], str]]:
        """Yield names, and the position behind them."""
        if chosen.names is None:
            for page in self.pages(chosen.selection, after=job.position):
                yield [row.device_id for row in page], page[-1].device_id
            return
        try:
            with chosen.names.open(encoding="utf-8", errors="surrogateescape") as file:
                names = (line.strip() for line in file)
                wanted = itertools.islice((name for name in names if name), job.count, None)
                while chunk := list(itertools.islice(wanted, _CHUNK)):
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
