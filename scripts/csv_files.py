"""CSV files: written whole or as before, without formulas; read line by line, what is no row of theirs being named."""

from __future__ import annotations

import codecs
import csv
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO, TypeVar

from scripts.escape import for_csv, from_csv
from scripts.unread import Unread
from scripts.whole_file import draft_of

_Record = TypeVar("_Record")
_MOST_CHARACTERS = 1 << 17  # of a line: what the csv module takes for a field
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class CsvError(ValueError):
    """Why a file is not the CSV file that it should be, in one line."""


@dataclass(frozen=True)
class Table:
    """A CSV file: its name without ending, its columns, its rows."""

    name: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]


class Writer:
    """Writes rows to a stream that is open already, as a log is."""

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
    """Write them, and give their paths."""
    written = []
    for table in tables:
        path = folder / f"{table.name}.csv"
        write_rows(path, table.columns, table.rows)
        written.append(path)
    return written


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Iterable[object]]) -> None:
    """Write one file."""
    with (
        draft_of(path) as draft,
        draft.open("w", newline="", encoding="utf-8", errors="backslashreplace") as stream,
    ):
        lines = Writer(stream)
        lines.row(columns)
        lines.rows(rows)


def open_to_append(path: Path, columns: Sequence[str]) -> TextIO:
    """Open a CSV file to add rows, with its heading when it is new. Raises CsvError for another file, OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    heading = ",".join(columns)
    with path.open("a+b") as there:
        there.seek(0)
        first = there.readline(_MOST_CHARACTERS).removeprefix(codecs.BOM_UTF8).rstrip(b"\r\n")
        if there.seek(0, os.SEEK_END):
            if first != heading.encode():
                raise CsvError(f"{path}: line 1 is not {heading}; write to another file")
            there.seek(-1, os.SEEK_END)
            if there.read() != b"\n":  # a line that a crash cut short must not take the next one with it
                there.write(b"\n")
    stream = path.open("a", newline="", encoding="utf-8")
    if stream.tell() == 0:
        Writer(stream).row(columns)
    return stream


def read(
    path: Path, columns: Sequence[str], record_of: Callable[[Mapping[str, str]], _Record], unread: Unread
) -> Iterator[_Record]:
    """Read a CSV file that the lab wrote, a record a line; note lines that are none in `unread` and go on.

    `record_of` makes the record, and raises ValueError for fields that are none. No field holds a line feed, so an
    open quote or a hole of NUL bytes costs its line only. UTF-16 and a byte order mark, which spreadsheets write, are
    read too. Raises CsvError when the heading lacks one of the columns, OSError when there is no such file.
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
    """Read a CSV file that is open; `name` is for messages."""
    try:
        heading = _fields(lines.readline(_MOST_CHARACTERS))
    except ValueError:
        heading = []
    if missing := [column for column in columns if column not in heading]:
        raise CsvError(
            f"{name}: line 1 is no heading with {','.join(columns)}: no column {', '.join(missing)}"
        )
    number = 1
    while line := lines.readline(_MOST_CHARACTERS):
        number += 1
        end = line
        while len(end) == _MOST_CHARACTERS and not end.endswith("\n"):  # the rest of a line that is too long
            end = lines.readline(_MOST_CHARACTERS)
        try:
            fields = _fields(line)
            if not fields or fields == heading:  # logs that were joined
                continue
            if len(fields) != len(heading):
                raise _Foreign("a line with too few or too many fields")
        except _Foreign as foreign:
            unread.note(str(foreign), f"line {number}")
            continue
        try:
            yield record_of(dict(zip(heading, fields, strict=True)))
        except ValueError:
            unread.note("a line with a value that its column cannot have", f"line {number}")


class _Foreign(ValueError):
    """Why a line is none of this file's."""


def _fields(line: str) -> list[str]:
    if "\0" in line:
        raise _Foreign("a line with NUL bytes")
    if not line.endswith("\n"):
        raise _Foreign(
            "a line that is too long" if len(line) == _MOST_CHARACTERS else "a line that is cut short"
        )
    try:
        line.encode()
    except UnicodeEncodeError:
        raise _Foreign("a line with bytes that are not UTF-8") from None
    try:
        return [from_csv(field) for field in next(csv.reader([line], strict=True), [])]
    except csv.Error:
        raise _Foreign("a line with an open quote") from None
