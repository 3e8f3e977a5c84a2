"""Write a document to files, completely or not at all."""

from __future__ import annotations

from pathlib import Path

from lab.document import Document, as_markdown
from lab.whole_file import draft_of


def write(document: Document, markdown: Path, pdf: Path) -> None:
    """Write a document as Markdown and as PDF."""
    with draft_of(markdown) as draft:
        draft.write_text(as_markdown(document), encoding="utf-8")
    write_pdf(document, pdf)


def write_pdf(document: Document, path: Path) -> None:
    """Write a document as PDF: A4, landscape."""
    from lab.document_pages import print_pages  # noqa: PLC0415 - reportlab takes a while to load

    with draft_of(path) as draft:
        print_pages(document, draft)
