"""A document of headings, paragraphs, tables and pictures, written as Markdown and as a PDF to print."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from reportlab.lib import colors
from reportlab.lib.pagesizes import A4, landscape
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.platypus import (
    CondPageBreak,
    Flowable,
    Image,
    Paragraph,
    SimpleDocTemplate,
    Spacer,
    Table,
    TableStyle,
)

_INK, _FAINT, _BAND = colors.HexColor("#1b2733"), colors.HexColor("#5b6b7a"), colors.HexColor("#e8eef4")
_BODY = ParagraphStyle("body", fontName="Helvetica", fontSize=9, leading=12, textColor=_INK)
_CELL = ParagraphStyle("cell", _BODY, fontSize=8, leading=10)
_HEAD = ParagraphStyle("head", _CELL, fontName="Helvetica-Bold")
_SMALL_CELL = ParagraphStyle("small cell", _CELL, fontSize=6.5, leading=8)
_SMALL_HEAD = ParagraphStyle("small head", _SMALL_CELL, fontName="Helvetica-Bold")
_MANY_COLUMNS = 9
_TITLE = ParagraphStyle("title", _BODY, fontName="Helvetica-Bold", fontSize=18, leading=22)
_SECTION = ParagraphStyle("section", _TITLE, fontSize=12, leading=15, spaceBefore=10, spaceAfter=4)
_SMALL = ParagraphStyle("small", _BODY, textColor=_FAINT)
_MARGIN = 12 * mm
_LEAST_ROOM = 30 * mm
_WIDTH = landscape(A4)[0] - 2 * _MARGIN
_LOOK = TableStyle(
    [
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("BACKGROUND", (0, 0), (-1, 0), _BAND),
        ("LINEBELOW", (0, 0), (-1, -1), 0.4, colors.HexColor("#c5d0da")),
        ("LEFTPADDING", (0, 0), (-1, -1), 4),
        ("RIGHTPADDING", (0, 0), (-1, -1), 4),
        ("TOPPADDING", (0, 0), (-1, -1), 2.5),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 3.5),
    ]
)


@dataclass(frozen=True)
class Rows:
    """A table; `widths` are shares of the page."""

    headings: Sequence[str]
    cells: Sequence[Sequence[object]]
    widths: Sequence[float]


@dataclass(frozen=True)
class Picture:
    """A PNG beside the document, printed at most `height` mm high."""

    path: Path
    alternative: str
    height: float = 150


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
    markdown.parent.mkdir(parents=True, exist_ok=True)
    markdown.write_text(as_markdown(document), encoding="utf-8")
    write_pdf(document, pdf)


def as_markdown(document: Document) -> str:
    """Write it as Markdown."""
    lines = [f"# {document.title}", "", document.made, ""]
    for section in document.sections:
        lines += [f"## {section.heading}", ""]
        for block in section.blocks:
            lines += [*_markdown(block), ""]
    return "\n".join(lines).rstrip() + "\n"


def _markdown(block: Block) -> list[str]:
    if isinstance(block, str):
        return [block]
    if isinstance(block, Picture):
        return [f"![{block.alternative}]({block.path.name})"]
    rows = [block.headings, ["---"] * len(block.headings), *block.cells]
    return [f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in row)} |" for row in rows]


def write_pdf(document: Document, path: Path) -> None:
    """Print it, landscape A4; a table that is too long goes on with its heading on the next page."""
    template = SimpleDocTemplate(
        str(path),
        pagesize=landscape(A4),
        title=document.title,
        leftMargin=_MARGIN,
        rightMargin=_MARGIN,
        topMargin=_MARGIN,
        bottomMargin=_MARGIN + 3 * mm,
    )
    story: list[Flowable] = [
        Paragraph(escape(document.title), _TITLE),
        Paragraph(escape(document.made), _SMALL),
    ]
    for section in document.sections:
        story += [CondPageBreak(_room_for(section)), Paragraph(escape(section.heading), _SECTION)]
        for block in section.blocks:
            story += [_flowable(block), Spacer(1, 2 * mm)]

    def footer(canvas: Any, template: Any) -> None:
        canvas.setFont("Helvetica", 8)
        canvas.setFillColor(_FAINT)
        canvas.drawString(_MARGIN, 8 * mm, document.title)
        canvas.drawRightString(template.pagesize[0] - _MARGIN, 8 * mm, f"page {template.page}")

    template.build(story, onFirstPage=footer, onLaterPages=footer)


def _room_for(section: Section) -> float:
    """Give the height without which a section begins on the next page: its heading is never alone."""
    first = next(iter(section.blocks), "")
    return _LEAST_ROOM + (_picture(first).drawHeight if isinstance(first, Picture) else 0)


def _flowable(block: Block) -> Flowable:
    if isinstance(block, str):
        return Paragraph(escape(block), _BODY)
    if isinstance(block, Picture):
        return _picture(block)
    wide = len(block.headings) > _MANY_COLUMNS
    head_style, cell_style = (_SMALL_HEAD, _SMALL_CELL) if wide else (_HEAD, _CELL)
    head = [Paragraph(escape(heading), head_style) for heading in block.headings]
    body = [[Paragraph(escape(str(cell)), cell_style) for cell in row] for row in block.cells]
    whole = sum(block.widths)
    widths = [_WIDTH * share / whole for share in block.widths]
    return Table([head, *body], colWidths=widths, style=_LOOK, repeatRows=1)


def _picture(picture: Picture) -> Image:
    image = Image(str(picture.path))
    scale = min(_WIDTH / image.imageWidth, picture.height * mm / image.imageHeight)
    image.drawWidth, image.drawHeight = image.imageWidth * scale, image.imageHeight * scale
    return image
