# SPDX-License-Identifier: Apache-2.0
"""Registers the devices of a file at a server somewhere else, some hundred in a request."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from keyfob.cli.admin_client import AdminClient
from keyfob.errors import ConfigError, ConflictError, KeyfobError
from keyfob.server.client_metadata import given_metadata
from keyfob.server.fleet_batch import BatchOutcome, DeviceSecret
from keyfob.server.fleet_import import ImportOutcome, reject_lines, secret_lines
from keyfob.server.fleet_rows import Row, RowReader
from keyfob.server.private_file import PrivateFile

__all__ = ["RemoteImport", "keep_secrets"]

# Rows have 64 KiB at most; what is sent together has room for fifty of the longest.
_ROWS: Final = 500
_BYTES: Final = 3_000_000
_NOTHING_DONE: Final = BatchOutcome(registered=0, rejected=(), secrets=())


@dataclass(slots=True)
class _Request:
    """Some rows that are sent together, and what is wrong with others.

    Args:
        lines: What is sent.
        sent: The number of each row that is sent: the server counts those of the request.
        wrong: Rows that are not sent, or that the server did not load: number, device and reason.
    """

    lines: bytes = b""
    sent: list[int] = field(default_factory=list)
    wrong: list[tuple[int, str, KeyfobError]] = field(default_factory=list)


class RemoteImport:
    """One import.

    Args:
        client: What asks.
        rejects: Where rows that are not loaded are written to, with their reasons.
        secrets: Where new secrets are written to; None where every row brings its own.
    """

    def __init__(
        self, client: AdminClient, *, rejects: PrivateFile, secrets: PrivateFile | None
    ) -> None:
        self._client = client
        self._rejects = rejects
        self._secrets = secrets

    def run(self, reader: RowReader, *, on_progress: Callable[[int], None]) -> ImportOutcome:
        """Register the devices; see ``RemoteFleet.import_devices``."""
        if self._secrets is not None and self._secrets.size:
            raise ConflictError(f"{self._secrets.path} holds secrets already: name a new file")
        registered = rejected = 0
        for chunk in _batches(reader):
            request = self._request(chunk)
            done = self._sent(request)
            self._rejects.write(reject_lines(self._rejects, request.wrong))
            registered += done.registered
            rejected += len(request.wrong)
            on_progress(reader.bytes)
        return ImportOutcome(registered=registered, rejected=rejected)

    def _request(self, chunk: Sequence[tuple[int, Row | ConfigError]]) -> _Request:
        request = _Request()
        for number, row in chunk:
            if isinstance(row, ConfigError):
                request.wrong.append((number, "", row))
                continue
            if self._secrets is None and not _proves_itself(row):
                raise ConfigError(
                    f"row {number} brings no secret, so one is made: say with --secrets-out "
                    "into which file"
                )
            try:
                request.lines += _line(row)
            except UnicodeEncodeError:  # what was no UTF-8 in a file of CSV
                request.wrong.append((number, "", ConfigError("the row is no UTF-8")))
                continue
            request.sent.append(number)
        return request

    def _sent(self, request: _Request) -> BatchOutcome:
        """Send rows and keep their secrets; what the server does not load is wrong, too."""
        if not request.lines:
            return _NOTHING_DONE
        path = "bulk", "import"
        done = self._client.ask("POST", *path, kind=BatchOutcome, lines=request.lines)
        if self._secrets is not None:
            keep_secrets(self._secrets, done.secrets)
        request.wrong += [
            (request.sent[one.row - 1], one.device, ConfigError(one.reason, code=one.code))
            for one in done.rejected
        ]
        return done


def keep_secrets(file: PrivateFile, secrets: Sequence[DeviceSecret]) -> None:
    """Write new secrets to a file; they are on the disk when this returns."""
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
