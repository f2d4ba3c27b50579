# SPDX-License-Identifier: Apache-2.0
"""Registers devices from a file: any number of them, in little memory, and never one twice.

Each transaction registers some thousand devices and says how far the file was read. The secrets
that were made for them are on the disk before it commits: a secret in the file whose device was
not committed is void, and is cut off when the import goes on. So after an interruption, whatever
it was, running the same import again goes on behind the last transaction.
"""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Final, get_args

from keyfob.authorization.binding import ClientIdTemplate
from keyfob.authorization.syntaxes.scopes import CONNECT
from keyfob.errors import ConfigError, ConflictError, KeyfobError, NotFoundError
from keyfob.server.admin_trail import note_done
from keyfob.server.client_keys import client_jwks
from keyfob.server.client_metadata import (
    NO_METADATA,
    ClientMetadata,
    check_metadata,
    given_metadata,
)
from keyfob.server.credentials import check_given_secret, generate_secrets, hash_secret
from keyfob.server.fleet_rows import Row, RowReader
from keyfob.server.groups import check_groups
from keyfob.server.labels import check_labels
from keyfob.server.lifetimes import check_lifetime
from keyfob.server.names import check_name, shown_name
from keyfob.server.private_file import PrivateFile
from keyfob.server.scopes import check_scopes
from keyfob.server.stores.fleet import NewDevice, State, group_names, insert_devices, known_clients
from keyfob.server.stores.jobs import Job, begin_job, find_job, forget_job, move_job
from keyfob.server.stores.store import Store
from keyfob.server.templates import compiled
from keyfob.server.void_secrets import cut_void

__all__ = [
    "CHUNK",
    "DeviceImport",
    "ImportOutcome",
    "Prepared",
    "new_device",
    "reject_conflicts",
    "reject_lines",
    "secret_lines",
]

