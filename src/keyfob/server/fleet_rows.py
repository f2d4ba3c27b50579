# SPDX-License-Identifier: Apache-2.0
"""Devices as rows of a file: CSV with a header, or JSON lines; read and written.

One row is one device. A row that cannot be read is an error of its own, and reading goes on.
"""

from __future__ import annotations

import codecs
import csv
import hashlib
import io
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final, Literal, get_args

import msgspec

from keyfob.errors import ConfigError
from keyfob.server.client_metadata import NO_METADATA, metadata_text, shown_metadata
from keyfob.server.labels import parse_labels
from keyfob.server.stores.fleet import DeviceRow
from keyfob.tokens import json_strict

__all__ = ["COLUMNS", "EXPORTED", "Format", "Row", "RowReader", "format_of", "header", "written"]

Format = Literal["csv", "jsonl"]
_ENDINGS: Final[dict[str, Format]] = {
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
}
EXPORTED: Final = ("device", "groups", "labels", "scopes", "lifetime", "state", "jwks", "metadata")
COLUMNS: Final = (*EXPORTED, "secret", "publish", "subscribe")
MAX_LINE: Final = 65_536
_HEAD: Final = 65_536
_NOTHING: Final = msgspec.Raw(b"")
# Lines are digested together, this many bytes: one by one costs more than reading them.
_UNDIGESTED: Final = 1 << 18
# Rows that are worked on together: thousands of short ones, and few of the longest.
_TAKEN: Final = 4 << 20
# The members of a row, as they stand in a line.
_MEMBERS: Final = tuple(f'"{column}"'.encode() for column in COLUMNS)


class Row(msgspec.Struct, forbid_unknown_fields=True):
    """One device, as somebody wrote it: nothing is checked yet but its form.

    ``jwks`` is the JSON text of its public keys, ``metadata`` that of its ``ClientMetadata``; both
    are empty without.
    """

    device: str
    secret: str = ""
    jwks: msgspec.Raw = _NOTHING
    metadata: msgspec.Raw = _NOTHING
    groups: list[str] = []
    labels: dict[str, str] = {}
    publish: list[str] = []
    subscribe: list[str] = []
    scopes: list[str] = []
    lifetime: int | None = None
    state: str = "active"

    def __repr__(self) -> str:
        return f"Row({self.device!r})"  # never the secret


def format_of(name: str, wanted: str | None) -> Format:
    """Return the format of a file.

    Args:
        name: The file's name; its ending says the format.
        wanted: A format that was named, which counts more.

    Raises:
        ConfigError: Neither says one.
    """
    if wanted is not None:
        for known in get_args(Format):
            if wanted == known:
                return known  # type: ignore[no-any-return]
        raise ConfigError(f"{wanted!r} is not a format: csv or jsonl", key="format")
    found = _ENDINGS.get(Path(name).suffix.lower())
    if found is None:
        raise ConfigError(f"{name}: say which format it has, --format csv or --format jsonl")
    return found


