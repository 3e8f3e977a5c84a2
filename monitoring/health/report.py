"""The health report: uptime, latencies and outages of each service, from the monitor's CSV log."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from lab.colours import BLUE, VERMILION
from lab.document import Block, Document, Picture, Rows, Section
from lab.document_files import write
from lab.escape import for_picture
from lab.figures import PAGE_HEIGHT, PAGE_WIDTH, plain_numbers, plt, save
from monitoring.health.checks import DEGRADED, DOWN, SHOP, UP
from monitoring.health.log import Log, duration, length, moment, read, spans
from monitoring.quantiles import quantile

_SLOW = 3  # slow: more than 3 times the median
_ENOUGH = 20  # answers: fewer are not enough to judge a 95th percentile
_UNNOTICED_MS = 10  # faster answers are never called uneven
_MAX_SENTENCES = 40  # sentences of one kind
_MAX_ROWS, _MAX_NAMED = 100, 20  # services in the table, and in a sentence
_MAX_PANELS = 14  # more panels leave no room for their names
_COLUMNS, _PANEL_INCHES, _AXIS_INCHES = 2, 1.1, 0.5
_HEADINGS = (
    "service", "checks", "answered", "half answered in", "95 % answered in", "slowest answer", "outages",
    "longest outage",
)  # fmt: skip
_WIDTHS = (3, 1, 1, 1.5, 1.5, 1.3, 1, 1.6)
_UNKNOWN = "-"


def report(path: Path, folder: Path) -> Path:
    """Write health_report.pdf, its Markdown and its picture; return the PDF's path. Raises CsvError, OSError."""
    log = read(path)
    folder.mkdir(parents=True, exist_ok=True)
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    made = f"Generated on {now} by python -m monitoring.health --csv {path.name} --report {folder.name}"
    sections = [Section("Executive summary", [_summary(log.checks)]), *_sections(log, folder, path.name)]
    if remarks := [*_limit_sentences(map(str, log.breaks), "breaks"), *log.unread.remarks()]:
        sections.insert(1, Section("What the log does not show", remarks))
    pdf = folder / "health_report.pdf"
    write(Document("Health", made, sections), pdf.with_suffix(".md"), pdf)
    return pdf


def _sections(log: Log, folder: Path, name: str) -> Iterator[Section]:
    picture = folder / "health_latency.png"
    picture.unlink(missing_ok=True)
    if log.checks.empty:
        return
    services = _statistics(log.checks)
    even = "Every service answered every check, evenly."
    yield Section("Observations", list(_observations(log.checks, services)) or [even])
    shown = _worst(services, _MAX_ROWS)
    table: list[Block] = [Rows(_HEADINGS, [_row(service) for _, service in shown.iterrows()], _WIDTHS)]
    if left := len(services) - len(shown):
        table.append(
            f"These are the {len(shown)} of {len(services):,} with the most failures, then the slowest. "
            f"{_many(left, 'more row')} would follow; {name} has every check."
        )
    yield Section("Services", table)
    drawn = _worst(services, _MAX_PANELS)
    _draw(log.checks, list(drawn.index), picture)
    heading = "Latency over time"
    if len(drawn) < len(services):
        heading += f": the {len(drawn)} of {len(services):,} with the most failures, then the slowest"
    yield Section(heading, [Picture(picture, "Latency of each service; crosses: no answer")])


