"""The report of the comparison: bench.csv, bench.png and bench_report.pdf, whose sentences follow from the numbers."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
from matplotlib.ticker import MaxNLocator

from bench.common.intervals import ALIKE, CONFIDENCE, INCONCLUSIVE, NO_DIFFERENCE, Interval
from bench.common.results_as_json import Object, interval_as_json, number, print_document
from bench.common.sides import CPUS, LAB, MEMORY, PROJECT, Side
from bench.compare.results import COSTS, FIGURES, Figure, Results
from lab.colours import BLUE, ORANGE
from lab.csv_files import write_rows
from lab.document import Document, Picture, Rows, Section
from lab.document_files import write
from lab.figures import PAGE_WIDTH, plain_numbers, plt, save, set_title

_WHOLE = 100  # greater values are shown without decimals
_DRAWN = [FIGURES[at] for at in (0, 1, 3, 5)]  # throughput, p50, p99, CPU of the machine
_MAX_TIMES = 100  # an interval that reaches further is not shown in numbers


def write_report(
    runs: pd.DataFrame, sides: Sequence[Side], rate: float, folder: Path, *, as_json: bool
) -> None:
    """Write all files, and print the conclusions, or all as JSON."""
    results = Results(runs, [contender.name for side in sides for contender in side.contenders])
    write_table(results, folder / "bench.csv")
    draw(results, folder / "bench.png")
    sentences = conclusions(results)
    sections = [
        Section("In one picture", [Picture(folder / "bench.png", "throughput, latency and CPU of each way")]),
        Section("Results", sentences),
        Section("Each way", [_ways(sides), _figures(results)]),
    ]
    if results.pairs:
        sections.append(Section("The same path on both sides: Docker relative to the lab", [_pairs(results)]))
    sections.append(Section("How it was measured", _method(rate, results)))
    made = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, by make bench; {results.rounds} rounds, each in another order"
    document = Document("Namespaces against Docker", made, sections)
    write(document, folder / "bench_report.md", folder / "bench_report.pdf")
    if as_json:
        rows = (row_as_json(*estimate) for estimate in estimates(results))
        counts = {"requests": int(results.requests), "bad_answers": int(results.bad)}
        print_document(
            results.rounds, rows, **counts, open_loop_per_second=number(rate), conclusions=sentences
        )
    else:
        print("\n".join(("", *sentences)))
    print(f"\n{folder}/bench_report.pdf, bench.png, bench.csv, bench_raw.csv, bench_raw/", file=sys.stderr)


def conclusions(results: Results) -> list[str]:
    """Return the conclusions as sentences."""
    sentences = [_compared(results, lab, docker) for lab, docker in results.pairs]
    sentences += [_cost(results, *element) for element in results.elements]
    if not results.pairs:
        sentences.append("No Docker engine answered, so Docker was not measured.")
    if results.bad:
        return [*sentences, f"{results.bad:,} of {results.requests:,} answers were bad."]
    return [*sentences, f"All {results.requests:,} requests were answered correctly."]


def _compared(results: Results, lab: str, docker: str) -> str:
    """Return a sentence that lists the figures with and without a difference between Docker and the lab."""
    differ, alike, inconclusive = [], [], []
    for figure in FIGURES:
        times = results.ratio(docker, lab, figure)
        theirs, ours = (_short(results.interval(way, figure).value) for way in (docker, lab))
        text = f"{figure.name} ({theirs} against {ours} {figure.unit})"
        if times.verdict() == NO_DIFFERENCE:
            alike.append(text)
        elif times.verdict() == INCONCLUSIVE:
            inconclusive.append(f"{text}: {_inconclusive(results, times)}")
        else:
            differ.append(f"{text}: {_times(times)}")
    if alike:
        differ.append(f"{NO_DIFFERENCE} in {' or '.join(filter(None, (', '.join(alike[:-1]), alike[-1])))}")
    return f"{docker} against {lab}: {'; '.join((*differ, *inconclusive))}."


def _cost(results: Results, element: str, with_it: str, without: str) -> str:
    parts = []
    for name, figure in zip(("throughput", "p50"), COSTS, strict=True):
        times = results.ratio(with_it, without, figure)
        if times.verdict() == INCONCLUSIVE:
            parts.append(f"{name}: {_inconclusive(results, times)}")
        else:
            parts.append(f"{name}: {times.verdict()}, {_times(times)}")
    return f"With {element}, against without: {'; '.join(parts)}."


def _inconclusive(results: Results, times: Interval) -> str:
    text = f"{INCONCLUSIVE} in {results.rounds} rounds"
    if times.high > _MAX_TIMES:
        return text
    return f"{text}, anything from {times.low:.2f} to {times.high:.2f} times"


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= _WHOLE else f"{value:.3g}"


def _times(ratio: Interval) -> str:
    return f"{ratio.value:.2f} times ({ratio.low:.2f} to {ratio.high:.2f})"


def write_table(results: Results, path: Path) -> None:
    """Write each figure of each way, and each ratio of Docker to the lab, with their intervals."""
    rows = []
    for what, figure, unit, estimate in estimates(results):
        numbers = (estimate.value, estimate.low, estimate.high, estimate.confidence)
        rows.append((what, figure.name, unit, *(f"{value:.4f}" for value in numbers)))
    write_rows(path, ("what", "figure", "unit", "mean", "low", "high", "confidence"), rows)


def estimates(results: Results) -> Iterator[tuple[str, Figure, str, Interval]]:
    """Yield each figure of each way, and each ratio of Docker to the lab: what, the figure, its unit, the interval."""
    for figure in FIGURES:
        for way in results.contenders:
            yield way, figure, figure.unit, results.interval(way, figure)
        for lab, docker in results.pairs:
            yield f"{docker} / {lab}", figure, "times", results.ratio(docker, lab, figure)


def row_as_json(what: str, figure: Figure, unit: str, estimate: Interval) -> Object:
    """Return an estimate for JSON."""
    names = {"what": what, "figure": figure.name, "load": figure.load, "unit": unit}
    return {**names, **interval_as_json(estimate)}


def draw(results: Results, path: Path) -> None:
    """Write the PNG: each way's throughput, latency and CPU with 95 % intervals."""
    ways = results.contenders
    colours = [BLUE if way.startswith(LAB) else ORANGE for way in ways]
    size = (PAGE_WIDTH, 1.6 + 0.42 * len(ways))
    sheet, axes = plt.subplots(1, len(_DRAWN), figsize=size, sharey=True, layout="constrained")
    for axis, figure in zip(axes, _DRAWN, strict=True):
        estimates = [results.interval(way, figure) for way in ways]
        values = [one.value for one in estimates]
        errors = [
            [one.value - max(0.0, one.low) for one in estimates],
            [one.high - one.value for one in estimates],
        ]
        bars = axis.barh(ways, values, xerr=errors, color=colours, height=0.62, capsize=3)
        axis.bar_label(bars, [_short(value) for value in values], padding=5)
        axis.set_title(f"{figure.name}, {figure.unit}\n({figure.load})")
        axis.tick_params(axis="y", length=0)
        axis.grid(axis="x", alpha=0.5)
        axis.xaxis.set_major_locator(MaxNLocator(4))
        plain_numbers(axis.xaxis)
        axis.spines["left"].set_visible(False)
        axis.set_xlim(0, 1.3 * max(one.high for one in estimates))
    axes[0].invert_yaxis()
    title = "Namespaces (blue) and Docker (orange): GET /api/products; lines are 95 % intervals"
    set_title(sheet, title)
    save(sheet, path)