class RowReader:
    """Reads rows one by one, and knows which input it is and how much of it was read.

    Args:
        stream: The input; it need not be seekable.
        form: Its format.
    """

    def __init__(self, stream: BinaryIO, form: Format) -> None:
        self._stream = stream
        self._form = form
        head = stream.read(_HEAD)
        self._head = head + stream.readline(MAX_LINE + 1) if len(head) == _HEAD else head
        self.identity = hashlib.sha256(head).hexdigest()
        """Names the input, by how it begins."""
        self._digest = hashlib.sha256()
        self._undigested: list[bytes] = []
        self._digested = 0
        self.line = 0
        """The last line that was read, as editors count."""
        self.bytes = 0

    def position(self) -> str:
        """Return a digest of every row up to here; empty lines are none."""
        self._digest_lines()
        return self._digest.copy().hexdigest()

    def take(
        self, rows: Iterator[tuple[int, Row | ConfigError]], count: int
    ) -> list[tuple[int, Row | ConfigError]]:
        """Return the next rows, so many or as many as little memory holds; none at the end."""
        taken: list[tuple[int, Row | ConfigError]] = []
        most = self.bytes + _TAKEN
        while len(taken) < count and self.bytes < most:
            some = list(itertools.islice(rows, min(50, count - len(taken))))
            if not some:
                break
            taken += some
        return taken

    def rows(self) -> Iterator[tuple[int, Row | ConfigError]]:
        """Yield each row with its line, or what is wrong with it.

        Raises:
            ConfigError: The header is not one.
        """
        return self._json_rows() if self._form == "jsonl" else self._csv_rows()

    def _lines(self) -> Iterator[bytes]:
        """Yield each line that is not empty; of one that is too long, its first part."""
        for source in (io.BytesIO(self._head), self._stream):
            while line := source.readline(MAX_LINE + 1):
                self.line += 1
                self._note(line)
                if len(line) > MAX_LINE:
                    line += self._pass_over(source, line)
                elif not line.strip():
                    continue
                yield line

    def _pass_over(self, source: BinaryIO, piece: bytes) -> bytes:
        """Read to the end of a line, and return what keeps the number of its quotes odd or even."""
        quotes = 0
        while piece and not piece.endswith(b"\n"):
            # The beginning of the input may end within the line.
            piece = source.readline(MAX_LINE) or self._stream.readline(MAX_LINE)
            self._note(piece)
            quotes += piece.count(b'"')
        return b'"' if quotes % 2 else b""

    def _note(self, line: bytes) -> None:
        self.bytes += len(line)
        if line.isspace():
            return
        self._undigested.append(line)
        if self.bytes - self._digested > _UNDIGESTED:
            self._digest_lines()

    def _digest_lines(self) -> None:
        self._digest.update(b"".join(self._undigested))
        self._undigested.clear()
        self._digested = self.bytes

    def _json_rows(self) -> Iterator[tuple[int, Row | ConfigError]]:
        decode = msgspec.json.Decoder(Row).decode
        for line in self._lines():
            row: Row | ConfigError
            text = line.removeprefix(codecs.BOM_UTF8) if self.line == 1 else line
            try:
                if len(line) > MAX_LINE:
                    raise _too_long()
                row = decode(text)
                if _may_repeat(text, row):
                    json_strict.loads(text)
            except (msgspec.MsgspecError, json_strict.JsonError, UnicodeDecodeError) as error:
                row = ConfigError(_told(error))
            except RecursionError:
                row = ConfigError("the line is nested too deep")
            except ConfigError as error:
                row = error
            yield self.line, row

    def _csv_rows(self) -> Iterator[tuple[int, Row | ConfigError]]:
        lines = self._lines()
        first = next(lines, b"")
        if len(first) > MAX_LINE:
            raise _too_long()
        head = _text_of(first)
        columns = [cell.strip() for cell in _cut(head.removeprefix("\ufeff"))]
        _check_columns(columns)
        place = columns.index("device")
        setters = [
            (index, _SETTERS[column]) for index, column in enumerate(columns) if column != "device"
        ]
        opened = 0
        for line in lines:
            text = _text_of(line)
            row: Row | ConfigError
            try:
                if opened:
                    error = ConfigError(f"it stands within the quotes that row {opened} opened")
                    opened = 0 if text.count('"') % 2 else opened
                    raise error
                if len(line) > MAX_LINE:
                    opened = self.line if text.count('"') % 2 else 0
                    raise _too_long()
                cells = _cells_of(text, len(columns))
                row = Row(cells[place])
                for index, setter in setters:
                    if cell := cells[index]:
                        setter(row, cell)
            except _OpenQuotesError as error:
                row, opened = error, self.line
            except ConfigError as error:
                row = error
            yield self.line, row


class _OpenQuotesError(ConfigError):
    """A row whose quotes are not closed: what follows may be a part of it, and is no row."""


def _text_of(line: bytes) -> str:
    # What is no UTF-8 is refused where it stands: no name, filter or label allows it.
    return line.decode("utf-8", "surrogateescape").rstrip("\r\n")


def _too_long() -> ConfigError:
    return ConfigError(f"the line is longer than {MAX_LINE} bytes")


def _cells_of(text: str, count: int) -> list[str]:
    cells = _cut(text)
    if len(cells) != count:
        raise ConfigError(f"the row has {len(cells)} cells, the header {count}")
    return cells


