"""Tables like /etc/fstab: one object a line, columns by name, separated by tabs; `#` begins a comment.

Errors have the form `FILE:LINE: COLUMN: reason`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

_BYTE_ORDER_MARK = b"\xef\xbb\xbf".decode("ascii", "surrogateescape")
_FOREIGN_IN_PATH = re.compile(rb"[\x00-\x1f\x7f\"'`$\\#%]|  ")
MAX_PATH_BYTES = 240  # an alias or a rule's comment has at most 255, with a prefix


class TableError(Exception):
    """A table that is not valid; the message is `FILE:LINE: COLUMN: reason`."""


def path_fault(path: Path) -> str:
    """Return why a path is not possible for a table; empty if it is possible.

    The path is saved in the alias of a bridge and in the comment of a rule, so it must be valid in both.
    """
    found = os.fsencode(path)
    if foreign := _FOREIGN_IN_PATH.search(found):
        shown = os.fsdecode(_FOREIGN_IN_PATH.sub(b"?", found))
        reason = "a quote, a control character, two spaces or one of ` $ \\ # %; rename it"
        return f"{shown}: byte {foreign.start() + 1} of the path: {reason}"
    try:
        found.decode("utf-8")
    except UnicodeDecodeError:
        return f"{os.fsdecode(found)}: the path is not UTF-8; rename it"
    if len(found) > MAX_PATH_BYTES:
        return f"{path}: the path has {len(found)} bytes, a rule's comment holds {MAX_PATH_BYTES}; move it"
    return ""


class TableReader:
    """Reads one table; a subclass interprets each line in add_row().

    With `prose`, spaces are text within a column and not an error.
    """

    columns: Sequence[str] = ()
    optional: Sequence[str] = ()  # columns that a header may leave out: each value is then `-`
    error: type[TableError] = TableError
    prose = False

    def __init__(self, path: Path) -> None:
        self.path = path
        self.line_number = 0
        self.row: dict[str, str] = {}
        self.seen: dict[tuple[str, str], int] = {}

    def add_row(self) -> None:
        """Process `self.row`, which has all columns and no empty value."""
        raise NotImplementedError

    def refuse(self, column: str, reason: str) -> NoReturn:
        """Refuse the line that was read last."""
        raise self.error(f"{self.path}:{self.line_number}: {column}: {reason}")

    def require(self, condition: object, column: str, reason: str) -> None:
        """Refuse the line that was read last unless the condition holds."""
        if not condition:
            self.refuse(column, reason)

    def read_lines(self) -> None:
        """Read the whole file."""
        if fault := path_fault(self.path):
            raise self.error(fault)
        content = self.path.read_bytes()
        before, nul, _ = content.partition(b"\0")
        if nul:
            *lines, last = before.split(b"\n")
            self.line_number = len(lines) + 1
            self.refuse(f"byte {len(last) + 1}", "a NUL byte; a table is plain text")
        self._read_rows(content.decode("ascii", "surrogateescape"))

    def check_unique(self, column: str, value: str, scope: str = "") -> None:
        """Refuse a value that an earlier line has."""
        key = (scope or column, value)
        if key in self.seen:
            self.refuse(column, f'"{value}" is already used in line {self.seen[key]}')
        self.seen[key] = self.line_number

    def items(self, column: str, none: str = "-") -> list[str]:
        """Split a column at its commas."""
        if self.row[column] == none:
            return []
        items = self.row[column].split(",")
        self.require(all(items), column, f'"{self.row[column]}" has an empty item')
        return items

    def _read_rows(self, text: str) -> None:
        header: list[str] = []
        for self.line_number, line in enumerate(text.removesuffix("\n").split("\n"), start=1):
            if not line or line.startswith("#"):
                continue
            self._check_characters(line)
            fields = [value for value in line.split("\t") if value]
            if not header:
                self._check_header(fields)
                header = fields
                continue
            reason = f"the line has {len(fields)} columns, the header {len(header)}"
            self.require(len(fields) == len(header), f"column {len(fields)}", reason)
            self.row = dict.fromkeys(self.optional, "-") | dict(zip(header, fields, strict=True))
            self.add_row()
        self.require(header, self.columns[0], "the table has no header line")

    def _check_characters(self, line: str) -> None:
        if found := re.search("[^\t -~]" if self.prose else "[^\t!-~]", line):
            self.refuse(f"character {found.start() + 1}", _describe_bad_character(line[found.start() :]))
        self.require(line[0] != "\t", "character 1", "a tab at the beginning of the line")
        self.require(line[-1] != "\t", f"character {len(line)}", "a tab at the end of the line")

    def _check_header(self, fields: list[str]) -> None:
        for column in fields:
            known = f"unknown column; known are {' '.join(self.columns)}"
            self.require(column in self.columns, column, known)
            self.check_unique(column, column, "header")
        for column in self.columns:
            is_there = column in fields or column in self.optional
            self.require(is_there, column, "the column is missing from the header line")


def _describe_bad_character(rest: str) -> str:
    if rest[0] in " \v\f":
        return "a space or other white space; columns are separated by tabs alone"
    if rest[0] == "\r":
        return "a carriage return; end lines in a line feed alone"
    if rest.startswith(_BYTE_ORDER_MARK):
        return "a byte order mark; save the file without it"
    return "neither a tab nor printable ASCII"
