"""The distribution of the gateway's requests over instances: a table, CSV, and a picture over time.

    python -m monitoring.distribution --csv FILE --png FILE [--log FILE]

Read from the gateway's log ("Routing request to: ..."). The shares are even while all instances are
in rotation; after an instance returns, the picture shows its slow start.
"""

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from rich.table import Table

from lab.colours import COLOURS, FAINT
from lab.csv_files import write_rows
from lab.figures import PAGE_WIDTH, plt, save, set_title
from lab.terminal import Console
from lab.topology import Topology, bracketed, load, table_path
from lab.unread import Unread
from monitoring.gateway_log import lines_of, log_of_gateway, read, to_products

LAST_SECONDS, IDLE_SECONDS = 300, 10  # of traffic that are drawn; a longer pause is left out
ENOUGH = 300  # requests: fewer are not enough to judge


@dataclass(frozen=True)
class Share:
    """The requests of one instance; `deviation` is in percent of its even share while it took part."""

    instance: str
    requests: int
    share: float
    deviation: float


def shares(requests: Iterable[tuple[float, str]]) -> list[Share]:
    """Return each instance's share of requests, (time, instance) each.

    An instance that answered in a second is due an even share of that second's requests. So an instance that ran only
    part of the time is judged by that time, and a slow start shows.
    """
    frame = pd.DataFrame(list(requests), columns=["time", "instance"])
    counts = frame.groupby([frame["time"].astype(int), "instance"]).size()
    by_second = counts.groupby(level=0)
    even = by_second.transform("sum") / by_second.transform("size")
    sums = pd.DataFrame({"got": counts, "due": even}).groupby(level=1).sum()
    total = int(sums["got"].sum())
    return [
        Share(str(name), int(got), 100 * got / total, 100 * (got - due) / due)
        for name, got, due in sums.itertuples()
    ]


def unevenness(shared: Sequence[Share]) -> float:
    """Return the greatest deviation from an even share, in percent."""
    return max((abs(share.deviation) for share in shared), default=0.0)


def names_by_url(topology: Topology) -> dict[str, str]:
    """Return each node's name by the URLs of its TCP ports."""
    return {
        f"http://{bracketed(address.ip)}:{port}": node.name
        for node in topology.nodes
        for address in node.addresses
        for port in (listener.port for listener in node.listens)
    }


def spans_of(times: Sequence[float]) -> list[tuple[float, float]]:
    """Return the spans of traffic, begin and end, without idle times; at most the last LAST_SECONDS of traffic."""
    spans: list[tuple[float, float]] = []
    for time in reversed(times):
        begin, end = spans[-1] if spans else (time, time)
        if begin - time > IDLE_SECONDS:
            spans.append((time, time))
        elif sum(last - first for first, last in spans) - begin + time >= -LAST_SECONDS:
            spans[-1:] = [(time, end)]
        if sum(last - first for first, last in spans) >= LAST_SECONDS:
            break
    return spans[::-1]


def draw(requests: Sequence[tuple[float, str]], path: Path, seconds: float = 0.5) -> None:
    """Write a PNG: requests a second by instance, stacked, over the last LAST_SECONDS of traffic without idle time."""
    spans = spans_of([time for time, _ in requests])
    figure, axes = plt.subplots(figsize=(PAGE_WIDTH, 4), layout="constrained")
    moved: list[tuple[float, str]] = []
    at = 0.0
    for number, (begin, end) in enumerate(spans):
        if number:
            _mark_idle(axes, at, begin - spans[number - 1][1])
        moved += [(time - begin + at, instance) for time, instance in requests if begin <= time <= end]
        at += end - begin + seconds
    stack(axes, moved, 0.0, seconds)
    axes.set_xlabel("seconds of traffic; a dotted line: idle time left out")
    axes.legend(loc="upper left", bbox_to_anchor=(0, 1.1), ncols=6)
    first, last = (f"{datetime.fromtimestamp(time, UTC):%H:%M:%S}" for time in (spans[0][0], spans[-1][1]))
    left = len(requests) - len(moved)
    earlier = f"; {left:,} earlier ones are not drawn" if left else ""
    set_title(figure, f"{len(moved):,} requests by instance, {first} to {last} UTC{earlier}")
    save(figure, path)


def _mark_idle(axes: Axes, at: float, seconds: float) -> None:
    axes.axvline(at, color=FAINT, linestyle=":", linewidth=1.2, zorder=3)
    axes.text(at, 1, f" {seconds:,.0f} s", transform=axes.get_xaxis_transform(), va="top", color=FAINT)


def stack(axes: Axes, requests: Sequence[tuple[float, str]], begin: float, seconds: float) -> None:
    """Draw requests, as time and instance, stacked by instance."""
    frame = pd.DataFrame(list(requests), columns=["time", "instance"])
    steps = ((frame["time"] - begin) // seconds).astype(int)
    counts = frame.groupby([steps, "instance"]).size().unstack(fill_value=0)
    counts = counts.reindex(range(max(int(steps.max()) + 1, 1)), fill_value=0) / seconds
    edges = [number * seconds for number in counts.index]
    colours = [COLOURS[number % len(COLOURS)] for number in range(len(counts.columns))]
    axes.stackplot(edges, *counts.T.to_numpy(), labels=counts.columns, colors=colours, linewidth=0)
    axes.set_ylabel("requests/s")
    axes.set_xlim(0, max(edges[-1], seconds))


def show(shared: Sequence[Share], unread: Unread) -> None:
    """Print the table."""
    table = Table("instance", title="Requests by instance", title_justify="left")
    for heading in ("requests", "share %", "over an even share, %"):
        table.add_column(heading, justify="right")
    for share in shared:
        table.add_row(share.instance, f"{share.requests:,}", f"{share.share:.2f}", f"{share.deviation:+.2f}")
    console = Console()
    console.print(table)
    sentences = list(unread.sentences())
    if sum(share.requests for share in shared) < ENOUGH:
        sentences.append(f"too few requests to judge: fewer than {ENOUGH}")
    else:
        sentences.append(f"greatest deviation from an even share: {unevenness(shared):.2f} %")
    console.print(*sentences, sep="\n", soft_wrap=True)


def main() -> None:
    """Report on a log."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--log", type=Path, help="default: the log of the running lab's gateway")
    parser.add_argument("--csv", type=Path, required=True)
    parser.add_argument("--png", type=Path, required=True)
    options = parser.parse_args()
    topology = load(table_path())
    log = options.log or log_of_gateway(topology)
    if not log.is_file():
        raise SystemExit(f"distribution: {log}: no such log; sudo make services starts the gateway")
    unread = Unread()
    routed, _ = read(lines_of(log), unread)
    requests = [(request.time, request.instance) for request in to_products(routed)]
    if not requests:
        raise SystemExit(
            "distribution: no request for products was routed yet; curl http://localhost:8080/api/products"
        )
    shared = shares(requests)
    show(shared, unread)
    columns = ("instance", "requests", "share_percent", "deviation_percent")
    rows = ((one.instance, one.requests, round(one.share, 3), round(one.deviation, 3)) for one in shared)
    write_rows(options.csv, columns, rows)
    draw(sorted(requests), options.png)


if __name__ == "__main__":
    main()
