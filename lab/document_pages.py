"""The PDF of a document, by reportlab: keep headings with their first block, avoid a nearly empty last page."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from reportlab.lib import colors
from reportlab.lib.pagesizes import A4, landscape
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase.pdfmetrics import stringWidth
from reportlab.platypus import (
    ActionFlowable,
    CondPageBreak,
    Flowable,
    Image,
    KeepTogether,
    Paragraph,
    SimpleDocTemplate,
    Spacer,
    Table,
    TableStyle,
)

from lab.document import Block, Document, Picture, Rows, Section
from lab.escape import for_pdf, on_one_line, shortened

_INK, _FAINT, _BAND = colors.HexColor("#1b2733"), colors.HexColor("#5b6b7a"), colors.HexColor("#e8eef4")
_BODY = ParagraphStyle("body", fontName="Helvetica", fontSize=9, leading=12, textColor=_INK)
_CELL = ParagraphStyle("cell", _BODY, fontSize=8, leading=10)
_SMALL_CELL = ParagraphStyle("small cell", _CELL, fontSize=6.5, leading=8)
_CODE = ParagraphStyle("code", _SMALL_CELL, fontName="Courier")
_TITLE = ParagraphStyle("title", _BODY, fontName="Helvetica-Bold", fontSize=18, leading=22)
_SECTION = ParagraphStyle("section", _TITLE, fontSize=12, leading=15, spaceBefore=10, spaceAfter=4)
_SMALL = ParagraphStyle("small", _BODY, textColor=_FAINT)
_MANY_COLUMNS, _MAX_CELL = 9, 400  # _MAX_CELL in characters
_MARGIN, _PADDING = 12 * mm, 6  # the padding is that of reportlab's frames
_WIDTH = landscape(A4)[0] - 2 * (_MARGIN + _PADDING)
_HEIGHT = landscape(A4)[1] - 2 * (_MARGIN + _PADDING) - 3 * mm
_GAP = 24  # space between columns
_MIN_ROOM = 30 * mm
_FEW_ROWS = 4  # a table is not split so that fewer rows are alone on a page
_KEPT_WHOLE = 0.75  # share of a page: a taller section may be split
_NEARLY_EMPTY = 0.2  # share of a page
# Layouts to try until the last page is not nearly empty: scale of pictures and gaps, share of a page's height.
_TRIALS = (
    *((scale, 1.0) for scale in (1.0, 0.9, 0.8, 0.7, 0.6)),
    (1.0, 0.9),
    (1.0, 0.8),
    (1.0, 0.7),
    (1.0, 1.0),
)
_LOOK: list[Any] = [
    ("VALIGN", (0, 0), (-1, -1), "TOP"),
    ("BACKGROUND", (0, 0), (-1, 0), _BAND),
    ("LINEBELOW", (0, 0), (-1, -1), 0.4, colors.HexColor("#c5d0da")),
    ("LEFTPADDING", (0, 0), (-1, -1), 4),
    ("RIGHTPADDING", (0, 0), (-1, -1), 4),
    ("TOPPADDING", (0, 0), (-1, -1), 2.5),
    ("BOTTOMPADDING", (0, 0), (-1, -1), 3.5),
]


class _Pages(SimpleDocTemplate):
    """Pages that note how much of each page's height is used."""

    def __init__(self, path: Path, title: str, share: float) -> None:
        super().__init__(
            str(path),
            pagesize=landscape(A4),
            title=shortened(on_one_line(title), _MAX_CELL),
            leftMargin=_MARGIN,
            rightMargin=_MARGIN,
            topMargin=_MARGIN,
            bottomMargin=_MARGIN + 3 * mm + (1 - share) * _HEIGHT,
        )
        self.used: dict[int, float] = {}

    def afterFlowable(self, flowable: Flowable) -> None:
        """Note where a flowable ends; spacers do not count."""
        if not isinstance(flowable, (Spacer, ActionFlowable)):
            frame: Any = self.frame  # reportlab's type stubs omit the frame's positions
            self.used[self.page] = frame._y2 - frame._y

    @property
    def last_is_nearly_empty(self) -> bool:
        """Return whether there are several pages and the last is hardly used."""
        return self.page > 1 and self.used.get(self.page, 0.0) < _NEARLY_EMPTY * _HEIGHT


def print_pages(document: Document, path: Path) -> None:
    """Write a document to `path`, with smaller pictures or shorter pages if the last page would be nearly empty."""
    for tightness, share in _TRIALS:
        pages = _Pages(path, document.title, share)
        pages.build(_story(document, tightness), onFirstPage=_foot, onLaterPages=_foot)
        if not pages.last_is_nearly_empty:
            return


def _foot(canvas: Any, pages: Any) -> None:
    canvas.setFont("Helvetica", 8)
    canvas.setFillColor(_FAINT)
    canvas.drawString(_MARGIN + _PADDING, 8 * mm, pages.title)
    canvas.drawRightString(pages.pagesize[0] - _MARGIN - _PADDING, 8 * mm, f"page {pages.page}")


def _story(document: Document, tightness: float) -> list[Flowable]:
    story: list[Flowable] = [
        Paragraph(for_pdf(document.title), _TITLE),
        Paragraph(for_pdf(document.made), _SMALL),
    ]
    for section in document.sections:
        story += _section(section, tightness)
    return story


