"""The page of the lab's rules as a PDF to print."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reportlab.lib import colors
from reportlab.lib.pagesizes import A4, landscape
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.platypus import (
    Flowable,
    KeepTogether,
    Paragraph,
    SimpleDocTemplate,
    Spacer,
    Table,
    TableStyle,
)

from lab.escape import for_pdf
from lab.whole_file import draft_of
from security.rules.described import CELLS, NOTE, TITLE, Page, Row, spoken

_INK, _FAINT, _BAND = colors.HexColor("#1b2733"), colors.HexColor("#5b6b7a"), colors.HexColor("#e8eef4")
_BODY = ParagraphStyle("body", fontName="Helvetica", fontSize=8, leading=10, textColor=_INK)
_NUMBER = ParagraphStyle("number", _BODY, alignment=2)
_CODE = ParagraphStyle("code", _BODY, fontName="Courier", fontSize=6.5, leading=8)
_HEAD = ParagraphStyle("head", _BODY, fontName="Helvetica-Bold")
_NUMBER_HEAD = ParagraphStyle("number head", _HEAD, alignment=2)
_SECTION = ParagraphStyle("section", _HEAD, fontSize=11, leading=14, spaceBefore=10, spaceAfter=3)
_HEADLINE = ParagraphStyle("headline", _HEAD, fontSize=18, leading=22)
_SMALL = ParagraphStyle("small", _BODY, textColor=_FAINT)
_STYLES = (_NUMBER, _BODY, _BODY, _NUMBER, _NUMBER, _CODE)
_WIDTHS = tuple(width * mm for width in (8, 80, 58, 17, 18, 87))
_PLAIN = TableStyle(
    [
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("LINEBELOW", (0, 0), (-1, -1), 0.4, colors.HexColor("#c5d0da")),
        ("LEFTPADDING", (0, 0), (-1, -1), 4),
        ("RIGHTPADDING", (0, 0), (-1, -1), 4),
        ("TOPPADDING", (0, 0), (-1, -1), 2.5),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 3.5),
    ]
)
_LOOK = TableStyle([("BACKGROUND", (0, 0), (-1, 0), _BAND)], parent=_PLAIN)


def write_pdf(page: Page, path: Path) -> None:
    """Print the page as a PDF, landscape A4, a table a chain."""
    story = [*_pdf_head(page), *(_pdf_chain(name, rows) for name, rows in page.chains), *_pdf_unread(page)]
    with draft_of(path) as draft:
        document = SimpleDocTemplate(
            str(draft),
            pagesize=landscape(A4),
            title=TITLE,
            leftMargin=12 * mm,
            rightMargin=12 * mm,
            topMargin=12 * mm,
            bottomMargin=15 * mm,
        )
        document.build(story, onFirstPage=_pdf_footer, onLaterPages=_pdf_footer)


def _pdf_head(page: Page) -> list[Flowable]:
    made = f"generated on {page.generated} by <font name='Courier'>{for_pdf(page.command)}</font>"
    journeys = [
        [
            Paragraph(for_pdf(name), _HEAD),
            Paragraph(" &nbsp;-&gt;&nbsp; ".join(map(for_pdf, stations)), _BODY),
        ]
        for name, stations in page.journeys.items()
    ]
    return [
        Paragraph(TITLE, _HEADLINE),
        Paragraph(made, _SMALL),
        Paragraph("What a packet meets, in this order", _SECTION),
        Table(journeys, colWidths=(50 * mm, 218 * mm), style=_PLAIN),
        Spacer(1, 2 * mm),
        Paragraph(NOTE, _SMALL),
    ]


def _pdf_chain(name: str, rows: Sequence[Row]) -> Flowable:
    head = [
        Paragraph(cell, _NUMBER_HEAD if style is _NUMBER else _HEAD)
        for cell, style in zip(CELLS, _STYLES, strict=True)
    ]
    body = [
        [Paragraph(for_pdf(cell), style) for cell, style in zip(row.cells, _STYLES, strict=True)]
        for row in rows
    ]
    return KeepTogether(
        [
            Paragraph(for_pdf(name), _SECTION),
            Table([head, *body], colWidths=_WIDTHS, style=_LOOK, repeatRows=1),
        ]
    )


def _pdf_unread(page: Page) -> list[Flowable]:
    if not page.unread:
        return []
    return [
        Paragraph("Lines that could not be read", _SECTION),
        *(Paragraph(for_pdf(spoken(unread)), _CODE) for unread in page.unread),
    ]


def _pdf_footer(canvas: Any, document: Any) -> None:
    canvas.setFont("Helvetica", 8)
    canvas.setFillColor(_FAINT)
    canvas.drawString(document.leftMargin, 8 * mm, TITLE)
    canvas.drawRightString(document.pagesize[0] - document.rightMargin, 8 * mm, f"page {document.page}")