CHUNK: Final = 5_000
"""Devices a transaction: a server that runs waits for no more than that."""
_HEAD: Final = b"row,device,code,reason\n"
_STATES: Final[dict[str, State]] = {state: state for state in get_args(State)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOutcome:
    """What an import did.

    Args:
        registered: Devices that are new.
        rejected: Rows that were not loaded.
        before: Rows that an earlier run had done.
    """

    registered: int = 0
    rejected: int = 0
    before: int = 0


@dataclass(slots=True)
class Prepared:
    """Some rows by their lines, ready to be registered, and what was wrong with others."""

    devices: list[tuple[int, NewDevice]]
    rejects: list[tuple[int, str, KeyfobError]]
    secrets: dict[int, str] = field(default_factory=dict, repr=False)


class DeviceImport:
    """One import.

    Args:
        store: The register.
        reader: The rows.
        rejects: Where rows that are not loaded are written to, with their reasons.
        secrets: Where new secrets are written to; None where every row brings its own.
        template: What MQTT client identifiers are made of.
        clock: Unix seconds.
        actor: Who does it, for the trail.
        on_progress: Is told how many bytes of the input have been done.
        chunk: Devices a transaction.
    """

    def __init__(
        self,
        store: Store,
        reader: RowReader,
        *,
        rejects: PrivateFile,
        secrets: PrivateFile | None,
        template: ClientIdTemplate,
        clock: Callable[[], float],
        actor: str,
        on_progress: Callable[[int], None] = lambda _: None,
        chunk: int = CHUNK,
    ) -> None:
        self._store = store
        self._reader = reader
        self._rejects = rejects
        self._secrets = secrets
        self._template = template
        self._clock = clock
        self._actor = actor
        self._on_progress = on_progress
        self._chunk = chunk

    def run(self, *, restart: bool = False) -> ImportOutcome:
        """Register what is not registered yet.

        Args:
            restart: Forget that an earlier run had begun; what it registered stays.

        Raises:
            ConfigError: The input has no header, is not the one from before, or a secret has to
                be made and there is no file for it.
            ConflictError: The file of secrets holds others, or somebody imports the same now.
            UpstreamError: The database stayed locked, or the disk is full. Everything that was
                committed stays; running it again goes on.
        """
        rows = self._reader.rows()
        job = self._begin(restart=restart)
        outcome = ImportOutcome(before=job.count)
        self._skip(rows, job)
        while chunk := self._reader.take(rows, self._chunk):
            prepared = self._prepare(chunk)
            moved = replace(job, position=self._reader.position(), count=job.count + len(chunk))
            job = self._commit(prepared, job, moved)
            outcome = replace(
                outcome,
                registered=outcome.registered + len(prepared.devices),
                rejected=outcome.rejected + len(prepared.rejects),
            )
            self._on_progress(self._reader.bytes)
        with self._store.transaction():
            move_job(self._store, job, replace(job, finished=True))
        return outcome

    def _begin(self, *, restart: bool) -> Job:
        """Find or make the job, and bring the files to what it says."""
        key = f"import {self._reader.identity}"
        with self._store.transaction():
            known = find_job(self._store, key)
            if restart and known is not None:
                self._cut_void(known)
                forget_job(self._store, key)
                known = None
            job = known or Job(key=key)
            path = "" if self._secrets is None else str(self._secrets.path.absolute())
            if known is not None and not known.finished:
                self._resume(known, path)
            else:
                self._check_unused(job, path)
                self._clear_rejects()
            job = replace(
                job,
                secrets_path=path,
                secrets_size=0 if self._secrets is None else self._secrets.size,
                rejects_size=self._rejects.size,
                finished=False,
            )
            begin_job(self._store, job)
        return job

    def _cut_void(self, known: Job) -> None:
        """Leave no secret in an earlier run's file that never was a device's."""
        path = Path(known.secrets_path)
        if known.finished or not known.secrets_path or not path.exists():
            return
        if self._secrets is not None and self._secrets.path.absolute() == path:
            cut_void(self._store, self._secrets, known.secrets_size)
            return
        with PrivateFile(path) as before:
            if before.size > known.secrets_size:
                cut_void(self._store, before, known.secrets_size)

    def _resume(self, known: Job, path: str) -> None:
        if path != known.secrets_path:
            where = f"--secrets-out {known.secrets_path}" if known.secrets_path else "no such file"
            raise ConfigError(
                f"this import had begun with {where}: go on with that, or --restart with a new file"
            )
        if self._secrets is not None:
            cut_void(self._store, self._secrets, known.secrets_size)
        # The reasons from before may have been thrown away; the secrets must not be.
        self._rejects.cut(min(known.rejects_size, self._rejects.size))

    def _check_unused(self, job: Job, path: str) -> None:
        if self._secrets is not None and self._secrets.size and path != job.secrets_path:
            raise ConflictError(f"{path} holds secrets already: name a new file")

    def _clear_rejects(self) -> None:
        if self._rejects.size and self._rejects.read(0, len(_HEAD)) != _HEAD:
            raise ConflictError(f"{self._rejects.path} is no file of rejects: name another")
        self._rejects.cut(0)

    def _skip(self, rows: Iterator[object], job: Job) -> None:
        """Pass over what an earlier run did, and see that it is the same."""
        skipped = sum(1 for _ in itertools.islice(rows, job.count))
        if skipped != job.count or (skipped and self._reader.position() != job.position):
            raise ConfigError(
                f"the {job.count} rows that an earlier run had read are others now: "
                "--restart begins anew, with a new file for secrets"
            )
        self._on_progress(self._reader.bytes)

    def _prepare(self, chunk: Sequence[tuple[int, Row | ConfigError]]) -> Prepared:
        prepared = Prepared([], [])
        unproven: list[tuple[int, NewDevice]] = []
        for line, row in chunk:
            if isinstance(row, ConfigError):
                prepared.rejects.append((line, "", row))
                continue
            try:
                device = new_device(row, self._template)
            except KeyfobError as error:
                prepared.rejects.append((line, row.device, error))
                continue
            if not device.has_credentials:
                if self._secrets is None:
                    raise ConfigError(
                        f"row {line} brings no secret, so one is made: say with --secrets-out "
                        "into which file"
                    )
                unproven.append((line, device))
            prepared.devices.append((line, device))
        secrets = generate_secrets(len(unproven))
        for (line, device), secret in zip(unproven, secrets, strict=True):
            device.secret_hash = hash_secret(secret)
            prepared.secrets[line] = secret
        return prepared

    def _commit(self, prepared: Prepared, before: Job, after: Job) -> Job:
        with self._store.transaction():
            reject_conflicts(self._store, prepared)
            devices = [device for _, device in prepared.devices]
            if self._secrets is not None:
                made = [
                    (device.device_id, secret)
                    for line, device in prepared.devices
                    if (secret := prepared.secrets.get(line)) is not None
                ]
                self._secrets.write(secret_lines(self._secrets, made))
                self._secrets.sync()  # before the commit: no device without its secret
                after = replace(after, secrets_size=self._secrets.size)
            self._rejects.write(reject_lines(self._rejects, prepared.rejects))
            after = replace(after, rejects_size=self._rejects.size)
            now = self._clock()
            insert_devices(self._store, devices, now=now)
            if devices:
                many = (f"({len(devices)} devices)",)
                note_done(self._store, "device.import", many, actor=self._actor, now=now)
            move_job(self._store, before, after)
        return after


def new_device(row: Row, template: ClientIdTemplate) -> NewDevice:
    """Check a row and return its device; without a secret where one has to be made.

    Raises:
        KeyfobError: It is not allowed.
    """
    name = row.device
    check_name(name, template=template)
    state = _STATES.get(row.state)
    if state is None:
        raise ConfigError("the state is pending, active or disabled")
    if row.lifetime is not None:
        check_lifetime(row.lifetime)
    groups = _groups(tuple(row.groups)) if row.groups else ()
    if row.labels:
        check_labels(row.labels)
    if row.secret:
        check_given_secret(row.secret)
    jwks = client_jwks(bytes(row.jwks)) if bytes(row.jwks) else None
    return NewDevice(
        device_id=name,
        secret_hash=hash_secret(row.secret) if row.secret else None,
        jwks=jwks,
        metadata=_metadata(row, has_keys=jwks is not None),
        scopes=_scopes(row),
        lifetime=row.lifetime,
        state=state,
        groups=groups,
        labels=row.labels,
    )


def reject_conflicts(store: Store, prepared: Prepared) -> None:
    """Take out what is registered already, twice in the file, or in no group that there is."""
    taken = known_clients(store, [each.device_id for _, each in prepared.devices])
    groups = group_names(store)
    fresh: list[tuple[int, NewDevice]] = []
    for line, device in prepared.devices:
        error: KeyfobError
        if device.device_id in taken:
            error = ConflictError(f"there is a {taken[device.device_id]} of this name already")
        elif device.groups and not groups.issuperset(device.groups):
            missing = sorted(set(device.groups) - groups)
            error = NotFoundError(f"there is no group {missing[0]}")
        else:
            taken[device.device_id] = "device"
            fresh.append((line, device))
            continue
        prepared.rejects.append((line, device.device_id, error))
    prepared.devices = fresh


@lru_cache(maxsize=256)  # many devices are in the same ones
def _groups(names: tuple[str, ...]) -> tuple[str, ...]:
    found = tuple(sorted(set(names)))
    check_groups(found)
    return found


def _metadata(row: Row, *, has_keys: bool) -> ClientMetadata:
    document = bytes(row.metadata)
    if not document:
        return NO_METADATA
    metadata = given_metadata(document)
    check_metadata(metadata, has_keys=has_keys)
    return metadata


def _scopes(row: Row) -> str:
    if not (row.publish or row.subscribe or row.scopes):
        return CONNECT
    rights = compiled(tuple(row.publish), tuple(row.subscribe), tuple(row.scopes))
    scopes = rights.scopes_of(row.device)
    check_scopes(scopes)
    return " ".join(scopes)


def secret_lines(file: PrivateFile, made: Sequence[tuple[str, str]]) -> str:
    """Return the lines for new secrets, in the format that the file's ending says."""
    if file.path.suffix.lower() in (".jsonl", ".ndjson", ".json"):
        return "".join(f'{{"device": "{name}", "secret": "{secret}"}}\n' for name, secret in made)
    head = "" if file.size or not made else "device,secret\n"
    # Neither has a character that CSV or JSON would quote (names, credentials).
    return head + "".join(f"{name},{secret}\n" for name, secret in made)


def reject_lines(file: PrivateFile, rejects: Sequence[tuple[int, str, KeyfobError]]) -> str:
    """Return the lines for rows that were not loaded, each with its reason."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if rejects and not file.size:
        text.write(_HEAD.decode())
    for line, device, error in sorted(rejects, key=lambda reject: reject[0]):
        writer.writerow((line, shown_name(device), error.code, error.message))
    return text.getvalue()