def _ways(sides: Sequence[Side]) -> Rows:
    ways = [(one.name, one.base, one.path) for side in sides for one in side.contenders]
    return Rows(("way", "URL", "path"), ways, (2, 2, 4))


def _figures(results: Results) -> Rows:
    rows = []
    for way in results.contenders:
        estimates = [results.interval(way, figure) for figure in FIGURES]
        cells = [
            f"{_short(one.value)} ({_short(max(0.0, one.low))} to {_short(one.high)})" for one in estimates
        ]
        rows.append((way, *cells))
    headings = ("way", *(f"{figure.name}, {figure.unit} ({figure.load})" for figure in FIGURES))
    return Rows(headings, rows, (3, *[2] * len(FIGURES)))


def _pairs(results: Results) -> Rows:
    rows = []
    for lab, docker in results.pairs:
        for figure in FIGURES:
            times = results.ratio(docker, lab, figure)
            shown = _times(times) if times.high <= _MAX_TIMES else "-"
            rows.append((f"{docker} / {lab}", figure.name, shown, times.verdict()))
    return Rows(("ways", "figure", "times (interval)", "verdict"), rows, (4, 3, 3, 1.5))


def _method(rate: float, results: Results) -> list[str]:
    return [
        f"GET /api/products: nginx, gateway, product service, Redis. Each service of either side has {CPUS} CPU and "
        f"{MEMORY >> 20} MB by its control group, as many workers and instances, and the same code. Health checks of "
        "Docker are off; the registry's are on, on both sides.",
        "Closed loop: ApacheBench, 50 at a time, a new connection for each request, -l. Open loop: "
        f"{rate:.0f} requests a second, whether or not earlier ones were answered; latency from the intended moment; "
        f"connections kept. {results.rounds} rounds after one that does not count.",
        f"An interval is Student's, of the rounds' values, {100 * CONFIDENCE:.0f} % for a single figure. A ratio is "
        f"taken in each round and its logarithms averaged. The {results.comparisons} ratios are judged together by "
        f"Holm's method: the probability of any wrong verdict of more or less is "
        f"{100 - 100 * CONFIDENCE:.0f} % in all, so their intervals are wider. If the interval of a ratio includes 1 "
        f"and lies within {ALIKE[0]} and {ALIKE[1]}, that is no difference; a wider one leaves it open.",
        "CPU of the machine includes the client, the kernel's own work and docker-proxy; CPU of the services is "
        "their control groups'. Memory is the PSS of their processes; the limit counts what they allocate after they "
        "joined their group, in the lab after all services are up.",
        f"Machine: {os.cpu_count()} CPUs, Linux {platform.release()}; the lab's Python is {platform.python_version()}, "
        f"Docker's {_in_docker('api-gateway', 'python', '--version')}; the lab's nginx is {_output('nginx', '-v')}, "
        f"Docker's {_in_docker('nginx', 'nginx', '-v')}; Docker is "
        f"{_output('docker', 'version', '--format', '{{.Server.Version}}')}. "
        "A different interpreter, or a different build of it, is a difference of the application, not of the network.",
    ]


def _in_docker(service: str, *command: str) -> str:
    return _output("docker", "exec", f"{PROJECT}-{service}-1", *command)


def _output(*command: str) -> str:
    try:
        run = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "not available"
    return (run.stdout + run.stderr).strip().removeprefix("nginx version: ")
