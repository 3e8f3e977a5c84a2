"""The run as a picture: latencies, failures and who answered; each fault a band."""

import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes

from faults.chaos.analysis import Result, is_allowed
from faults.chaos.load import Sample
from lab.figures import plain_numbers, plt, save
from monitoring.colours import COLOURS
from monitoring.distribution import stack
from monitoring.quantiles import quantile

STEP_SECONDS = 0.5
LEAST_BAND_SECONDS = 0.3  # so that a moment is seen too
BAND, BROKEN, ALLOWED = "#e8e4da", "#D55E00", "#8a8a8a"


def draw(samples: Sequence[Sample], results: Sequence[Result], path: Path) -> None:
    """Write the PNG."""
    faults = [result.fault for result in results]
    begin = faults[0].begin
    last = max(fault.until for fault in faults)
    gets = sorted(
        (sample for sample in samples if sample.kind == "get" and begin <= sample.intended < last),
        key=lambda sample: sample.intended,
    )
    figure, (latency, answers) = plt.subplots(
        2, 1, figsize=(20, 8.5), sharex=True, layout="constrained", height_ratios=(3, 2)
    )
    draw_latency(latency, gets, begin)
    draw_failures(latency, gets, results)
    good = [(sample.intended, sample.instance or "?") for sample in gets if sample.good]
    stack(answers, good, begin, STEP_SECONDS)
    answers.legend(loc="upper left", bbox_to_anchor=(0, 1.16), ncols=6, fontsize=8, frameon=False)
    answers.set_xlabel("seconds")
    answers.set_xlim(0, last - begin)
    for axes in (latency, answers):
        for fault in faults[1:]:
            end = max(fault.end, fault.begin + LEAST_BAND_SECONDS)
            axes.axvspan(fault.begin - begin, end - begin, color=BAND, zorder=0, linewidth=0)
    for fault in faults[1:]:
        latency.annotate(
            f"{fault.name.replace('_', ' ')} {fault.node.strip('-')}",
            (fault.begin - begin, 1),
            xycoords=("data", "axes fraction"),
            xytext=(2, -3),
            textcoords="offset points",
            rotation=90,
            va="top",
            fontsize=7,
            color="#222222",
            bbox={"facecolor": "white", "alpha": 0.7, "edgecolor": "none", "pad": 0.5},
            zorder=5,
        )
    save(figure, path)


def draw_latency(axes: Axes, gets: Sequence[Sample], begin: float) -> None:
    """Draw p50 and p99 of good GETs, counted from when they were meant to be sent."""
    steps: dict[int, list[float]] = {}
    for sample in gets:
        if sample.good:
            steps.setdefault(int((sample.intended - begin) / STEP_SECONDS), []).append(sample.latency_ms)
    every = range(max(steps, default=0) + 1)  # a step without an answer is a gap in the line
    times = [step * STEP_SECONDS for step in every]
    for share, label, colour in ((0.99, "p99", COLOURS[1]), (0.5, "p50", COLOURS[0])):
        found = [quantile(steps.get(step, ()), share) for step in every]
        values = [math.nan if value is None else value for value in found]
        axes.plot(times, values, color=colour, label=label, linewidth=1.2)
    axes.set_yscale("log")
    plain_numbers(axes.yaxis)
    axes.set_ylabel("ms from intended send")
    axes.set_title("GET /api/products at a constant rate: latency and failures", loc="left")
    axes.spines[["top", "right"]].set_visible(False)


def draw_failures(axes: Axes, gets: Sequence[Sample], results: Sequence[Result]) -> None:
    """Mark each failed GET: grey where the fault's promise allows it, red where it does not."""
    marks: dict[bool, list[Sample]] = {True: [], False: []}
    for result in results:
        for sample in gets:
            if not sample.good and result.fault.has(sample):
                marks[is_allowed(sample, result.promise.allowed["get"])].append(sample)
    begin = results[0].fault.begin
    for allowed, label, colour in (
        (True, "failures that the promise allows", ALLOWED),
        (False, "failures that break a promise", BROKEN),
    ):
        axes.plot(
            [sample.intended - begin for sample in marks[allowed]],
            [max(sample.latency_ms, 1) for sample in marks[allowed]],
            "x",
            color=colour,
            markersize=4,
            label=f"{label} ({len(marks[allowed])})",
        )
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=4, fontsize=8, frameon=False)
