"""A document of headings, paragraphs, tables and pictures, written as Markdown and as a PDF to print.

Callers pass plain text; it is escaped where a document is written.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.escape import code_for_markdown, for_markdown

_NUMBER = re.compile(r"[-+~<]?\d[\d,]*(\.\d+)?( ?(%|ms|s|us|[kMG]?B|bytes|times|packets/s|bytes/s))?")
_RAW_NAME = re.compile(r"[a-z]_[a-z]")
_NO_VALUE = ("", "-", "unknown")


@dataclass(frozen=True)
class Rows:
    """A table; `widths` are the columns' shares of the page, though a column is no wider than its texts need.

    The columns whose headings are in `code` are monospaced. A newline in a cell begins a line.
    """

    headings: Sequence[str]
    cells: Sequence[Sequence[object]]
    widths: Sequence[float]
    code: Sequence[str] = ()

    def __post_init__(self) -> None:
        """Refuse a heading that is the raw name of a column. Raises ValueError."""
        if raw := [heading for heading in self.headings if _RAW_NAME.search(heading)]:
            raise ValueError(f'"{raw[0]}" is a raw name; write the heading in words')

    def texts(self) -> list[list[str]]:
        """Return the cells as text, numbers with separators and at most two decimals."""
        return [[_text(cell) for cell in row] for row in self.cells]

    def are_numbers(self) -> list[bool]:
        """Return for each column whether it has numbers, with or without a unit; these are aligned to the right."""
        columns = zip(*self.texts(), strict=True) if self.cells else ([] for _ in self.headings)
        values = ([text for text in column if text not in _NO_VALUE] for column in columns)
        return [bool(column) and all(map(_NUMBER.fullmatch, column)) for column in values]


def _text(cell: object) -> str:
    if isinstance(cell, float):
        return f"{cell:,.2f}".removesuffix(".00")
    return f"{cell:,}" if isinstance(cell, int) else str(cell)


@dataclass(frozen=True)
class Picture:
    """A PNG beside the document, printed at its own size, so that its fonts keep their size.

    `alternative` says in words what the picture shows.
    """

    path: Path
    alternative: str


Block = str | Rows | Picture


@dataclass(frozen=True)
class Section:
    """A heading, and the blocks below it."""

    heading: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Document:
    """A whole document; `made` is when it was made and by which command."""

    title: str
    made: str
    sections: Sequence[Section]


def as_markdown(document: Document) -> str:
    """Return a document as Markdown."""
    lines = [f"# {for_markdown(document.title)}", "", for_markdown(document.made), ""]
    for section in document.sections:
        lines += [f"## {for_markdown(section.heading)}", ""]
        for block in section.blocks:
            lines += [*_markdown(block), ""]
    return "\n".join(lines).rstrip() + "\n"


def _markdown(block: Block) -> list[str]:
    if isinstance(block, str):
        return [for_markdown(block)]
    if isinstance(block, Picture):
        return [f"![{for_markdown(block.alternative)}]({block.path.name})"]
    rule = ["---:" if number else "---" for number in block.are_numbers()]
    escapes = [code_for_markdown if heading in block.code else for_markdown for heading in block.headings]
    rows = [
        ["<br>".join(map(escape, cell.split("\n"))) for escape, cell in zip(escapes, row, strict=True)]
        for row in block.texts()
    ]
    return [f"| {' | '.join(row)} |" for row in (map(for_markdown, block.headings), rule, *rows)]
