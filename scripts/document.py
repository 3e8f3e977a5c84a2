"""A document of headings, paragraphs, tables and pictures, written as Markdown and as a PDF to print.

Every text is shown as it is: the languages of both are escaped here, and nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.escape import for_markdown
from scripts.whole_file import draft_of

_NUMBER = re.compile(r"[-+~<]?\d[\d,]*(\.\d+)?( ?(%|ms|s|us|[kMG]?B|bytes|times|packets/s|bytes/s))?")
_NONE = ("", "-", "unknown")


@dataclass(frozen=True)
class Rows:
    """A table; `widths` are shares of the page, of which a column takes no more than its texts need."""

    headings: Sequence[str]
    cells: Sequence[Sequence[object]]
    widths: Sequence[float]

    def texts(self) -> list[list[str]]:
        """Give the cells as people write them: 1,000 for a number; what is a text already stays."""
        return [[f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row] for row in self.cells]

    def are_numbers(self) -> list[bool]:
        """Tell which columns hold numbers, with or without a unit: these are aligned to the right."""
        columns = zip(*self.texts(), strict=True) if self.cells else ([] for _ in self.headings)
        told = ([text for text in column if text not in _NONE] for column in columns)
        return [bool(column) and all(map(_NUMBER.fullmatch, column)) for column in told]


@dataclass(frozen=True)
class Picture:
    """A PNG beside the document, printed at most `height` mm high and `width` mm wide."""

    path: Path
    alternative: str
    height: float = 150
    width: float = 300


Block = str | Rows | Picture


@dataclass(frozen=True)
class Section:
    """A heading, and what is below it."""

    heading: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Document:
    """All of it; `made` says when and by which command."""

    title: str
    made: str
    sections: Sequence[Section]


def write(document: Document, markdown: Path, pdf: Path) -> None:
    """Write both files."""
    with draft_of(markdown) as draft:
        draft.write_text(as_markdown(document), encoding="utf-8")
    write_pdf(document, pdf)


def write_pdf(document: Document, path: Path) -> None:
    """Print it on pages of A4, landscape."""
    from scripts.document_pages import print_pages  # noqa: PLC0415 - reportlab takes a while to load

    with draft_of(path) as draft:
        print_pages(document, draft)


def as_markdown(document: Document) -> str:
    """Write it as Markdown."""
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
    rows = [[for_markdown(cell) for cell in row] for row in (block.headings, *block.texts())]
    return [f"| {' | '.join(row)} |" for row in (rows[0], rule, *rows[1:])]
