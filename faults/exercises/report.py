"""The report of a learner's progress: a page to read, and a CSV file to collect."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

from faults.exercises.rows import Row, score_of
from faults.exercises.texts import duration
from lab import csv_files
from lab.escape import for_html
from lab.whole_file import draft_of

_COLUMNS = (
    *("learner", "exercise", "title", "level", "points"),
    *("attempts", "solved", "best_score", "best_seconds", "last"),
)

_STYLE = """
:root { --ink: #1b2733; --paper: #fff; --faint: #66737f; --line: #e3e7eb; --green: #0b7a5b; --bar: #e9edf0 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8eef4; --paper: #18222c; --faint: #93a4b3; --line: #2c3945; --green: #4cc9a0; --bar: #2c3945 }
}
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 52rem; padding: 3rem 1.5rem; color: var(--ink); background: var(--paper);
  font: 16px/1.5 system-ui, "Segoe UI", "DejaVu Sans", sans-serif }
h1 { font-size: 1.7rem; margin: 0; letter-spacing: -0.01em }
h2 { font-size: 1.05rem; margin: 2.5rem 0 0.5rem; display: flex; justify-content: space-between }
h2 small, header p, footer { color: var(--faint); font-size: 0.9rem; font-weight: normal }
header p { margin: 0.25rem 0 1.5rem }
.sum { display: flex; gap: 3rem; margin-bottom: 1rem }
.sum b { display: block; font-size: 1.9rem; line-height: 1.2; font-variant-numeric: tabular-nums }
.bar { height: 8px; border-radius: 4px; background: var(--bar); overflow: hidden }
.bar i { display: block; height: 100%; background: var(--green) }
table { width: 100%; border-collapse: collapse; table-layout: fixed }
th { text-align: left; color: var(--faint); font-size: 0.8rem; font-weight: normal }
th, td { padding: 0.4rem 0.75rem 0.4rem 0; border-bottom: 1px solid var(--line); vertical-align: top }
.n { text-align: right; width: 5.5rem; padding-right: 0; font-variant-numeric: tabular-nums }
.t { width: 8rem }
.w { width: 6rem; color: var(--faint) }
td.solved { color: var(--green); font-weight: 600 }
footer { margin-top: 3rem }
@media print { body { padding: 0; max-width: none } h2, tr { break-inside: avoid } }
@media (max-width: 34rem) { .w, .a { display: none } .n { width: 4rem } .t { width: 7rem } .sum { gap: 1.5rem } }
"""


def write_report(rows: Sequence[Row], learner: str, folder: Path) -> list[Path]:
    """Write exercises.html and exercises.csv; return their paths."""
    page = folder / "exercises.html"
    made = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    with draft_of(page) as draft:
        draft.write_text(as_page(rows, learner, made), encoding="utf-8")
    table = csv_files.Table("exercises", _COLUMNS, [_csv_row(row, learner) for row in rows])
    return [page, *csv_files.write([table], folder)]


def _csv_row(row: Row, learner: str) -> Sequence[object]:
    progress = row.progress
    return [
        learner, row.exercise, row.title, row.level, row.points, progress.attempts,
        "yes" if progress.solved else "no", progress.best_score,
        progress.best_seconds if progress.solved else "", progress.last,
    ]  # fmt: skip


def as_page(rows: Sequence[Row], learner: str, made: str) -> str:
    """Return the page as HTML."""
    solved = sum(row.progress.solved for row in rows)
    points, score = sum(row.points for row in rows), score_of(rows)
    seconds = sum(row.progress.best_seconds for row in rows)
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>Exercises of {for_html(learner)}</title>\n<style>{_STYLE}</style>",
            f"<header><h1>Exercises of {for_html(learner)}</h1>",
            f"<p>Container networking lab, {for_html(made)}</p>",
            f'<div class="sum"><div><b>{score}</b>of {points} points</div>',
            f"<div><b>{solved}</b>of {len(rows)} solved</div>",
            f"<div><b>{duration(seconds)}</b>in the best attempts</div></div>",
            f"{_bar(score, points)}</header>",
            *_levels(rows),
            "<footer>Made by <em>make exercises REPORT=1</em>. A hint costs a quarter of an exercise's points; "
            "the best attempt counts.</footer>\n</html>\n",
        ]
    )


def _bar(part: int, whole: int) -> str:
    share = 100 * part / whole if whole else 0
    return f'<div class="bar"><i style="width: {share:.1f}%"></i></div>'


def _levels(rows: Sequence[Row]) -> Iterator[str]:
    heading = '<tr><th>Exercise<th class="w">State<th class="n a">Attempts<th class="n t">Time<th class="n">Points</tr>'
    for level, group in groupby(rows, lambda row: row.level):
        of_level = list(group)
        yield f"<section><h2>Level {level} <small>{score_of(of_level)} of {sum(row.points for row in of_level)}"
        yield f" points</small></h2>\n<table>{heading}"
        yield from map(_line, of_level)
        yield "</table></section>"


def _line(row: Row) -> str:
    progress = row.progress
    time = duration(progress.best_seconds) if progress.solved else ""
    score = f"{progress.best_score} / {row.points}" if progress.solved else f"{row.points}"
    kind = f' class="w {row.state}"' if row.state else ' class="w"'
    return (
        f"<tr><td>{for_html(row.title)}"
        f'<td{kind}>{row.state or "not tried"}<td class="n a">{progress.attempts or ""}'
        f'<td class="n t">{time}<td class="n">{score}</tr>'
    )
