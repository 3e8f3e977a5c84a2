"""The health report: uptime, latencies and outages of each service, from the monitor's CSV log."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

from monitoring.colours import BLUE, VERMILION
from monitoring.health.checks import DEGRADED, DOWN, SHOP
from monitoring.health.log import Log, Logged, duration, moment, read, spans
from monitoring.quantiles import quantile
from scripts.document import Document, Picture, Rows, Section, write
from scripts.figures import plt, save

_SLOW = 3  # times the median
_ENOUGH = 20  # answers, of which one in twenty can be spoken of
_UNNOTICED_MS = 10
_HEADINGS = (
    "service", "checks", "answered", "half answered in", "95 % answered in", "slowest answer", "outages",
    "longest outage",
)  # fmt: skip
_WIDTHS = (3, 1, 1, 1.5, 1.5, 1.3, 1, 1.6)
_UNKNOWN = "-"


def report(path: Path, folder: Path) -> Path:
    """Write health_report.pdf, its Markdown and its picture; give the PDF's path. Raises CsvError, OSError."""
    log = read(path)
    folder.mkdir(parents=True, exist_ok=True)
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    made = f"Generated on {now} by python -m monitoring.health --csv {path.name} --report {folder.name}"
    sections = [Section("Executive summary", [_summary(log.services)]), *_found(log, folder)]
    if remarks := [*map(str, log.breaks), *(f"{one[0].upper()}{one[1:]}." for one in log.unread.sentences())]:
        sections.insert(1, Section("What the log does not tell", remarks))
    pdf = folder / "health_report.pdf"
    write(Document("Health", made, sections), pdf.with_suffix(".md"), pdf)
    return pdf


def _found(log: Log, folder: Path) -> Iterator[Section]:
    picture = folder / "health_latency.png"
    picture.unlink(missing_ok=True)
    if not log.services:
        return
    _draw(log.services, picture)
    even = "Every service answered every check, evenly."
    yield Section("Observations", list(_observations(log.services)) or [even])
    rows = [_row(*item) for item in log.services.items()]
    yield Section("Services", [Rows(_HEADINGS, rows, _WIDTHS)])
    yield Section("Latency over time", [Picture(picture, "Latency of each service; crosses: no answer", 110)])


def _summary(found: Mapping[str, Sequence[Logged]]) -> str:
    services = {name: checks for name, checks in found.items() if name != SHOP}
    checks = [check for each in services.values() for check in each]
    shop = found.get(SHOP, [])
    if not checks and not shop:
        return "The log has no check: nothing was recorded."
    ends = [
        f"{word} at the end: {', '.join(names)}."
        for state, word in ((DOWN, "Down"), (DEGRADED, "Degraded"))
        if (names := [name for name, each in services.items() if each[-1].state == state])
    ]
    said = (
        f"The shop was open in {sum(check.up for check in shop):,} of {len(shop):,} checks. " if shop else ""
    )
    if not checks:
        return f"{said}No service was asked."
    seconds = max(check.elapsed for check in checks) - min(check.elapsed for check in checks)
    share = _percent(sum(check.up for check in checks), len(checks))
    return (
        f"{said}{len(services)} services were asked {len(checks):,} times in {duration(seconds)}; "
        f"{share} of the answers were good. {' '.join(ends) or 'All were well at the end.'}"
    )


def _observations(services: Mapping[str, Sequence[Logged]]) -> Iterator[str]:
    for name, checks in services.items():
        log = "" if name == SHOP else f" Its log: sudo make logs NODE={name}"
        for state, word in (
            (DOWN, "was closed" if name == SHOP else "did not answer"),
            (DEGRADED, "was degraded"),
        ):
            for span in spans(checks, state):
                yield f"{name} {word} from {moment(span.begin)} for {span} ({span.why}).{log}"
        latencies = [check.milliseconds for check in checks if check.up]
        median, high = quantile(latencies, 0.5), quantile(latencies, 0.95)
        if median is None or high is None or len(latencies) < _ENOUGH:
            continue
        if high > _SLOW * median and high > _UNNOTICED_MS:
            slow = sum(latency >= high for latency in latencies)
            yield (
                f"{name} is uneven: {slow:,} of {len(latencies):,} answers took {_shown(high)} or more, "
                f"half of them at most {_shown(median)}."
            )


def _row(name: str, checks: Sequence[Logged]) -> tuple[str, ...]:
    latencies = [check.milliseconds for check in checks if check.up]
    found = spans(checks, DOWN)
    spread = (quantile(latencies, 0.5), quantile(latencies, 0.95), max(latencies, default=None))
    longest = max(found, key=lambda span: (span.seconds, not span.whole), default=None)
    return (
        name,
        f"{len(checks):,}",
        _percent(len(latencies), len(checks)),
        *map(_shown, spread),
        f"{len(found):,}",
        str(longest) if longest else _UNKNOWN,
    )


def _shown(milliseconds: float | None) -> str:
    return _UNKNOWN if milliseconds is None else f"{milliseconds:,.1f} ms"


def _percent(part: int, whole: int) -> str:
    """Write a share; what is not all is never rounded to all."""
    hundredths = part * 10_000 // whole
    return f"{hundredths / 100:.2f} %"


def _draw(services: Mapping[str, Sequence[Logged]], path: Path) -> None:
    figure, all_axes = plt.subplots(
        len(services),
        1,
        figsize=(10, 0.7 * len(services) + 1),
        sharex=True,
        layout="constrained",
        squeeze=False,
    )
    for axes, (name, checks) in zip(all_axes[:, 0], services.items(), strict=True):
        axes.plot(*_line(checks), ".-", color=BLUE, ms=3, lw=1)
        down = [check.elapsed for check in checks if not check.up]
        axes.plot(down, [0] * len(down), "x", color=VERMILION)
        axes.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=8)
        axes.set_ylim(bottom=0)
        axes.tick_params(labelsize=7)
        axes.spines[["top", "right"]].set_visible(False)
    all_axes[-1, 0].set_xlabel("seconds since the first check; each axis in milliseconds")
    save(figure, path)


def _line(checks: Sequence[Logged]) -> tuple[list[float], list[float]]:
    """Give the points of a line that is broken where there was no answer, and where the log has a break."""
    points = [(check.elapsed, check.milliseconds if check.up else math.nan) for check in checks[:1]]
    for before, check in pairwise(checks):
        if before.part != check.part:
            points.append((check.elapsed, math.nan))
        points.append((check.elapsed, check.milliseconds if check.up else math.nan))
    return [point[0] for point in points], [point[1] for point in points]
