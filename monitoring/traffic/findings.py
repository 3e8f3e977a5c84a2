"""What the figures of a capture mean, and what a person should do about it."""

from __future__ import annotations

from collections.abc import Iterator

from monitoring.traffic.tables import Tables

_MANY_AGAIN, _MANY_RESETS, _SLOW_MILLISECONDS = 0.01, 0.02, 100
_MOST_NAMED = 5


def summary(tables: Tables) -> str:
    """Give the executive summary."""
    tally, duration = tables.tally, tables.duration
    if not tally.packets:
        return "The capture holds no packet."
    when = f" in {duration:.1f} seconds ({tally.packets / duration:,.0f} packets/s)" if duration else ""
    said = [
        f"{tally.packets:,} packets with {_bytes(tally.bytes)} were seen{when}, between {len(tables.pairs)} pairs."
    ]
    protocol, count = tables.protocols()[0]
    said.append(f"Most of it is {protocol} ({100 * count / tally.packets:.1f} %).")
    if pairs := tables.service_pairs():
        source, destination, packets = pairs[0]
        said.append(f"The busiest way is {source} to {destination} with {packets:,} packets.")
    if asked := tables.total("syn"):
        said.append(f"{asked:,} connections were asked for, {tables.total('syn_ack'):,} answered.")
    return " ".join(said)


def observations(tables: Tables) -> list[str]:
    """Give what deserves attention, the worst first."""
    found = [*_unanswered(tables), *_sent_again(tables), *_resets(tables), *_slow(tables), *_unread(tables)]
    return found or [
        "Nothing deserves attention: connections were answered, and next to nothing was sent again."
    ]


def _unanswered(tables: Tables) -> Iterator[str]:
    rows = []
    for (source, destination), count in tables.pairs.items():
        back = tables.pairs.get((destination, source))
        missing = count.syn - (back.syn_ack if back else 0)
        if missing > 0:
            rows.append((missing, count.syn, source, destination))
    for missing, asked, source, destination in sorted(rows, reverse=True)[:_MOST_NAMED]:
        yield (
            f"{missing} of {asked} connections from {source} to {destination} were not answered within the capture: "
            f"dropped, or nobody listens. Ask why: sudo make explain FROM={source} TO={destination} PORT=..."
        )


def _sent_again(tables: Tables) -> Iterator[str]:
    rows = [
        (count.retransmissions / count.packets, count.retransmissions, pair)
        for pair, count in tables.pairs.items()
        if count.retransmissions > _MANY_AGAIN * count.packets
    ]
    for share, times, (source, destination) in sorted(rows, reverse=True)[:_MOST_NAMED]:
        yield (
            f"{source} sent {times} packets to {destination} again ({100 * share:.1f} % of its packets): they, or "
            "their answers, did not arrive in time. Look for drops: sudo make status, ip -s link"
        )


def _resets(tables: Tables) -> Iterator[str]:
    asked, resets = tables.total("syn"), tables.total("rst")
    if resets > max(_MANY_RESETS * asked, 1):
        worst = max(tables.pairs.items(), key=lambda item: item[1].rst)
        yield (
            f"{resets} connections were reset ({worst[1].rst} by {worst[0][0]} towards {worst[0][1]}): refused, or "
            "ended early by a program, as health checks do. Is it allowed? sudo make explain "
            f"FROM={worst[0][1]} TO={worst[0][0]} PORT=..."
        )


def _slow(tables: Tables) -> Iterator[str]:
    for (source, destination), count in sorted(tables.pairs.items()):
        p95 = count.handshakes.quantile(0.95) / 1e6
        if p95 > _SLOW_MILLISECONDS:
            yield (
                f"One in twenty handshakes from {source} to {destination} took over {p95:.0f} ms: SYNs are lost and "
                f"sent again after a second, or {destination} is overloaded (its accept queue: ss -ltn)"
            )


def _unread(tables: Tables) -> Iterator[str]:
    unread = tables.tally.unread
    for reason, count in unread.counts.most_common():
        first = f" (first at {unread.first[reason]})" if unread.first[reason] else ""
        yield f"Not read: {reason}, {count} times{first}."
    if tables.tally.without_size:
        yield (
            f"{tables.tally.without_size} packets came without their size, so bytes are a lower bound; tcpdump -e "
            "prints it, and pcap has it."
        )


def _bytes(count: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":  # noqa: PLR2004 - SI
            return f"{count:,.0f} {unit}" if unit == "bytes" else f"{count:,.1f} {unit}"
        count /= 1000
    return ""