def _section(section: Section, tightness: float) -> list[Flowable]:
    """Return a section: on one page if it is short, else with its heading above its first block."""
    blocks: list[Flowable] = []
    for block in section.blocks:
        flowable = _flowable(block, tightness)
        before = blocks[-2] if blocks else None
        if isinstance(before, Image) and isinstance(flowable, Table) and _fits_beside(before, flowable):
            blocks[-2] = _Beside(before, flowable)
        else:
            blocks += [flowable, Spacer(1, 2 * mm * tightness)]
    flowables = [Paragraph(for_pdf(section.heading), _SECTION), *blocks]
    if sum(_height(flowable) for flowable in flowables) <= _KEPT_WHOLE * _HEIGHT:
        return [KeepTogether(flowables)]
    return [CondPageBreak(_room_for(flowables)), *flowables]


def _fits_beside(image: Image, table: Table) -> bool:
    width, height = table.wrap(_WIDTH, _HEIGHT)
    return image.drawWidth + _GAP + width <= _WIDTH and height <= _KEPT_WHOLE * _HEIGHT


class _Beside(Table):
    """A picture with a narrow table to its right, on one page."""

    def __init__(self, image: Image, table: Table) -> None:
        padding = [(f"{side}PADDING", (0, 0), (-1, -1), 0) for side in ("LEFT", "RIGHT", "TOP", "BOTTOM")]
        widths = [image.drawWidth + _GAP, table.wrap(_WIDTH, _HEIGHT)[0]]
        look = TableStyle([("VALIGN", (0, 0), (-1, -1), "TOP"), *padding])
        super().__init__([[image, table]], colWidths=widths, style=look, hAlign="LEFT")


def _height(flowable: Flowable) -> float:
    return flowable.wrap(_WIDTH, _HEIGHT)[1] + flowable.getSpaceBefore() + flowable.getSpaceAfter()


def _room_for(flowables: list[Flowable]) -> float:
    """Return the height that a section needs to begin on a page: its heading, and part of its first block."""
    room = _height(flowables[0])
    for flowable in flowables[1:]:
        height = _height(flowable)
        if isinstance(flowable, (Image, _Beside)) or room + height < _MIN_ROOM:
            room += height
        else:
            room += _MIN_ROOM
        if room >= _MIN_ROOM:
            break
    return room


def _flowable(block: Block, tightness: float) -> Flowable:
    if isinstance(block, str):
        return Paragraph(for_pdf(block), _BODY)
    return _table(block) if isinstance(block, Rows) else _picture(block, tightness)


def _table(rows: Rows) -> Table:
    styles = _styles(rows)
    lines = [
        [
            Paragraph(for_pdf(text, max_length=_MAX_CELL), style)
            for text, style in zip(texts, line, strict=True)
        ]
        for texts, line in [(rows.headings, styles[0]), *((texts, styles[1]) for texts in rows.texts())]
    ]
    together = [("NOSPLIT", (0, 0), (-1, _FEW_ROWS)), ("NOSPLIT", (0, -_FEW_ROWS), (-1, -1))]
    few = len(lines) <= _FEW_ROWS
    look = TableStyle([*_LOOK, *([("NOSPLIT", (0, 0), (-1, -1))] if few else together)])
    return Table(lines, colWidths=_widths(rows, *styles), style=look, repeatRows=1, hAlign="LEFT")


def _styles(rows: Rows) -> tuple[list[ParagraphStyle], list[ParagraphStyle]]:
    """Return the style of each column's heading, and of its cells."""
    size = _SMALL_CELL if len(rows.headings) > _MANY_COLUMNS else _CELL
    heads, cells = [], []
    for heading, is_number in zip(rows.headings, rows.are_numbers(), strict=True):
        side: Literal[0, 2] = 2 if is_number else 0  # align right or left
        heads.append(ParagraphStyle("head", size, fontName="Helvetica-Bold", alignment=side))
        cells.append(ParagraphStyle("cell", _CODE if heading in rows.code else size, alignment=side))
    return heads, cells


def _widths(rows: Rows, heads: list[ParagraphStyle], cells: list[ParagraphStyle]) -> list[float]:
    """Return the columns' widths: the width of the text, or a share of the rest of the page."""
    needed = [
        max(
            stringWidth(max(text.split("\n"), key=len), style.fontName, style.fontSize)
            for text, style in [(heading, head), *((text, cell) for text in column)]
        )
        + _GAP
        for head, cell, heading, *column in zip(heads, cells, rows.headings, *rows.texts(), strict=True)
    ]
    left, shares, widths = _WIDTH, float(sum(rows.widths)), [0.0] * len(needed)
    for at in sorted(range(len(needed)), key=lambda at: needed[at] / rows.widths[at]):
        widths[at] = min(needed[at], left * rows.widths[at] / shares)  # other columns share unused width
        left, shares = left - widths[at], shares - rows.widths[at]
    return widths


def _picture(picture: Picture, tightness: float) -> Image:
    image = Image(str(picture.path), hAlign="LEFT")
    scale = min(
        min(_WIDTH, picture.width * mm) / image.imageWidth,
        picture.height * tightness * mm / image.imageHeight,
    )
    image.drawWidth, image.drawHeight = image.imageWidth * scale, image.imageHeight * scale
    return image
