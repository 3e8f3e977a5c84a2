"""The run as a picture: what clients waited, what failed, and who answered; each fault a band."""

import math
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes

from chaos.analysis import OK, Fault, percentile
from chaos.load import Sample
from monitoring.colours import COLOURS
from monitoring.distribution import stack

mpl.use("Agg")
import matplotlib.pyplot as plt

STEP_SECONDS = 0.5
BAND, FAILED = "#e8e4da", "#D55E00"


def draw(samples: Sequence[Sample], faults: Sequence[Fault], path: Path) -> None:
    """Write the PNG."""
    begin = faults[0].begin
    last = max(fault.until for fault in faults)
    gets = sorted(
        (sample for sample in samples if sample.kind == "get" and begin <= sample.intended < last),
        key=lambda sample: sample.intended,
    )
    figure, (latency, answers) = plt.subplots(
        2, 1, figsize=(15, 7), sharex=True, layout="constrained", height_ratios=(3, 2)
    )
    draw_latency(latency, gets, begin)
    good = [(sample.intended, sample.instance or "?") for sample in gets if sample.status == OK]
    stack(answers, good, begin, STEP_SECONDS)
    answers.legend(loc="upper left", bbox_to_anchor=(0, 1.16), ncols=6, fontsize=8, frameon=False)
    answers.set_xlabel("seconds")
    answers.set_xlim(0, last - begin)
    for axes in (latency, answers):
        for fault in faults[1:]:
            axes.axvspan(fault.begin - begin, fault.end - begin, color=BAND, zorder=0, linewidth=0)
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
    figure.savefig(path, dpi=130)
    plt.close(figure)


def draw_latency(axes: Axes, gets: Sequence[Sample], begin: float) -> None:
    """Draw p50 and p99 of good GETs, counted from when they were meant to be sent, and each failed one."""
    steps: dict[int, list[float]] = {}
    for sample in gets:
        if sample.status == OK:
            steps.setdefault(int((sample.intended - begin) / STEP_SECONDS), []).append(sample.latency_ms)
    every = range(max(steps, default=0) + 1)  # a step without an answer is a gap in the line
    times = [step * STEP_SECONDS for step in every]
    for share, label, colour in ((0.99, "p99", COLOURS[1]), (0.5, "p50", COLOURS[0])):
        values = [percentile(steps[step], share) if step in steps else math.nan for step in every]
        axes.plot(times, values, color=colour, label=label, linewidth=1.2)
    failed = [sample for sample in gets if sample.status != OK]
    axes.plot(
        [sample.intended - begin for sample in failed],
        [max(sample.latency_ms, 1) for sample in failed],
        "x",
        color=FAILED,
        markersize=4,
        label=f"failed GETs ({len(failed)})",
    )
    axes.set_yscale("log")
    axes.set_ylabel("ms from intended send")
    axes.set_title("What clients felt: GET /api/products at a constant rate", loc="left")
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=3, fontsize=8, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
