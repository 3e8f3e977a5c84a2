"""The report of a chaos run: terminal, CSV, PNG and PDF. Exits with 1 when a promise was broken.

python -m faults.chaos.report --events FILE --samples FILE --orders FILE --log FILE --reports FOLDER
"""

import argparse
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from pathlib import Path

from rich.table import Table

from faults.chaos import timeline
from faults.chaos.analysis import Event, Fault, Ledger, Result, compare_orders, faults_of, judge
from faults.chaos.load import GOOD, Outcome, Sample
from faults.chaos.promises import Promise, load_promises
from lab import csv_files
from lab.document import Document, Picture, Rows, Section
from lab.document_files import write_pdf
from lab.terminal import Console
from lab.topology import Topology, load, table_path
from lab.unread import Unread
from monitoring.distribution import Share, names_by_url, shares, unevenness
from monitoring.gateway_log import Change, Routed, lines_of, read, to_products

SAMPLE = [field.name for field in fields(Sample)]
EVEN_PERCENT, EVEN_REQUESTS = 1.0, 2.0  # each of the gateway's two workers goes round by itself
HEADINGS = (
    "fault", "node", "GETs", "failed", "slow", "p50 ms", "p99 ms", "p99 ms, 1st s", "order GETs failed",
    "orders", "refused", "mistakes failed", "names failed", "noticed s", "out s", "back s", "promise",
)  # fmt: skip
MEANINGS = (
    "failed: not answered 200. slow: took more than 500 ms. p99 ms, 1st s: of the first second after the fault. "
    "refused: attempts to order that were not answered 201; the client repeats each until it is. mistakes: orders for "
    "a product that does not exist, not answered 400. names: look-ups of product-service.lab in DNS. noticed, out: "
    "seconds until the first, and until every worker of the gateway sent the instance no more requests. back: seconds "
    "from the end of the fault to the instance's next answer, or to the last failure of any request."
)
WIDE = 175
KEPT = "kept"
REQUESTS, RECOVERY = (*range(11),), (0, 1, *range(11, 17))  # the columns of the two tables on paper
NARROW = (0, 1, 2, 3, 6, 10, 14, 15, 16)


def read_samples(path: Path, unread: Unread) -> list[Sample]:
    """Return the samples of a CSV file. Raises CsvError for another file."""
    return list(csv_files.read(path, SAMPLE, sample_of, unread))


def sample_of(row: Mapping[str, str]) -> Sample:
    """Return a row as a sample. Raises ValueError for a row that is not one."""
    if row["kind"] not in GOOD:
        raise ValueError
    intended, latency = finite(row["intended"]), finite(row["latency_ms"])
    return Sample(row["kind"], intended, latency, int(row["status"]), *(row[name] for name in SAMPLE[4:]))


def finite(text: str) -> float:
    """Return a finite number. Raises ValueError for any other text."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError
    return number


def read_events(path: Path, unread: Unread) -> list[Event]:
    """Return the events of a run. Raises CsvError for another file."""
    columns = ("time", "event", "fault", "node", "text")
    rows = csv_files.read(path, columns, lambda row: (finite(row["time"]), row), unread)
    return [Event(time, *(row[name] for name in columns[1:])) for time, row in rows]


def read_orders(path: Path, unread: Unread) -> list[tuple[str, str]]:
    """Return (id, customer_id) of the stored orders. Raises CsvError for another file."""
    columns = ("id", "customer_id")
    return list(csv_files.read(path, columns, lambda row: (row["id"], row["customer_id"]), unread))


def row_of(result: Result) -> list[str]:
    """Return a result as the table's row."""

    def shown(value: float | None, digits: int) -> str:
        return "-" if value is None else f"{value:,.{digits}f}"

    counts, failures = result.counts, result.failures
    return [
        *(result.fault.name.replace("_", " "), result.fault.node),
        *map(str, (counts["get"], failures["get"], result.slow)),
        *(shown(value, 1) for value in (result.p50_ms, result.p99_ms, result.p99_first_second_ms)),
        *map(str, (failures["read"], counts["order"])),
        *(str(failures[kind]) for kind in ("order", "mistake", "name")),
        *(shown(value, 2) for value in (result.detected, result.out, result.back)),
        "broken" if result.broken else KEPT,
    ]


def outcomes_of(samples: Sequence[Sample]) -> str:
    """Return how many requests were sent, and how many had each outcome."""
    counts = Counter(sample.outcome for sample in samples)
    numbers = ", ".join(f"{counts[outcome]:,} {outcome}" for outcome in Outcome if counts[outcome])
    return f"{len(samples):,} requests were sent: {numbers}." if samples else "No request was sent."


def findings_of(results: Sequence[Result], ledger: Ledger, calm: Sequence[Share]) -> list[str]:
    """Return the results of the run as sentences."""
    faults = [result for result in results if result.fault.name != "calm"]
    outs = [one.out for one in results if one.out is not None and one.promise.noticed is not None]
    broken = [f"Broken by {one.fault.title}: {'; '.join(one.broken)}." for one in results if one.broken]
    findings = [
        f"{sum(not result.broken for result in faults)} of {len(faults)} faults kept their promises.",
        *broken,
        f"Orders: {ledger.acknowledged:,} acknowledged, {ledger.lost} lost, {ledger.doubled} doubled, "
        f"{ledger.mistaken} under another number ({ledger.stored:,} in PostgreSQL); "
        f"{ledger.garbled} answers 201 could not be read, {ledger.unwanted} stored for a product that does not exist.",
        f"Before the first fault each instance got within {unevenness(calm):.2f} % of an even share: "
        + ", ".join(f"{share.instance} {share.requests:,}" for share in calm)
        + ".",
    ]
    if outs:
        findings.append(f"A failed product instance was out of rotation after at most {max(outs):.2f} s.")
    return findings


