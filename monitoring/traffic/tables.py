"""The tables of a capture, and their CSV files: services by name, the greatest first."""

from __future__ import annotations

from collections import Counter

from lab.csv_files import Table
from monitoring.names import Names
from monitoring.traffic.packets import ICMP, ICMP6, NANOSECONDS, TCP, UDP, UNKNOWN, protocol_name
from monitoring.traffic.tally import COUNTS, PairCount, Tally

_MILLISECOND = 1e6


class Tables:
    """The tables of one tally, with the names of services in place of addresses."""

    def __init__(self, tally: Tally, names: Names) -> None:
        self.tally, self.names = tally, names
        self.pairs: dict[tuple[str, str], PairCount] = {}
        for (source, destination), count in tally.pairs.items():
            pair = (names.of(tally.book.names[source]), names.of(tally.book.names[destination]))
            self.pairs.setdefault(pair, PairCount()).add(count)

    def all(self) -> list[Table]:
        """Return all tables except unread_table."""
        return [
            Table("packets_per_service_pair", ("source", "destination", "packets"), self.service_pairs()),
            Table("protocol_distribution", ("protocol", "packets"), self.protocols()),
            Table("top_talkers", ("service", "packets"), self.talkers()),
            Table("traffic_summary", ("metric", "value"), self.summary()),
            Table(
                "conversations",
                (
                    "source",
                    "destination",
                    *COUNTS,
                    "handshakes",
                    "handshake_p50_ms",
                    "handshake_p95_ms",
                    "handshake_max_ms",
                ),
                self.conversations(),
            ),
            self.rate_table(),
        ]

    def service_pairs(self) -> list[tuple[str, str, int]]:
        """Return (source, destination, packets), the most packets first."""
        rows = [(*pair, count.packets) for pair, count in self.pairs.items()]
        return sorted(rows, key=lambda row: (-row[2], row[:2]))

    def protocols(self) -> list[tuple[str, int]]:
        """Return (protocol, packets), the most packets first."""
        counts: Counter[str] = Counter()
        for number, count in self.tally.protocols.items():
            counts[protocol_name(number)] += count
        return _ordered(counts)

    def talkers(self) -> list[tuple[str, int]]:
        """Return (service, packets sent), the most packets first."""
        counts: Counter[str] = Counter()
        for (source, _), count in self.pairs.items():
            counts[source] += count.packets
        return _ordered(counts)

    def conversations(self) -> list[tuple[object, ...]]:
        """Return a row for each pair: its counts, and its handshake times in milliseconds."""
        rows = sorted(self.pairs.items(), key=lambda item: (-item[1].packets, item[0]))
        return [
            (*pair, *(getattr(count, name) for name in COUNTS), *_handshakes(count)) for pair, count in rows
        ]

    def rate_table(self) -> Table:
        """Return the rates as a table."""
        return Table("traffic_rate", ("second", "packets", "bytes"), self.rates())

    def rates(self) -> list[tuple[int, int, int]]:
        """Return (second, packets, bytes) of each step since the first packet; a step without packets is zeros."""
        rates, step = self.tally.rates, self.tally.step
        every = range(min(rates), max(rates) + 1) if rates else range(0)
        return [(number * step, *rates.get(number, (0, 0))) for number in every]

    @property
    def duration(self) -> float | None:
        """Seconds from the first packet to the last; None when the capture has no times."""
        known = self.tally.first != UNKNOWN
        return (self.tally.last - self.tally.first) / NANOSECONDS if known else None

    def total(self, name: str) -> int:
        """Sum a count over all pairs."""
        return sum(getattr(count, name) for count in self.pairs.values())

    def summary(self) -> list[tuple[str, object]]:
        """Return (metric, value) of the whole capture."""
        tally, duration = self.tally, self.duration
        protocols = tally.protocols
        return [
            ("packets", tally.packets),
            ("bytes", tally.bytes),
            ("packets_without_size", tally.without_size),
            ("duration_seconds", "unknown" if duration is None else f"{duration:.6f}"),
            ("packets_per_second", f"{tally.packets / duration:.1f}" if duration else "unknown"),
            ("bytes_per_second", f"{tally.bytes / duration:.1f}" if duration else "unknown"),
            ("rate_step_seconds", tally.step),
            ("service_pairs", len(self.pairs)),
            *(
                (f"{protocol_name(number).lower()}_packets", protocols[number])
                for number in (TCP, UDP, ICMP, ICMP6)
            ),
            ("other_packets", tally.packets - sum(protocols[number] for number in (TCP, UDP, ICMP, ICMP6))),
            ("fragments", tally.fragments),
            ("connections_asked_for", self.total("asked")),
            ("connections_answered", self.total("answered")),
            ("retransmissions", self.total("retransmissions")),
            ("resets", self.total("rst")),
        ]


def _handshakes(count: PairCount) -> tuple[object, ...]:
    times = count.handshakes
    if not times.count:
        return (0, "", "", "")
    spread = (times.quantile(0.5), times.quantile(0.95), float(times.longest))
    return (times.count, *(f"{value / _MILLISECOND:.3f}" for value in spread))


def _ordered(counts: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def unread_table(tally: Tally) -> Table:
    """Return what could not be read as a table, the most frequent reason first."""
    rows = [
        (reason, count, tally.unread.first[reason]) for reason, count in tally.unread.counts.most_common()
    ]
    return Table("unread", ("reason", "count", "first"), rows)
