"""What may be wrong with the pages of a PDF: small fonts, pages with two lines, raw names of columns."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

SMALLEST = 9.0  # points
_ZOOM = 3  # at most; pdftohtml rounds the size of a font to whole numbers
_LEAST_FILLED = 0.15  # share of a page's height, without its margins
_DPI, _MARGIN = 20, 12  # dots an inch; the margin and the foot in dots
# Names with an underscore that a reader meets elsewhere: of the kernel, and of files.
_KNOWN = re.compile(
    r"(nf|br|ip|tcp|net|rp|route|test)_\w+|\w+(?=\.(csv|md|pdf|png|pcap|py|sh|tsv))|\w*cnet\w*"
)


def page_faults(pdf: Path) -> list[str]:
    """Return what is wrong with a PDF's pages, one line each."""
    return [*_small_fonts(pdf), *_nearly_empty_pages(pdf), *_raw_names(pdf)]


def _small_fonts(pdf: Path) -> Iterator[str]:
    for size in re.findall(
        r'<fontspec [^>]*size="(\d+)"', _output("pdftohtml", "-xml", "-i", f"-zoom={_ZOOM}", pdf)
    ):
        if int(size) / _ZOOM < SMALLEST - 0.2:
            yield f"{pdf.name} has a font of {int(size) / _ZOOM:.1f} points"


def _nearly_empty_pages(pdf: Path) -> Iterator[str]:
    pages = _rows_of_dots(pdf)
    for number, rows in enumerate(pages, start=1):
        filled = max((at for at, row in enumerate(rows) if min(row) < 200), default=0)
        if len(pages) > 1 and filled < _LEAST_FILLED * len(rows):
            yield f"page {number} of {pdf.name} is nearly empty"


def _rows_of_dots(pdf: Path) -> list[list[bytes]]:
    """Return the rows of each page between its margins; a dot is a byte, 0 for black."""
    data = subprocess.run(["pdftoppm", "-gray", "-r", str(_DPI), pdf], capture_output=True, check=True).stdout
    pages = []
    while data:
        head = re.match(rb"P5\s+(\d+)\s+(\d+)\s+255\s", data)
        assert head
        width, height = int(head[1]), int(head[2])
        dots, data = data[head.end() : head.end() + width * height], data[head.end() + width * height :]
        rows = [dots[at * width : (at + 1) * width] for at in range(height)]
        pages.append(rows[_MARGIN:-_MARGIN])
    return pages


def _raw_names(pdf: Path) -> Iterator[str]:
    text = _output("pdftotext", pdf, "-")
    for name, _ in groupby(sorted(re.findall(r"[\w./]*[a-z]_[a-z][\w./]*", text))):
        if not _KNOWN.search(name):
            yield f'{pdf.name} has the raw name "{name}"'


def _output(program: str, *options: str | Path) -> str:
    words = [part for option in options for part in str(option).split("=")]
    stdout = ["-stdout"] if program == "pdftohtml" else []
    return subprocess.run([program, *stdout, *words], capture_output=True, text=True, check=True).stdout
