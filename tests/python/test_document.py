"""Pages of a document: what belongs together stays together, and numbers stand to the right."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from lab.document import Document, Picture, Rows, Section, as_markdown
from lab.document_files import write_pdf
from lab.figures import plt, save


def test_columns_of_numbers_are_told_from_text() -> None:
    rows = [("a", 1000, "1.5 ms", "", "10.0.0.1"), ("b", 2, "12 %", "-", "unknown")]
    table = Rows(("name", "n", "time", "x", "address"), rows, (1, 1, 1, 1, 1))
    assert table.are_numbers() == [False, True, True, False, False]
    assert table.texts()[0] == ["a", "1,000", "1.5 ms", "", "10.0.0.1"]


def pages_of(path: Path) -> list[str]:
    text = subprocess.run(
        ["pdftotext", "-layout", str(path), "-"], capture_output=True, text=True, check=True
    ).stdout
    return text.split("\f")[:-1]


@pytest.mark.parametrize("count", range(24, 44))
def test_no_page_has_two_lines_and_no_heading_is_alone(count: int, tmp_path: Path) -> None:
    table = Rows(("name", "n"), [(f"row {number}", number) for number in range(count)], (1, 1))
    sections = [Section("Rows", ["Before them.", table]), Section("The end", ["All of it."])]
    write_pdf(Document("Pages", "made", sections), tmp_path / "pages.pdf")
    pages = [
        [line for line in page.splitlines() if line.strip()] for page in pages_of(tmp_path / "pages.pdf")
    ]
    assert [page for page in pages if len(page) < 5] == []
    assert not [page for page in pages if page[-2].strip() in ("Rows", "The end")]


@pytest.mark.parametrize("count", range(25, 37))
def test_the_end_of_a_table_is_never_a_row_on_a_page_of_its_own(count: int, tmp_path: Path) -> None:
    figure, _ = plt.subplots(figsize=(8, 6.2))
    save(figure, tmp_path / "big.png")
    table = Rows(("name", "n"), [(f"row {number}", number) for number in range(count)], (1, 1))
    sections = [Section("Rows", [table]), Section("Picture", [Picture(tmp_path / "big.png", "big")])]
    write_pdf(Document("Pages", "made", sections), tmp_path / "pages.pdf")
    rows = [page.count("row ") for page in pages_of(tmp_path / "pages.pdf")]
    assert sum(rows) == count
    assert [number for number in rows if 0 < number < 4] == []


def test_a_narrow_table_is_beside_its_picture(tmp_path: Path) -> None:
    figure, _ = plt.subplots(figsize=(6.5, 4))
    save(figure, tmp_path / "wide.png")
    rows = [(f"row {number}", number) for number in range(20)]
    shown = Section("Both", [Picture(tmp_path / "wide.png", "wide"), Rows(("name", "n"), rows, (1, 1))])
    write_pdf(Document("Pages", "made", [shown, Section("More", ["of it"])]), tmp_path / "pages.pdf")
    assert len(pages_of(tmp_path / "pages.pdf")) == 1


def test_code_is_monospaced_and_is_code_in_markdown(tmp_path: Path) -> None:
    rule = "-A INPUT -m comment --comment a|b -j DROP"
    shown = Section("Rules", [Rows(("packets", "rule"), [(3, rule)], (1, 4), code=("rule",))])
    document = Document("Pages", "made", [shown])
    assert "| 3 | `-A INPUT -m comment --comment a\\|b -j DROP` |" in as_markdown(document)
    write_pdf(document, tmp_path / "pages.pdf")
    assert b"/Courier" in (tmp_path / "pages.pdf").read_bytes()


@pytest.mark.parametrize("lines", range(1, 14))
def test_no_heading_is_alone_above_a_table_of_tall_rows(lines: int, tmp_path: Path) -> None:
    text = "\n".join(f"line {number}" for number in range(lines))
    sections = [
        Section(f"Part {number}", [Rows(("name", "lines"), [("row", text)] * 5, (1, 1))])
        for number in range(6)
    ]
    write_pdf(Document("Pages", "made", sections), tmp_path / "pages.pdf")
    pages = [
        [line for line in page.splitlines() if line.strip()] for page in pages_of(tmp_path / "pages.pdf")
    ]
    assert [page[-2] for page in pages if page[-2].strip().startswith("Part ")] == []
