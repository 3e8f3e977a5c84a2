"""The report of a chaos run: terminal, CSV, PNG and PDF. Exits with 1 when a promise was broken.

python -m chaos.report --events FILE --samples FILE --orders FILE --log FILE --reports FOLDER
"""

import argparse
import csv
import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.table import Table

from chaos import pdf, timeline
from chaos.analysis import Ledger, Result, balance, faults_of, judge
from chaos.load import Sample
from monitoring.distribution import Share, names_by_url, shares, to_products, unevenness
from monitoring.gateway_log import Change, Routed, lines_of, read
from scripts.topology import load, table_path

EVEN_PERCENT = 1.0
HEADINGS = (
    "fault", "node", "GETs", "failed", "slow", "p50 ms", "p99 ms", "p99 1st s", "orders", "refused",
    "noticed s", "out s", "back s", "promise",
)  # fmt: skip


WIDE = 165
KEPT = ("kept", "see the ledger")
NARROW = (0, 1, 2, 3, 7, 11, 12, 13)


def read_samples(path: Path) -> list[Sample]:
    """Return the samples of a CSV file."""
    with path.open(newline="") as stream:
        return read_samples_from(stream)


def read_samples_from(stream: TextIO) -> list[Sample]:
    """Return the samples of CSV; a last line that was cut short is left out."""
    rows = [row for row in csv.DictReader(stream) if None not in row.values()]
    return [
        Sample(
            row["kind"],
            float(row["intended"]),
            float(row["latency_ms"]),
            int(row["status"]),
            row["instance"],
            row["retry_after"],
            row["key"],
            row["order_id"],
        )
        for row in rows
    ]


def read_events(path: Path) -> list[tuple[float, str, str, str]]:
    """Return (time, begin or end, fault, node)."""
    with path.open(newline="") as stream:
        return [
            (float(row["time"]), row["event"], row["fault"], row["node"]) for row in csv.DictReader(stream)
        ]


def read_orders(path: Path) -> list[tuple[str, str]]:
    """Return (id, customer_id) of the stored orders."""
    with path.open(newline="") as stream:
        return [(row["id"], row["customer_id"]) for row in csv.DictReader(stream)]


def row_of(result: Result) -> list[str]:
    """Return a result as the table's row."""

    def seconds(value: float | None) -> str:
        return "-" if value is None else f"{value:.2f}"

    return [
        result.fault.name.replace("_", " "),
        result.fault.node,
        str(result.gets),
        str(result.failed),
        str(result.slow),
        f"{result.p50_ms:.1f}",
        f"{result.p99_ms:.1f}",
        f"{result.p99_first_second_ms:.1f}",
        str(result.order_attempts),
        str(result.orders_refused),
        seconds(result.detected),
        seconds(result.out),
        seconds(result.back),
        "; ".join(result.broken) or ("see the ledger" if result.fault.name == "random" else "kept"),
    ]


def findings_of(results: Sequence[Result], ledger: Ledger, calm: Sequence[Share]) -> list[str]:
    """Return what the run says, in sentences."""
    broken = [result for result in results if result.broken]
    outs = [
        result.out for result in results if result.out is not None and result.fault.node.startswith("product")
    ]
    found = [
        f"{len(results) - len(broken)} of {len(results)} faults kept their promise"
        + (
            ": see " + ", ".join(f"{one.fault.name.replace('_', ' ')} {one.fault.node}" for one in broken)
            if broken
            else "."
        ),
        f"Orders: {ledger.acknowledged} acknowledged, {ledger.lost} lost, {ledger.doubled} doubled, "
        f"{ledger.mistaken} under another number ({ledger.stored} in PostgreSQL).",
        f"While all was well, each instance got within {unevenness(calm):.2f} % of an even share: "
        + ", ".join(f"{share.instance} {share.requests}" for share in calm)
        + ".",
    ]
    if outs:
        found.append(
            f"A product instance that failed was out of rotation after {max(outs):.2f} s at the latest."
        )
    return found


def show(rows: Sequence[Sequence[str]], findings: Sequence[str]) -> None:
    """Print the report; a narrow terminal gets the columns that matter most."""
    console = Console(no_color=bool(os.environ.get("NO_COLOR")) or None)
    if not console.is_terminal:
        console.width = WIDE
    shown = range(len(HEADINGS)) if console.width >= WIDE else NARROW
    table = Table(title="Chaos", title_justify="left")
    for number in shown:
        last = number == len(HEADINGS) - 1
        table.add_column(
            HEADINGS[number], justify="right" if number > 1 and not last else "left", no_wrap=not last
        )
    for row in rows:
        table.add_row(*(row[number] for number in shown), style=None if row[-1] in KEPT else "red")
    console.print(table)
    for finding in findings:
        console.print(finding, soft_wrap=True, highlight=False)


def results_of(
    samples: Sequence[Sample], events: Path, routed: Sequence[Routed], changes: Sequence[Change]
) -> list[Result]:
    """Judge each fault; the first is the calm before."""
    topology = load(table_path())
    urls = {name: url for url, name in names_by_url(topology).items()}
    return [
        judge(fault, samples, routed, changes, urls.get(fault.node, ""))
        for fault in faults_of(read_events(events))
    ]


def main() -> None:
    """Make the report."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for option in ("events", "samples", "orders", "log", "reports"):
        parser.add_argument(f"--{option}", type=Path, required=True)
    options = parser.parse_args()
    samples = read_samples(options.samples)
    routed, changes, _ = read(lines_of(options.log))
    results = results_of(samples, options.events, to_products(routed), changes)
    calm = results[0].fault
    even = shares(
        (0.0, sample.instance)
        for sample in samples
        if sample.kind == "get" and calm.begin <= sample.intended < calm.end and sample.instance
    )
    ledger = balance(samples, read_orders(options.orders))
    rows = [row_of(result) for result in results]
    findings = findings_of(results, ledger, even)
    show(rows, findings)
    with (options.reports / "chaos.csv").open("w", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows([HEADINGS, *rows])
    picture = options.reports / "chaos_timeline.png"
    timeline.draw(samples, [result.fault for result in results], picture)
    made = f"{datetime.now().astimezone():%Y-%m-%d %H:%M}, {len(samples)} requests"
    pdf.write(options.reports / "chaos_report.pdf", made, findings, [HEADINGS, *rows], picture)
    if any(result.broken for result in results) or not ledger.good or unevenness(even) > EVEN_PERCENT:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