def _statistics(checks: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each service, in the order of the log; latencies in milliseconds."""
    latencies = checks[checks["up"]].groupby("node")["milliseconds"]
    outages = spans(checks).query("state == @DOWN").sort_values(["seconds", "whole"], ascending=[False, True])
    by_node = checks.groupby("node", sort=False)
    longest = outages.groupby("node").first()
    return by_node.agg(checks=("up", "size"), answered=("up", "sum"), last=("state", "last")).assign(
        median=latencies.agg(lambda values: quantile(values, 0.5)),
        high=latencies.agg(lambda values: quantile(values, 0.95)),
        slowest=latencies.max(),
        outages=outages.groupby("node").size(),
        longest=longest["seconds"],
        whole=longest["whole"],
    )


def _worst(services: pd.DataFrame, most: int) -> pd.DataFrame:
    """Return the services with the most failures, then the slowest; or all as they are if there are no more."""
    if len(services) <= most:
        return services
    unanswered = services["checks"] - services["answered"]
    order = services.assign(failures=unanswered).sort_values(
        ["failures", "high"], ascending=False, kind="stable"
    )
    return services.loc[order.index[:most]]


def _limit_sentences(sentences: Iterable[str], what: str) -> list[str]:
    """Return the first sentences, then one that gives the number of omitted sentences."""
    found = list(sentences)
    left = len(found) - _MAX_SENTENCES
    return [*found[:_MAX_SENTENCES], f"{left:,} more {what} are not listed."] if left > 0 else found


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _summary(checks: pd.DataFrame) -> str:
    if checks.empty:
        return "The log has no check: nothing was recorded."
    is_shop = checks["node"] == SHOP
    shop, others = checks[is_shop], checks[~is_shop]
    opening = "" if shop.empty else f"The shop was open in {shop['up'].sum():,} of {len(shop):,} checks. "
    if others.empty:
        return f"{opening}No service was checked."
    last = others.groupby("node", sort=False)["state"].last()
    ends = [
        f"{word} at the end: {_listed(list(last.index[last == state]))}."
        for state, word in ((DOWN, "Down"), (DEGRADED, "Degraded"))
        if (last == state).any()
    ]
    checked = "was checked" if len(last) == 1 else "were checked"
    seconds = others["elapsed"].max() - others["elapsed"].min()
    share = _percent(int(others["up"].sum()), len(others))
    times = "once" if len(others) == 1 else f"{len(others):,} times in {duration(seconds)}"
    return (
        f"{opening}{_many(len(last), 'service')} {checked} {times}; {share} of the checks were "
        f"answered. {' '.join(ends) or 'All were up at the end.'}"
    )


def _listed(names: Sequence[str]) -> str:
    left = len(names) - _MAX_NAMED
    return ", ".join(names[:_MAX_NAMED]) + (f" and {left:,} more" if left > 0 else "")


def _observations(checks: pd.DataFrame, services: pd.DataFrame) -> Iterator[str]:
    yield from _failures(checks)
    uneven = (sentence for item in services.iterrows() if (sentence := _uneven(*item, checks)))
    yield from _limit_sentences(uneven, "services that are uneven")


def _failures(checks: pd.DataFrame) -> Iterator[str]:
    """Yield each time that a service was down or degraded; of many only the longest, those down first."""
    found = spans(checks)
    found = found[found["state"] != UP]
    is_down = found["state"] == DOWN
    left = len(found) - _MAX_SENTENCES
    if left > 0:
        order = pd.DataFrame({"up": ~is_down, "seconds": -found["seconds"]})
        found = found.loc[order.sort_values(["up", "seconds"], kind="stable").index]
    for _, span in found.head(_MAX_SENTENCES).iterrows():
        yield _failure(span)
    if left > 0:
        yield (
            f"{_many(left, 'more time')} without an answer or degraded, none longer than those above of its kind, are "
            f"not listed. In all, services were without an answer {is_down.sum():,} times and degraded "
            f"{(~is_down).sum():,} times."
        )


def _failure(span: pd.Series[str]) -> str:
    name = str(span["node"])
    what = "was degraded" if span["state"] != DOWN else "was closed" if name == SHOP else "did not answer"
    why = f" ({span['why']})" if span["why"] else ""
    log = "" if name == SHOP else f" Its log: sudo make logs NODE={name}"
    took = length(float(span["seconds"]), whole=bool(span["whole"]))
    return f"{name} {what} from {moment(float(span['begin']))} for {took}{why}.{log}"


def _uneven(name: object, service: pd.Series[float], checks: pd.DataFrame) -> str:
    median, high, answered = service["median"], service["high"], int(service["answered"])
    if answered < _ENOUGH or high <= _SLOW * median or high <= _UNNOTICED_MS:
        return ""
    slow = ((checks["node"] == name) & checks["up"] & (checks["milliseconds"] >= high)).sum()
    return (
        f"{name} is uneven: {slow:,} of {answered:,} answers took {_shown(high)} or more, "
        f"half of them at most {_shown(median)}."
    )


def _row(service: pd.Series[float]) -> tuple[str, ...]:
    has_outage = not pd.isna(service["outages"])
    return (
        str(service.name),
        f"{service['checks']:,}",
        _percent(int(service["answered"]), int(service["checks"])),
        *(_shown(service[name]) for name in ("median", "high", "slowest")),
        f"{service['outages']:,.0f}" if has_outage else "0",
        length(service["longest"], whole=bool(service["whole"])) if has_outage else _UNKNOWN,
    )


def _shown(milliseconds: float) -> str:
    return _UNKNOWN if pd.isna(milliseconds) else f"{milliseconds:,.1f} ms"


def _percent(part: int, whole: int) -> str:
    """Format a share, rounded down so that only all is 100 %."""
    return f"{part * 10_000 // whole / 100:.2f} %"


def _draw(checks: pd.DataFrame, names: list[str], path: Path) -> None:
    """Draw the latencies of services, a panel each on one scale, with a cross for each check without an answer."""
    columns = min(len(names), _COLUMNS)
    rows = math.ceil(len(names) / columns)
    height = min(_PANEL_INCHES * rows + _AXIS_INCHES, PAGE_HEIGHT)
    figure, grid = plt.subplots(
        rows,
        columns,
        figsize=(PAGE_WIDTH, height),
        sharex=True,
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for axes in grid.flat[len(names) :]:
        axes.set_axis_off()
    for axes, name in zip(grid.flat, names, strict=False):
        own = checks[checks["node"] == name]
        down = own[~own["up"]]
        for _, part in own.groupby("part"):
            axes.plot(part["elapsed"], part["milliseconds"].where(part["up"]), ".-", color=BLUE, ms=4, lw=1.2)
        axes.plot(
            down["elapsed"],
            [0.03] * len(down),
            "x",
            color=VERMILION,
            ms=5,
            transform=axes.get_xaxis_transform(),
        )
        axes.set_title(for_picture(name))
        axes.grid(axis="y", alpha=0.5)
    grid[0, 0].set_yscale("log")
    plain_numbers(grid[0, 0].yaxis)
    figure.supxlabel("seconds since the first check; crosses: no answer", fontsize=9)
    figure.supylabel("ms, one logarithmic scale for all", fontsize=9)
    save(figure, path)
