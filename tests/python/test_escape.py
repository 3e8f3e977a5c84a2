"""Text from elsewhere stays text in each language that it is written into, and files are whole or as they were."""

from __future__ import annotations

import csv
import io
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.text import Text

from lab import escape
from lab.csv_files import Table, Writer, write, write_rows
from lab.document import Document, Rows, Section, as_markdown
from lab.document_files import write_pdf
from lab.figures import plt, save
from lab.terminal import Console
from lab.whole_file import draft_of
from monitoring.connections import __main__ as connections
from monitoring.health import __main__ as health
from monitoring.traffic import __main__ as traffic

HOSTILE = [
    "pc$a_$.lan", "fs-1$", "=cmd(1)", "+2", "@SUM(A1)", "<b>bold</b>", "a|b`c`", "[/red]", ":smile:", "a\x1b[31mred",
    "a\x9b31m", "\u202egnp.exe", "%", "\\", "\"q\"", "a\nb", "\ud800", "n" * 20_000, "{}", "",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_every_language_takes_any_text(text: str, tmp_path: Path) -> None:
    figure, axes = plt.subplots()
    axes.set_title(escape.for_picture(text))
    save(figure, tmp_path / "picture.png")
    document = Document(
        text, text, [Section(text, [text, Rows((text, "n"), [(text, 1), (text, 2)], (1, 1))])]
    )
    write_pdf(document, tmp_path / "document.pdf")
    assert as_markdown(document).isprintable() or "\n" in as_markdown(document)
    write_rows(tmp_path / "table.csv", ["name"], [[text]])
    label = f"digraph {{ {escape.quoted_for_graphviz(text)} [label=<<B>{escape.for_graphviz(text)}</B>>] }}"
    subprocess.run(["dot", "-Tsvg"], input=label.encode(), stdout=subprocess.DEVNULL, check=True)


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"), ("+2", "'+2"), ("-2+3", "'-2+3"), ("@x", "'@x"),
        ("\t=1", "' =1"), ("\r=1", "'?=1"), ("a\n=1", "a =1"), ("-0.25", "-0.25"), (-3, "-3"), (-0.5, "-0.5"),
        ("-", "-"), ("-1e5", "-1e5"),
    ],
)  # fmt: skip
def test_no_cell_of_a_csv_is_a_formula_and_numbers_stay_numbers(
    cell: object, written: str, tmp_path: Path
) -> None:
    write_rows(tmp_path / "table.csv", ["@column"], [[cell]])
    with (tmp_path / "table.csv").open(newline="") as stream:
        assert list(csv.reader(stream)) == [["'@column"], [written]]
    log = io.StringIO()
    Writer(log).rows([[cell]])
    assert list(csv.reader(io.StringIO(log.getvalue(), newline=""))) == [[written]]


def test_a_terminal_obeys_no_text_and_no_text_is_markup() -> None:
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=True, width=200, color_system=None)
    console.print("a\x1b[31mb\x9b1mc\u202ed [bold]e[/nonsense] :smile:")
    console.print(Text("\x1b]0;title\x07"))
    assert shown.getvalue() == "a?[31mb?1mc?d [bold]e[/nonsense] :smile:\n?]0;title\n"


def test_markdown_shows_a_text_as_it_is() -> None:
    assert escape.for_markdown("<b> a|b `c` *d* _e_ f_g &lt; [x](y)\nz") == (
        r"&lt;b> a\|b \`c\` \*d\* \_e\_ f_g &amp;lt; \[x\](y) z"
    )
    assert escape.for_markdown("# a") == r"\# a"
    assert escape.for_markdown("1. a") == r"1\. a"
    assert escape.code_for_markdown("a`b``c|") == r"```a`b``c\|```"


def test_a_name_longer_than_any_of_dns_ends_with_an_ellipsis_on_paper() -> None:
    assert escape.for_pdf(f"from {'n' * 20_000} to <b>") == f"from {'n' * 254}\u2026 to &lt;b&gt;"


def failing_write(path: Path) -> None:
    with draft_of(path) as draft:
        draft.write_text("half")
        raise OSError("disk full")


def failing_rows(path: Path) -> None:
    write_rows(path, ["a"], ([1 // n] for n in (1, 0)))


@pytest.mark.parametrize("fail", [failing_write, failing_rows])
def test_a_file_that_cannot_be_written_stays_as_it_was(fail: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("before")
    with pytest.raises((OSError, ArithmeticError)):
        fail(path)
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("table.csv", "before")]


def test_tables_are_written_under_their_names(tmp_path: Path) -> None:
    assert [path.name for path in write([Table("a", ("b",), [("c",)])], tmp_path)] == ["a.csv"]


def test_no_path_in_a_message_commands_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile = tmp_path / "h\x1b[31m"
    hostile.write_text("not our heading\n")
    monkeypatch.setattr(connections, "need_root", lambda: None)
    capture = str(Path(__file__).parents[1] / "fixtures/captures/plain.pcap")
    folder = str(tmp_path / "r\x1b[31m")
    assert health.main(["--once", "--topology", "flat", "--csv", str(hostile)]) == 1
    assert health.main(["--once", "--topology", str(hostile)]) == 1
    assert connections.main(["--topology", str(hostile)]) == 1
    assert traffic.main(["--topology", "flat", "--reports", folder, capture]) == 0
    said = capsys.readouterr()
    assert "\x1b" not in said.out + said.err
    assert said.err.count("h?[31m") == 3
    assert "r?[31m/traffic_analysis_report.pdf and its CSVs" in said.out
