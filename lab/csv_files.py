"""Write CSV files completely or not at all, without formulas; read them line by line and note unreadable lines."""

from __future__ import annotations

import codecs
import csv
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO, TypeVar

from lab.escape import for_csv, from_csv
from lab.unread import Unread
from lab.whole_file import draft_of

_Record = TypeVar("_Record")
_MAX_CHARACTERS = 1 << 17  # longest line; the csv module rejects longer fields
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class CsvError(ValueError):
    """A file does not have the columns that it should have; the message is one line."""


@dataclass(frozen=True)
class Table:
    """A CSV file: its name without `.csv`, its columns, its rows."""

    name: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]


class Writer:
    """Writes rows to an open stream, such as a log."""

    def __init__(self, stream: TextIO) -> None:
        self._lines = csv.writer(stream, lineterminator="\n")

    def row(self, cells: Iterable[object]) -> None:
        """Write a row."""
        self._lines.writerow([for_csv(cell) for cell in cells])

    def rows(self, rows: Iterable[Iterable[object]]) -> None:
        """Write rows."""
        for cells in rows:
            self.row(cells)


def write(tables: Iterable[Table], folder: Path) -> list[Path]:
    """Write each table as NAME.csv into a folder; return the paths."""
    paths = {folder / f"{table.name}.csv": table for table in tables}
    for path, table in paths.items():
        write_rows(path, table.columns, table.rows)
    return list(paths)


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Iterable[object]]) -> None:
    """Write a heading and rows to `path`, which is replaced only when all of it is written."""
    with (
        draft_of(path) as draft,
        draft.open("w", newline="", encoding="utf-8", errors="backslashreplace") as stream,
    ):
        lines = Writer(stream)
        lines.row(columns)
        lines.rows(rows)


def open_to_append(path: Path, columns: Sequence[str]) -> TextIO:
    """Open a CSV file to add rows; a new one gets its heading. Raises CsvError for another heading, OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    heading = ",".join(columns)
    with path.open("a+b") as file:
        file.seek(0)
        first = file.readline(_MAX_CHARACTERS).removeprefix(codecs.BOM_UTF8).rstrip(b"\r\n")
        if file.seek(0, os.SEEK_END):
            if first != heading.encode():
                raise CsvError(f"{path}: line 1 is not {heading}; write to another file")
            file.seek(-1, os.SEEK_END)
            if file.read() != b"\n":  # end a truncated line before the next one
                file.write(b"\n")
    stream = path.open("a", newline="", encoding="utf-8")
    if stream.tell() == 0:
        Writer(stream).row(columns)
    return stream


def read(
    path: Path, columns: Sequence[str], record_of: Callable[[Mapping[str, str]], _Record], unread: Unread
) -> Iterator[_Record]:
    """Read a CSV file that the lab wrote, one record from each line; note unreadable lines in `unread` and go on.

    `record_of` makes a record from the fields by column, and raises ValueError if it cannot. The lab writes no field
    with a line feed, so an unclosed quote or a run of NUL bytes costs one line only. UTF-16 and byte order marks, which
    spreadsheets write, are accepted. Raises CsvError if a column is missing from the heading, OSError as open does.
    """
    with path.open("rb") as stream:
        utf_16 = stream.read(2) in _UTF_16
    encoding, errors = ("utf-16", "replace") if utf_16 else ("utf-8-sig", "surrogateescape")
    with path.open(encoding=encoding, errors=errors) as lines:
        yield from read_lines(lines, columns, record_of, unread, str(path))


def read_lines(
    lines: TextIO,
    columns: Sequence[str],
    record_of: Callable[[Mapping[str, str]], _Record],
    unread: Unread,
    name: str,
) -> Iterator[_Record]:
    """Read an open CSV file as `read` does; `name` is for messages."""
    try:
        heading = _fields(lines.readline(_MAX_CHARACTERS))
    except ValueError:
        heading = []
    if missing := [column for column in columns if column not in heading]:
        raise CsvError(
            f"{name}: line 1 is not a heading with {','.join(columns)}: missing {', '.join(missing)}"
        )
    for number, line in enumerate(iter(lambda: lines.readline(_MAX_CHARACTERS), ""), start=2):
        end = line
        while len(end) == _MAX_CHARACTERS and not end.endswith("\n"):  # the rest of a line that is too long
            end = lines.readline(_MAX_CHARACTERS)
        try:
            fields = _fields(line)
            if not fields or fields == heading:  # joined logs repeat the heading
                continue
            if len(fields) != len(heading):
                raise _LineError("a line with too few or too many fields")
            record = record_of(dict(zip(heading, fields, strict=True)))
        except _LineError as error:
            unread.note(str(error), f"line {number}")
        except ValueError:
            unread.note("a line with a value that is not valid for its column", f"line {number}")
        else:
            yield record


class _LineError(ValueError):
    """A line that cannot be read as a row, and the reason."""


def _fields(line: str) -> list[str]:
    if "\0" in line:
        raise _LineError("a line with NUL bytes")
    if not line.endswith("\n"):
        raise _LineError("a line that is too long" if len(line) == _MAX_CHARACTERS else "a truncated line")
    try:
        line.encode()
    except UnicodeEncodeError:
        raise _LineError("a line with bytes that are not UTF-8") from None
    try:
        return [from_csv(field) for field in next(csv.reader([line], strict=True), [])]
    except csv.Error:
        raise _LineError("a line with an unclosed quote") from None
