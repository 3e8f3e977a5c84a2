"""The chaos report as a PDF."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from reportlab.lib import colors
from reportlab.lib.pagesizes import A4, landscape
from reportlab.lib.styles import getSampleStyleSheet
from reportlab.lib.units import mm
from reportlab.platypus import Image, Paragraph, SimpleDocTemplate, Spacer, Table, TableStyle

LOOK = TableStyle(
    [
        ("FONTSIZE", (0, 0), (-1, -1), 8),
        ("LEADING", (0, 0), (-1, -1), 10),
        ("BACKGROUND", (0, 0), (-1, 0), colors.HexColor("#e8eef4")),
        ("FONTNAME", (0, 0), (-1, 0), "Helvetica-Bold"),
        ("ALIGN", (2, 0), (-2, -1), "RIGHT"),
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("LINEBELOW", (0, 0), (-1, -1), 0.4, colors.HexColor("#c5d0da")),
        ("TOPPADDING", (0, 0), (-1, -1), 1.5),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 2.5),
    ]
)


def write(
    path: Path, subtitle: str, findings: Sequence[str], rows: Sequence[Sequence[str]], timeline: Path
) -> None:
    """Write title, findings, the table (its first row is the head) and the picture."""
    styles = getSampleStyleSheet()
    document = SimpleDocTemplate(
        str(path),
        pagesize=landscape(A4),
        title="Chaos report",
        leftMargin=12 * mm,
        rightMargin=12 * mm,
        topMargin=12 * mm,
        bottomMargin=15 * mm,
    )
    small = styles["BodyText"].clone("small", fontSize=8, leading=10)
    head = small.clone("head", fontName="Helvetica-Bold")
    cells: list[list[Any]] = [[*row[:-1], Paragraph(escape(row[-1]), small)] for row in rows]
    cells[0][-1] = Paragraph(escape(rows[0][-1]), head)
    table = Table(
        cells, repeatRows=1, style=LOOK, hAlign="LEFT", colWidths=[None] * (len(rows[0]) - 1) + [48 * mm]
    )
    document.build(
        [
            Paragraph("Chaos report", styles["Title"]),
            Paragraph(escape(subtitle), styles["BodyText"]),
            *(Paragraph("• " + escape(finding), styles["BodyText"]) for finding in findings),
            Spacer(0, 4 * mm),
            Image(str(timeline), width=270 * mm, height=126 * mm),
            Spacer(0, 4 * mm),
            table,
        ],
        onFirstPage=number_page,
        onLaterPages=number_page,
    )


def number_page(canvas: Any, _document: Any) -> None:
    """Write the page's number, and the command that made the report."""
    canvas.setFont("Helvetica", 8)
    canvas.drawString(12 * mm, 8 * mm, "make chaos")
    canvas.drawRightString(landscape(A4)[0] - 12 * mm, 8 * mm, f"page {canvas.getPageNumber()}")