def is_uneven(calm: Sequence[Share]) -> bool:
    """Return whether an instance got more or less than an even share, beyond rounding."""
    return any(
        abs(share.deviation) > EVEN_PERCENT
        and abs(share.requests - share.requests / (1 + share.deviation / 100)) > EVEN_REQUESTS
        for share in calm
    )


def show(rows: Sequence[Sequence[str]], findings: Sequence[str]) -> None:
    """Print the report; on a narrow terminal only the most important columns."""
    console = Console()
    if not console.is_terminal:
        console.width = WIDE
    shown = range(len(HEADINGS)) if console.width >= WIDE else NARROW
    table = Table(title="Chaos", title_justify="left")
    for number in shown:
        last = number == len(HEADINGS) - 1
        table.add_column(HEADINGS[number], justify="right" if number > 1 and not last else "left")
    for row in rows:
        table.add_row(*(row[number] for number in shown), style=None if row[-1] == KEPT else "red")
    console.print(table)
    for finding in findings:
        console.print(finding, soft_wrap=True, highlight=False)


def promise_of(fault: Fault, promises: Sequence[Promise], topology: Topology) -> Promise:
    """Return the promise for a fault and its node's program."""
    program = next((node.runs for node in topology.nodes if node.name == fault.node), fault.node)
    return next(one for one in promises if (one.fault, one.program) == (fault.name, program))


def results_of(
    samples: Sequence[Sample], events: Sequence[Event], routed: Sequence[Routed], changes: Sequence[Change]
) -> list[Result]:
    """Judge each fault; the first result is the calm time before the first fault."""
    topology, promises = load(table_path()), load_promises()
    urls = {name: url for url, name in names_by_url(topology).items()}
    products = {node.name for node in topology.nodes_running("product-service")}
    return [
        judge(
            fault,
            promise_of(fault, promises, topology),
            samples=samples,
            routed=routed,
            changes=changes,
            url=urls[fault.node] if fault.node in products else "",
        )
        for fault in faults_of(events)
    ]


def write_files(
    folder: Path, samples: Sequence[Sample], results: Sequence[Result], findings: Sequence[str]
) -> None:
    """Write CSV, picture and PDF."""
    rows = [row_of(result) for result in results]
    csv_files.write_rows(folder / "chaos.csv", HEADINGS, rows)
    picture = folder / "chaos_timeline.png"
    timeline.draw(samples, results, picture)
    made = f"Generated on {datetime.now().astimezone():%Y-%m-%d %H:%M} by make chaos, from {len(samples):,} requests."
    promised = [[row[0], row[1], result.promise.what] for row, result in zip(rows, results, strict=True)]
    sections = [
        Section("Findings", findings),
        Section(
            "What clients saw",
            [Picture(picture, "latency, failures and answers over time; faults are bands")],
        ),
        Section("Each fault: requests for the catalogue and orders", [_columns(rows, REQUESTS), MEANINGS]),
        Section("Each fault: how soon it was noticed, and its promise", [_columns(rows, RECOVERY)]),
        Section("What each fault does", [Rows(("fault", "node", "what"), promised, (2, 2, 8))]),
    ]
    write_pdf(Document("Chaos: faults under load", made, sections), folder / "chaos_report.pdf")


def _columns(rows: Sequence[Sequence[str]], shown: Sequence[int]) -> Rows:
    cells = [[row[at] for at in shown] for row in rows]
    return Rows([HEADINGS[at] for at in shown], cells, [2, 2, *[1] * (len(shown) - 2)])


def main() -> None:
    """Make the report."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for option in ("events", "samples", "orders", "log", "reports"):
        parser.add_argument(f"--{option}", type=Path, required=True)
    options = parser.parse_args()
    unread = Unread()
    try:
        samples = read_samples(options.samples, unread)
        events, orders = read_events(options.events, unread), read_orders(options.orders, unread)
    except (OSError, csv_files.CsvError) as error:
        raise SystemExit(f"chaos: {error}") from None
    if not any(event.event == "begin" for event in events):
        raise SystemExit(
            f"chaos: {options.events}: no fault is recorded; see the output of faults/chaos/run.sh"
        )
    routed, changes = read(lines_of(options.log), unread)
    results = results_of(samples, events, to_products(routed), changes)
    calm = results[0].fault
    even = shares(
        (0.0, sample.instance)
        for sample in samples
        if sample.kind == "get" and calm.begin <= sample.intended < calm.end and sample.instance
    )
    ledger = compare_orders(samples, orders)
    findings = [*findings_of(results, ledger, even), outcomes_of(samples), *unread.sentences()]
    show([row_of(result) for result in results], findings)
    write_files(options.reports, samples, results, findings)
    if any(result.broken for result in results) or not ledger.good or is_uneven(even):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