def _cut(text: str) -> list[str]:
    """Cut a row at its commas; one line is one row."""
    if '"' not in text:
        return text.split(",")
    try:
        return next(csv.reader((text,), strict=True))
    except csv.Error:
        pass
    try:
        next(csv.reader((text + '"',), strict=True))
    except csv.Error:
        raise ConfigError("the row is not well-formed CSV") from None
    raise _OpenQuotesError("a quote is not closed in the row; no cell holds the end of a line")


def _check_columns(columns: Sequence[str]) -> None:
    unknown = [column for column in columns if column not in COLUMNS]
    if unknown:
        raise ConfigError(f"no column {unknown[0][:40]!r}; there are {', '.join(sorted(COLUMNS))}")
    if "device" not in columns or len(set(columns)) != len(columns):
        raise ConfigError("the header names each column once, and device is one of them")


def _set_list(name: str) -> Callable[[Row, str], None]:
    return lambda row, cell: setattr(row, name, _words(cell))


def _words(cell: str) -> list[str]:
    if cell.isascii():
        return cell.split()
    return [word for word in cell.split(" ") if word]  # others mean something in a filter


def _set_text(name: str) -> Callable[[Row, str], None]:
    return lambda row, cell: setattr(row, name, cell)


def _set_labels(row: Row, cell: str) -> None:
    row.labels = parse_labels(part for part in map(str.strip, cell.split(";")) if part)


def _set_lifetime(row: Row, cell: str) -> None:
    if not (cell.isascii() and cell.isdigit() and len(cell) < 10):
        raise ConfigError("lifetime is a whole number of seconds")
    row.lifetime = int(cell)


def _set_json(name: str) -> Callable[[Row, str], None]:
    return lambda row, cell: setattr(row, name, msgspec.Raw(cell.encode("utf-8", "replace")))


_SETTERS: Final[dict[str, Callable[[Row, str], None]]] = {
    **{name: _set_list(name) for name in ("groups", "publish", "subscribe", "scopes")},
    **{name: _set_text(name) for name in ("secret", "state")},
    **{name: _set_json(name) for name in ("jwks", "metadata")},
    "labels": _set_labels,
    "lifetime": _set_lifetime,
}
"""What a cell that is not empty makes of a row, by its column."""


def _may_repeat(line: bytes, row: Row) -> bool:
    """Say whether a line could name a member twice; it is quick, and sometimes wrong to suspect."""
    if b"\\" in line or line.count(b"{") > 2:
        return True
    if max(map(line.count, _MEMBERS)) > 1:
        return True
    return any(line.count(f'"{key}"'.encode()) > 1 for key in row.labels)


def _told(error: Exception) -> str:
    """Say what is wrong with a line of JSON, without what stands in it."""
    if isinstance(error, json_strict.DuplicateMemberError):
        return "the row names a member twice"
    if isinstance(error, msgspec.ValidationError):
        # "Object contains unknown field `x`", "Expected `str`, got `int` - at `$.device`"
        return f"the row is not a device: {str(error)[:120]}"
    return "the line is not JSON"


# Writing


def header(form: Format) -> str:
    """Return what an exported file begins with."""
    return ",".join(EXPORTED) + "\n" if form == "csv" else ""


def written(devices: Iterable[DeviceRow], form: Format) -> str:
    """Return devices as rows; never with a secret."""
    if form == "jsonl":
        return "".join(map(_json_line, devices))
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(map(_cells, devices))
    return text.getvalue()


def _cells(device: DeviceRow) -> tuple[str, ...]:
    metadata = shown_metadata(device.metadata)
    return (
        device.device_id,
        " ".join(device.groups),
        ";".join(itertools.starmap("{}={}".format, device.labels.items())),
        " ".join(device.scopes),
        "" if device.lifetime is None else str(device.lifetime),
        device.state,
        device.jwks or "",
        "" if metadata == NO_METADATA else metadata_text(metadata),
    )


def _json_line(device: DeviceRow) -> str:
    metadata = shown_metadata(device.metadata)
    row = {
        "device": device.device_id,
        "groups": device.groups,
        "labels": device.labels,
        "scopes": device.scopes,
        "lifetime": device.lifetime,
        "state": device.state,
    }
    if device.jwks is not None:
        row["jwks"] = json.loads(device.jwks)
    if metadata != NO_METADATA:
        row["metadata"] = json.loads(metadata_text(metadata))
    return json.dumps(row, ensure_ascii=False) + "\n"
