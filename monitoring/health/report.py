"""The health report: uptime, latencies and outages of each service, from the monitor's CSV log."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from lab.document import Block, Document, Picture, Rows, Section, write
from monitoring.health import pictures
from monitoring.health.checks import DEGRADED, DOWN, SHOP
from monitoring.health.log import Log, Logged, Span, duration, moment, read, spans
from monitoring.quantiles import quantile

_SLOW = 3  # times the median
_ENOUGH = 20  # answers, the fewest of which a 95th percentile is judged
_UNNOTICED_MS = 10  # faster answers are never called uneven
_MOST_SPANS = _MOST_UNEVEN = _MOST_BREAKS = 40
_MOST_ROWS, _MOST_NAMED = 100, 20  # services in the table, and in a sentence
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
    sections = [Section("Executive summary", [_summary(log.services)]), *_found(log, folder, path.name)]
    breaks = _at_most(_MOST_BREAKS, map(str, log.breaks), "breaks")
    if remarks := [*breaks, *log.unread.remarks()]:
        sections.insert(1, Section("What the log does not tell", remarks))
    pdf = folder / "health_report.pdf"
    write(Document("Health", made, sections), pdf.with_suffix(".md"), pdf)
    return pdf


def _found(log: Log, folder: Path, name: str) -> Iterator[Section]:
    picture = folder / "health_latency.png"
    picture.unlink(missing_ok=True)
    if not log.services:
        return
    ranked = dict(sorted(log.services.items(), key=lambda item: _trouble(item[1]), reverse=True))
    even = "Every service answered every check, evenly."
    yield Section("Observations", list(_observations(log.services)) or [even])
    shown = _first(_MOST_ROWS, ranked, log.services)
    rows = [_row(*item) for item in shown.items()]
    table: list[Block] = [Rows(_HEADINGS, rows, _WIDTHS)]
    if left := len(log.services) - len(shown):
        table.append(
            f"These are the {len(shown)} of {len(log.services):,} with the most failures, then the slowest. "
            f"{_many(left, 'more row')} would follow; {name} has every check."
        )
    yield Section("Services", table)
    drawn = _first(pictures.MOST_PANELS, ranked, log.services)
    pictures.draw(drawn, picture)
    heading = "Latency over time"
    if len(drawn) < len(log.services):
        heading += f": the {len(drawn)} of {len(log.services):,} with the most failures, then the slowest"
    latency = Picture(picture, "Latency of each service; crosses: no answer", pictures.HEIGHT_MM)
    yield Section(heading, [latency])


def _trouble(checks: Sequence[Logged]) -> tuple[int, float]:
    """Give what services are ordered by: checks without an answer, then the latency of the slow answers."""
    latencies = [check.milliseconds for check in checks if check.up]
    return len(checks) - len(latencies), quantile(latencies, 0.95) or 0.0


def _first(
    most: int, ranked: Mapping[str, Sequence[Logged]], all_services: Mapping[str, Sequence[Logged]]
) -> Mapping[str, Sequence[Logged]]:
    """Give the first of the ranked services, or all in the order of the log if there are no more."""
    return all_services if len(all_services) <= most else dict(list(ranked.items())[:most])


def _at_most(most: int, sentences: Iterable[str], what: str) -> list[str]:
    """Give the first sentences, and one that says how many more there are."""
    said = list(sentences)
    left = len(said) - most
    return [*said[:most], f"{left:,} more {what} are not listed."] if left > 0 else said


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def _summary(found: Mapping[str, Sequence[Logged]]) -> str:
    services = {name: checks for name, checks in found.items() if name != SHOP}
    checks = [check for each in services.values() for check in each]
    shop = found.get(SHOP, [])
    if not checks and not shop:
        return "The log has no check: nothing was recorded."
    ends = [
        f"{word} at the end: {_listed(names)}."
        for state, word in ((DOWN, "Down"), (DEGRADED, "Degraded"))
        if (names := [name for name, each in services.items() if each[-1].state == state])
    ]
    opening = (
        f"The shop was open in {sum(check.up for check in shop):,} of {len(shop):,} checks. " if shop else ""
    )
    if not checks:
        return f"{opening}No service was checked."
    seconds = max(check.elapsed for check in checks) - min(check.elapsed for check in checks)
    share = _percent(sum(check.up for check in checks), len(checks))
    asked = "was asked" if len(services) == 1 else "were asked"
    times = "once" if len(checks) == 1 else f"{len(checks):,} times in {duration(seconds)}"
    return (
        f"{opening}{_many(len(services), 'service')} {asked} {times}; "
        f"{share} of the answers were good. {' '.join(ends) or 'All were well at the end.'}"
    )


def _listed(names: Sequence[str]) -> str:
    left = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {left:,} more" if left > 0 else "")


def _observations(services: Mapping[str, Sequence[Logged]]) -> Iterator[str]:
    yield from _not_well(services)
    uneven = (said for item in services.items() if (said := _uneven(*item)))
    yield from _at_most(_MOST_UNEVEN, uneven, "services that are uneven")


def _not_well(services: Mapping[str, Sequence[Logged]]) -> Iterator[str]:
    """Say each time that a service was down or degraded; of many only the longest, those down first."""
    found = [
        (span, state, name)
        for name, checks in services.items()
        for state in (DOWN, DEGRADED)
        for span in spans(checks, state)
    ]
    if left := len(found[_MOST_SPANS:]):
        found.sort(key=lambda one: (one[1] != DOWN, -one[0].seconds))
    for span, state, name in found[:_MOST_SPANS]:
        yield _said(name, state, span)
    if left:
        count = sum(state == DOWN for _, state, _ in found)
        yield (
            f"{_many(left, 'more time')} without an answer or degraded, none longer than those above of its kind, are "
            f"not listed. In all, services were without an answer {count:,} times and degraded "
            f"{len(found) - count:,} times."
        )


def _said(name: str, state: str, span: Span) -> str:
    word = "was degraded" if state != DOWN else "was closed" if name == SHOP else "did not answer"
    why = f" ({span.why})" if span.why else ""
    log = "" if name == SHOP else f" Its log: sudo make logs NODE={name}"
    return f"{name} {word} from {moment(span.begin)} for {span}{why}.{log}"


def _uneven(name: str, checks: Sequence[Logged]) -> str:
    latencies = [check.milliseconds for check in checks if check.up]
    median, high = quantile(latencies, 0.5), quantile(latencies, 0.95)
    if median is None or high is None or len(latencies) < _ENOUGH:
        return ""
    if high <= _SLOW * median or high <= _UNNOTICED_MS:
        return ""
    slow = sum(latency >= high for latency in latencies)
    return (
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
    """Format a share, rounded down so that only all is 100 %."""
    hundredths = part * 10_000 // whole
    return f"{hundredths / 100:.2f} %"
