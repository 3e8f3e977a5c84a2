"""The PDF of a document, by reportlab: keep headings with their first block, avoid a nearly empty last page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from reportlab.lib import colors
from reportlab.lib.pagesizes import A4, landscape
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import inch, mm
from reportlab.lib.utils import ImageReader
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

from lab.colours import BAND, FAINT, INK, LINE
from lab.document import Block, Document, Picture, Rows, Section
from lab.escape import for_pdf, on_one_line, shortened

SMALLEST = 9  # points
_INK, _FAINT, _BAND = map(colors.HexColor, (INK, FAINT, BAND))
_BODY = ParagraphStyle("body", fontName="Helvetica", fontSize=10, leading=13, textColor=_INK)
_CELL = ParagraphStyle("cell", _BODY, fontSize=SMALLEST, leading=11)
_CODE = ParagraphStyle("code", _CELL, fontName="Courier")
_TITLE = ParagraphStyle("title", _BODY, fontName="Helvetica-Bold", fontSize=18, leading=22)
_SECTION = ParagraphStyle("section", _TITLE, fontSize=13, leading=16, spaceBefore=10, spaceAfter=4)
_SMALL = ParagraphStyle("small", _BODY, fontSize=SMALLEST, textColor=_FAINT)
_MAX_CELL = 400  # characters
_MARGIN, _PADDING = 12 * mm, 6  # the padding is that of reportlab's frames
_WIDTH = landscape(A4)[0] - 2 * (_MARGIN + _PADDING)
_HEIGHT = landscape(A4)[1] - 2 * (_MARGIN + _PADDING) - 3 * mm
_GAP = 14  # space between columns
_CELL_PADDING = 9
_MAX_WORD = 22  # characters: a longer one may be broken
_MIN_ROOM = 30 * mm
_HEADING = 12 * mm  # a section's heading, above a picture
_FEW_ROWS = 4  # a table is not split so that fewer rows are alone on a page
_KEPT_WHOLE = 0.5  # share of a page: a taller section may be split
_BESIDE = 0.85  # share of a page: a taller table is below its picture
_NEARLY_EMPTY = 0.25  # share of a page
# Shares of a page's height to fill, in turn, until no page is nearly empty.
_SHARES = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65)
_LOOK: list[Any] = [
    ("VALIGN", (0, 0), (-1, -1), "TOP"),
    ("BACKGROUND", (0, 0), (-1, 0), _BAND),
    ("LINEBELOW", (0, 0), (-1, -1), 0.4, colors.HexColor(LINE)),
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
    def nearly_empty(self) -> int:
        """Return how many pages are hardly used, if there are several."""
        pages = range(1, self.page + 1) if self.page > 1 else ()
        return sum(self.used.get(page, 0.0) < _NEARLY_EMPTY * _HEIGHT for page in pages)


def print_pages(document: Document, path: Path) -> None:
    """Write a document to `path`, with shorter pages if a page would be nearly empty.

    Raises ValueError for a picture that is larger than a page.
    """
    pictures = (flowable for flowable in _story(document) if isinstance(flowable, (Image, _Beside)))
    tallest = max(map(_height, pictures), default=0.0) + _MIN_ROOM
    shares = [share for share in _SHARES if share == 1 or tallest < share * _HEIGHT]
    empty: dict[float, int] = {}
    for share in shares:
        empty[share] = _print(document, path, share).nearly_empty
        if not empty[share]:
            return
    _print(document, path, min(shares, key=lambda share: (empty[share], -share)))


def _print(document: Document, path: Path, share: float) -> _Pages:
    pages = _Pages(path, document.title, share)
    pages.build(_story(document), onFirstPage=_foot, onLaterPages=_foot)
    return pages


def _foot(canvas: Any, pages: Any) -> None:
    canvas.setFont("Helvetica", SMALLEST)
    canvas.setFillColor(_FAINT)
    canvas.drawString(_MARGIN + _PADDING, 8 * mm, pages.title)
    canvas.drawRightString(pages.pagesize[0] - _MARGIN - _PADDING, 8 * mm, f"page {pages.page}")


def _story(document: Document) -> list[Flowable]:
    story: list[Flowable] = [
        Paragraph(for_pdf(document.title), _TITLE),
        Paragraph(for_pdf(document.made), _SMALL),
    ]
    for section in document.sections:
        story += _section(section)
    return story


def _section(section: Section) -> list[Flowable]:
    """Return a section: on one page if it is short, else with its heading above its first block."""
    blocks: list[Flowable] = []
    for block in section.blocks:
        flowable = _flowable(block)
        before = blocks[-2] if blocks else None
        if isinstance(before, Image) and isinstance(flowable, Table) and _fits_beside(before, flowable):
            blocks[-2] = _Beside(before, flowable)
        else:
            blocks += [flowable, Spacer(1, 2 * mm)]
    flowables = [Paragraph(for_pdf(section.heading), _SECTION), *blocks]
    if sum(_height(flowable) for flowable in flowables) <= _KEPT_WHOLE * _HEIGHT:
        return [KeepTogether(flowables)]
    return [CondPageBreak(_room_for(flowables)), *flowables]


def _fits_beside(image: Image, table: Table) -> bool:
    width, height = table.wrap(_WIDTH, _HEIGHT)
    return image.drawWidth + _GAP + width <= _WIDTH and height <= _BESIDE * _HEIGHT


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
        if isinstance(flowable, Table) and not isinstance(flowable, _Beside):
            heights = _row_heights(flowable)
            room += sum(heights[: _rows_together(heights)])
        elif isinstance(flowable, (Image, _Beside)) or room + height < _MIN_ROOM:
            room += height
        else:
            room += _MIN_ROOM
        if room >= _MIN_ROOM:
            break
    return room


def _flowable(block: Block) -> Flowable:
    if isinstance(block, str):
        return Paragraph(for_pdf(block), _BODY)
    return _table(block) if isinstance(block, Rows) else _picture(block)


def _table(rows: Rows) -> Table:
    styles = _styles(rows)
    lines = [
        [
            Paragraph("<br/>".join(for_pdf(part, max_length=_MAX_CELL) for part in text.split("\n")), style)
            for text, style in zip(texts, line, strict=True)
        ]
        for texts, line in [(rows.headings, styles[0]), *((texts, styles[1]) for texts in rows.texts())]
    ]
    widths = _widths(rows, *styles)
    table = Table(lines, colWidths=widths, style=TableStyle(_LOOK), repeatRows=1, hAlign="LEFT")
    heights = _row_heights(table)
    start, end = _rows_together(heights), _rows_together(heights[::-1])
    if start + end >= len(lines) and sum(heights) < _KEPT_WHOLE * _HEIGHT:
        start = len(lines)
    table.setStyle(TableStyle([("NOSPLIT", (0, 0), (-1, start - 1)), ("NOSPLIT", (0, -end), (-1, -1))]))
    return table


def _row_heights(table: Table) -> list[float]:
    table.wrap(_WIDTH, _HEIGHT)
    laid_out: Any = table  # the type stubs omit the heights
    return list(laid_out._rowHeights)


def _rows_together(heights: Sequence[float]) -> int:
    """Return how many rows at an end of a table are not split: a few, or as many as have the height of a few."""
    count = min(len(heights), _FEW_ROWS + 1)
    return next((at for at in range(2, count) if sum(heights[:at]) >= _MIN_ROOM), count)


def _styles(rows: Rows) -> tuple[list[ParagraphStyle], list[ParagraphStyle]]:
    """Return the style of each column's heading, and of its cells."""
    heads, cells = [], []
    for heading, is_number in zip(rows.headings, rows.are_numbers(), strict=True):
        side: Literal[0, 2] = 2 if is_number else 0  # align right or left
        heads.append(ParagraphStyle("head", _CELL, fontName="Helvetica-Bold", alignment=side))
        cells.append(ParagraphStyle("cell", _CODE if heading in rows.code else _CELL, alignment=side))
    return heads, cells


