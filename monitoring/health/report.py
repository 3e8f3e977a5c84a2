"""The health report: uptime, latencies and outages of each service, from the monitor's CSV log."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from monitoring.colours import BLUE, VERMILION
from monitoring.health.checks import DEGRADED, DOWN, SHOP, Check
from monitoring.health.history import quantile
from scripts.document import Document, Picture, Rows, Section, write
from scripts.figures import plt, save

_SLOW = 3  # times the median
_ENOUGH = 20  # answers, of which one in twenty can be spoken of
_HEADINGS = ("service", "checks", "uptime %", "p50 ms", "p95 ms", "max ms", "outages", "longest s")


def read(log: Path) -> dict[str, list[Check]]:
    """Read a log: checks by service, in time's order. A line that is none is left out, as a last half one."""
    found: dict[str, list[Check]] = {}
    with log.open(newline="", encoding="utf-8", errors="replace") as lines:
        for row in csv.DictReader(lines):
            try:
                time = datetime.fromisoformat(row["time"]).timestamp()
                check = Check(
                    row["service"], time, row["up"] == "1", float(row["milliseconds"]), row["why"] or ""
                )
            except (ValueError, KeyError, TypeError):
                continue
            found.setdefault(check.node, []).append(check)
    return found


def spans(checks: Sequence[Check], state: str) -> list[tuple[float, float, str]]:
    """Give (begin, seconds, why) of each time a service was in this state, as far as checks tell."""
    found: list[tuple[float, float, str]] = []
    since: Check | None = None
    for check in checks:
        if check.state == state and since is None:
            since = check
        elif check.state != state and since is not None:
            found.append((since.time, check.time - since.time, since.why))
            since = None
    if since is not None:
        found.append((since.time, checks[-1].time - since.time, since.why))
    return found


def report(log: Path, folder: Path) -> Path:
    """Write health_report.pdf, its Markdown and its picture; give the PDF's path."""
    services = read(log)
    folder.mkdir(parents=True, exist_ok=True)
    picture = folder / "health_latency.png"
    _draw(services, picture)
    when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    made = f"Generated on {when} by python -m monitoring.health --csv {log.name} --report {folder.name}"
    sections = [
        Section("Executive summary", [_summary(services)]),
        Section(
            "Observations", list(_observations(services)) or ["Every service answered every check, evenly."]
        ),
        Section(
            "Services",
            [Rows(_HEADINGS, [_row(*item) for item in services.items()], (3, 1, 1, 1, 1, 1, 1, 1))],
        ),
        Section("Latency over time", [Picture(picture, "Latency of each service; crosses: no answer", 110)]),
    ]
    path = folder / "health_report.pdf"
    write(Document("Health", made, sections), path.with_suffix(".md"), path)
    return path


def _summary(found: dict[str, list[Check]]) -> str:
    services = {name: checks for name, checks in found.items() if name != SHOP}
    checks = [check for each in services.values() for check in each]
    if not checks:
        return "No check is in the log."
    seconds = max(check.time for check in checks) - min(check.time for check in checks)
    up = sum(check.up for check in checks)
    ends = [
        f"{word} at the end: {', '.join(names)}."
        for state, word in ((DOWN, "Down"), (DEGRADED, "Degraded"))
        if (names := [name for name, each in services.items() if each[-1].state == state])
    ]
    shop = found.get(SHOP, [])
    opened = f"The shop was open in {sum(check.up for check in shop)} of {len(shop)} checks. " if shop else ""
    return (
        f"{opened}{len(services)} services were asked {len(checks)} times in {seconds:.0f} seconds; "
        f"{100 * up / len(checks):.2f} % of the answers were good. {' '.join(ends) or 'All were well at the end.'}"
    )


def _observations(services: dict[str, list[Check]]) -> Iterator[str]:
    for name, checks in services.items():
        log = "" if name == SHOP else f" Its log: sudo make logs NODE={name}"
        for state, word in (
            (DOWN, "was closed" if name == SHOP else "did not answer"),
            (DEGRADED, "was degraded"),
        ):
            for begin, seconds, why in spans(checks, state):
                at = datetime.fromtimestamp(begin, UTC).strftime("%H:%M:%S UTC")
                yield f"{name} {word} from {at} for about {seconds:.0f} s ({why}).{log}"
        latencies = [check.milliseconds for check in checks if check.up]
        median, high = quantile(latencies, 0.5), quantile(latencies, 0.95)
        if len(latencies) >= _ENOUGH and high > _SLOW * median and high > 10:  # noqa: PLR2004 - ms that nobody notices
            slow = sum(latency >= high for latency in latencies)
            yield (
                f"{name} is uneven: {slow} of {len(latencies)} answers took {high:.1f} ms or more, "
                f"half of them at most {median:.1f} ms."
            )


def _row(name: str, checks: Sequence[Check]) -> tuple[str, ...]:
    latencies = [check.milliseconds for check in checks if check.up]
    found = spans(checks, DOWN)
    up = 100 * sum(check.up for check in checks) / len(checks)
    spread = (quantile(latencies, 0.5), quantile(latencies, 0.95), max(latencies, default=0.0))
    longest = max((seconds for _, seconds, _ in found), default=0.0)
    return (
        name,
        str(len(checks)),
        f"{up:.2f}",
        *(f"{value:.1f}" for value in spread),
        str(len(found)),
        f"{longest:.0f}",
    )


def _draw(services: dict[str, list[Check]], path: Path) -> None:
    figure, all_axes = plt.subplots(
        max(len(services), 1),
        1,
        figsize=(10, 0.7 * len(services) + 1),
        sharex=True,
        layout="constrained",
        squeeze=False,
    )
    begin = min((check.time for checks in services.values() for check in checks), default=0.0)
    for axes, (name, checks) in zip(all_axes[:, 0], services.items(), strict=False):
        up, down = [check for check in checks if check.up], [check for check in checks if not check.up]
        axes.plot(
            [check.time - begin for check in up],
            [check.milliseconds for check in up],
            ".-",
            color=BLUE,
            ms=3,
            lw=1,
        )
        axes.plot([check.time - begin for check in down], [0] * len(down), "x", color=VERMILION)
        axes.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=8)
        axes.set_ylim(bottom=0)
        axes.tick_params(labelsize=7)
        axes.spines[["top", "right"]].set_visible(False)
    all_axes[-1, 0].set_xlabel("seconds; each axis in milliseconds")
    save(figure, path)
