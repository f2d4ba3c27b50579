# SPDX-License-Identifier: Apache-2.0
"""Groups and many devices of a server somewhere else, through its admin API.

Where the register is at hand, new secrets are in their file before they count. Over the network
they come with the answer: an interruption between the two loses those of one request, and their
devices are given new ones by ``keyfob device rotate``.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from keyfob.cli.admin_client import NOTHING, PAGE, AdminClient, one, selected
from keyfob.errors import ConfigError, ConflictError, KeyfobError
from keyfob.server.admin.bulk import MAX_NAMES, NamedDevices, NewSecrets, RotatedSecrets
from keyfob.server.admin.devices import DevicePage, DeviceRights
from keyfob.server.admin.groups import GroupChange, GroupList, NewGroup
from keyfob.server.client_metadata import given_metadata
from keyfob.server.fleet import Chosen, ManyOutcome, Selection
from keyfob.server.fleet_batch import BatchOutcome, DeviceSecret
from keyfob.server.fleet_import import ImportOutcome, reject_lines, secret_lines
from keyfob.server.fleet_rows import Format, Row, RowReader
from keyfob.server.groups import Group
from keyfob.server.private_file import PrivateFile

__all__ = ["RemoteFleet"]

# Rows have 64 KiB at most; what is sent together has room for fifty of the longest.
_ROWS: Final = 500
_BYTES: Final = 3_000_000


class RemoteFleet:
    """An ``AnyFleet``.

    Args:
        client: What asks.
    """

    def __init__(self, client: AdminClient) -> None:
        self._client = client

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
        """Make a group."""
        wish = NewGroup(
            name=name,
            publish=tuple(publish),
            subscribe=tuple(subscribe),
            scopes=tuple(scopes),
            lifetime=lifetime,
        )
        return self._client.ask("POST", "groups", kind=Group, body=wish)

    def set_group(self, name: str, changes: Mapping[str, object]) -> Group:
        """Change what a group gives."""
        members: dict[str, Any] = dict(changes)
        wish = GroupChange(**members)
        return self._client.ask("PATCH", *one("groups", name), kind=Group, body=wish)

    def show_group(self, name: str) -> Group:
        """Show a group."""
        return self._client.ask("GET", *one("groups", name), kind=Group)

    def list_groups(self) -> tuple[Group, ...]:
        """List groups."""
        return self._client.ask("GET", "groups", kind=GroupList).items

    def remove_group(self, name: str) -> None:
        """Remove a group."""
        self._client.ask("DELETE", *one("groups", name), kind=NOTHING)

    def rights(self, client_id: str) -> tuple[str, ...]:
        """Show what a device's tokens may say."""
        path = *one("devices", client_id), "rights"
        return self._client.ask("GET", *path, kind=DeviceRights).scopes

    # Many devices

    def disable(
        self, chosen: Chosen, *, on_progress: Callable[[int], None] = lambda _: None
    ) -> ManyOutcome:
        """Disable devices, a thousand in a request."""
        outcome = ManyOutcome()
        for names in self._names(chosen):
            wish = NamedDevices(devices=names)
            done = self._client.ask("POST", "bulk", "disable", kind=ManyOutcome, body=wish)
            outcome = _both(outcome, done)
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
        """Give devices new secrets, a thousand in a request.

        Raises:
            ConflictError: The file holds secrets already.
        """
        if secrets.size:
            raise ConflictError(f"{secrets.path} holds secrets already: name a new file")
        outcome = ManyOutcome()
        for names in self._names(chosen):
            wish = NewSecrets(devices=names, overlap=overlap, until_used=until_used)
            done = self._client.ask(
                "POST", "bulk", "rotate-secrets", kind=RotatedSecrets, body=wish
            )
            _keep(secrets, done.secrets)
            outcome = _both(outcome, done.outcome)
            on_progress(outcome.done)
        return outcome

    def import_devices(
        self,
        reader: RowReader,
        *,
        rejects: PrivateFile,
        secrets: PrivateFile | None,
        restart: bool = False,  # noqa: ARG002 - it always begins anew; what is there is rejected
        on_progress: Callable[[int], None] = lambda _: None,
    ) -> ImportOutcome:
        """Register the devices of a file, some hundred in a request.

        Raises:
            ConfigError: A secret has to be made and there is no file for it.
            ConflictError: The file of secrets holds others.
        """
        if secrets is not None and secrets.size:
            raise ConflictError(f"{secrets.path} holds secrets already: name a new file")
        outcome = ImportOutcome()
        for chunk in _batches(reader):
            wrong: list[tuple[int, str, KeyfobError]] = []
            sent: list[int] = []
            lines = b""
            for number, row in chunk:
                if isinstance(row, ConfigError):
                    wrong.append((number, "", row))
                    continue
                if secrets is None and not _proves_itself(row):
                    raise ConfigError(
                        f"row {number} brings no secret, so one is made: say with --secrets-out "
                        "into which file"
                    )
                try:
                    lines += _line(row)
                except UnicodeEncodeError:  # what was no UTF-8 in a file of CSV
                    wrong.append((number, "", ConfigError("the row is no UTF-8")))
                    continue
                sent.append(number)
            done = _NOTHING_DONE
            if lines:
                done = self._client.ask("POST", "bulk", "import", kind=BatchOutcome, lines=lines)
            if secrets is not None:
                _keep(secrets, done.secrets)
            wrong += [
                (sent[one.row - 1], one.device, ConfigError(one.reason, code=one.code))
                for one in done.rejected
            ]
            rejects.write(reject_lines(rejects, wrong))
            outcome = ImportOutcome(
                registered=outcome.registered + done.registered,
                rejected=outcome.rejected + len(wrong),
            )
            on_progress(reader.bytes)
        return outcome

    def written(self, selection: Selection, form: Format) -> Iterator[str]:
        """Yield devices as JSON lines, many at a time.

        Raises:
            ConfigError: Another form was asked for.
        """
        if form != "jsonl":
            raise ConfigError("a server somewhere else exports JSON lines: --format jsonl")
        after: str | None = ""
        while after is not None:
            query = selected(selection, after=after, limit=PAGE)
            text, after = self._client.read_lines("bulk", "export", query=query)
            yield text

    def _names(self, chosen: Chosen) -> Iterator[tuple[str, ...]]:
        """Yield names, as many as a request takes."""
        if chosen.names is None:
            after: str | None = ""
            while after is not None:
                query = selected(chosen.selection, after=after, limit=MAX_NAMES)
                page = self._client.ask("GET", "devices", kind=DevicePage, query=query)
                if page.items:
                    yield tuple(device.id for device in page.items)
                after = page.next
            return
        try:
            with chosen.names.open(encoding="utf-8-sig", errors="replace") as file:
                names = (line.strip()[:128] for line in file)
                wanted = (name for name in names if name)
                while chunk := tuple(itertools.islice(wanted, MAX_NAMES)):
                    yield chunk
        except OSError as error:
            raise ConfigError(f"{chosen.names}: {error.strerror}") from error