def _widths(rows: Rows, heads: list[ParagraphStyle], cells: list[ParagraphStyle]) -> list[float]:
    """Return the columns' widths: the width of the text, or a share of the rest of the page."""
    columns = list(zip(heads, cells, rows.headings, *rows.texts(), strict=True))
    needed = [max(_text_widths(*column, whole=True)) + _GAP for column in columns]
    least = [max(_text_widths(*column, whole=False)) + _CELL_PADDING for column in columns]
    if sum(least) > _WIDTH:
        least = [0.0] * len(needed)
    left, shares, widths = _WIDTH - sum(least), float(sum(rows.widths)), least.copy()
    missing = [max(0.0, need - width) for need, width in zip(needed, least, strict=True)]
    for at in sorted(range(len(needed)), key=lambda at: missing[at] / rows.widths[at]):
        more = min(missing[at], left * rows.widths[at] / shares)  # other columns share unused width
        widths[at] += more
        left, shares = left - more, shares - rows.widths[at]
    return widths


def _text_widths(
    head: ParagraphStyle, cell: ParagraphStyle, heading: str, *texts: str, whole: bool
) -> Iterator[float]:
    """Yield the width of each whole line of a column, or of each word that should not be broken."""
    yield 0.0
    for text, style in [(heading, head), *((text, cell) for text in texts)]:
        for part in text.split("\n") if whole else text.split():
            if whole or len(part) <= _MAX_WORD:
                yield stringWidth(part, style.fontName, style.fontSize)


def _picture(picture: Picture) -> Image:
    """Return a picture at its own size: its dots at its dots per inch."""
    image = Image(str(picture.path), hAlign="LEFT")
    opened: Any = ImageReader(str(picture.path))  # the type stubs omit its image
    density = opened._image.info["dpi"][0]
    image.drawWidth, image.drawHeight = (
        pixels * inch / density for pixels in (image.imageWidth, image.imageHeight)
    )
    if image.drawWidth > _WIDTH + 1 or image.drawHeight > _HEIGHT - _HEADING:
        raise ValueError(
            f"{picture.path.name} is larger than a page, {_WIDTH:.0f} by {_HEIGHT - _HEADING:.0f} points"
        )
    return image
