"""The run as a picture: latencies, failures and answering instances over time; each fault a band."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes

from faults.chaos.analysis import Result, is_allowed
from faults.chaos.load import Sample
from lab.colours import COLOURS, SPAN, VERMILION
from lab.figures import PAGE_WIDTH, plain_numbers, plt, save, set_title
from monitoring.distribution import stack
from monitoring.quantiles import quantile

HEIGHT = 5.2  # inches; below the findings on a page
STEP_SECONDS = 0.5
LEAST_BAND_SECONDS = 0.3  # minimum width of a band, so that a short fault is visible
BROKEN, ALLOWED = VERMILION, "#8a8a8a"


def draw(samples: Sequence[Sample], results: Sequence[Result], path: Path) -> None:
    """Write the PNG."""
    begin = results[0].fault.begin
    last = max(result.fault.until for result in results)
    gets = [one for one in samples if one.kind == "get" and begin <= one.intended < last]
    gets.sort(key=lambda one: one.intended)
    figure, (latency, answers) = plt.subplots(
        2, 1, figsize=(PAGE_WIDTH, HEIGHT), sharex=True, layout="constrained", height_ratios=(3, 2)
    )
    good = [one for one in gets if one.good]
    draw_latency(latency, good, begin)
    draw_failures(latency, [one for one in gets if not one.good], results)
    stack(answers, [(one.intended, one.instance or "?") for one in good], begin, STEP_SECONDS)
    answers.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=6)
    answers.set_xlabel("seconds")
    answers.set_xlim(0, last - begin)
    for result in results[1:]:
        draw_fault(latency, answers, result, begin)
    broken = sum(bool(result.broken) for result in results[1:])
    kept = f"{len(results) - 1 - broken} of {len(results) - 1} faults kept their promise"
    set_title(figure, f"GET /api/products at a constant rate: {kept}")
    save(figure, path)


def draw_fault(latency: Axes, answers: Axes, result: Result, begin: float) -> None:
    """Draw a fault as a band, with its name and node."""
    fault = result.fault
    first, end = fault.begin - begin, max(fault.end, fault.begin + LEAST_BAND_SECONDS) - begin
    for axes in (latency, answers):
        axes.axvspan(first, end, color=SPAN, zorder=0, linewidth=0)
    latency.annotate(
        fault.title,
        (first, 1),
        xycoords=("data", "axes fraction"),
        xytext=(2, -3),
        textcoords="offset points",
        rotation=90,
        va="top",
        bbox={"facecolor": "white", "alpha": 0.7, "edgecolor": "none", "pad": 0.5},
        zorder=5,
    )


def draw_latency(axes: Axes, good: Sequence[Sample], begin: float) -> None:
    """Draw p50 and p99 of good GETs, counted from their intended time."""
    steps = [int((one.intended - begin) / STEP_SECONDS) for one in good]
    latencies = pd.Series([one.latency_ms for one in good], index=steps, dtype=float).groupby(level=0)
    every = range(max(steps, default=0) + 1)  # a step without an answer is a gap in the line
    for share, label, colour in ((0.99, "p99", COLOURS[1]), (0.5, "p50", COLOURS[0])):
        values = latencies.agg(quantile, share).reindex(every)
        axes.plot(values.index * STEP_SECONDS, values, color=colour, label=label, linewidth=1.2)
    axes.set_yscale("log")
    plain_numbers(axes.yaxis)
    axes.set_title("latency, ms from the intended send")


def draw_failures(axes: Axes, failed: Sequence[Sample], results: Sequence[Result]) -> None:
    """Mark each failed GET: grey where the fault's promise allows it, red where it does not."""
    marks: dict[bool, list[Sample]] = {True: [], False: []}
    for result in results:
        for sample in filter(result.fault.has, failed):
            marks[is_allowed(sample, result.promise.allowed["get"])].append(sample)
    words = {True: "failures that the promise allows", False: "failures that break a promise"}
    for allowed, its in marks.items():
        seconds = [sample.intended - results[0].fault.begin for sample in its]
        latencies = [max(sample.latency_ms, 1) for sample in its]
        label, colour = f"{words[allowed]} ({len(its)})", ALLOWED if allowed else BROKEN
        axes.plot(seconds, latencies, "x", color=colour, markersize=4, label=label)
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2)