_NOTHING_DONE: Final = BatchOutcome(registered=0, rejected=(), secrets=())


def _both(first: ManyOutcome, second: ManyOutcome) -> ManyOutcome:
    return ManyOutcome(
        done=first.done + second.done,
        passed_over=first.passed_over + second.passed_over,
        missing=first.missing + second.missing,
        examples=(*first.examples, *second.examples)[:100],
    )


def _keep(file: PrivateFile, secrets: Sequence[DeviceSecret]) -> None:
    file.write(secret_lines(file, [(one.device, one.secret) for one in secrets]))
    file.sync()


def _batches(reader: RowReader) -> Iterator[list[tuple[int, Row | ConfigError]]]:
    """Yield rows, as many as a request takes."""
    batch: list[tuple[int, Row | ConfigError]] = []
    begun = reader.bytes
    for numbered in reader.rows():
        batch.append(numbered)
        if len(batch) == _ROWS or reader.bytes - begun > _BYTES:
            yield batch
            batch, begun = [], reader.bytes
    if batch:
        yield batch


def _proves_itself(row: Row) -> bool:
    """Say whether no secret is made for a row; one that is wrong is rejected."""
    if row.secret or row.jwks or not row.metadata:
        return bool(row.secret or row.jwks)
    try:
        return bool(given_metadata(bytes(row.metadata)).certificate)
    except ConfigError:
        return True


def _line(row: Row) -> bytes:
    members = {
        name: value for name, value in msgspec.structs.asdict(row).items() if value not in ("", [])
    }
    for name in ("jwks", "metadata"):
        if not members[name]:
            del members[name]
    return msgspec.json.encode(members) + b"\n"
