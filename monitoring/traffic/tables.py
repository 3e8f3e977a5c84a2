"""The tables of a capture, and their CSV files: services by name, the greatest first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from lab.csv_files import Table
from monitoring.names import Names
from monitoring.traffic.packets import ICMP, ICMP6, NANOSECONDS, TCP, UDP, UNKNOWN, protocol_name
from monitoring.traffic.tally import COUNTS, PairCount, Tally, merged

_HANDSHAKES = ("handshakes", "handshake_p50_ms", "handshake_p95_ms", "handshake_max_ms")
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
        """Return all tables, in the order of the report."""
        return [
            Table("packets_per_service_pair", ("source", "destination", "packets"), self.service_pairs()),
            Table("protocol_distribution", ("protocol", "packets"), self.protocols()),
            Table("top_talkers", ("service", "packets"), self.talkers()),
            Table("traffic_summary", ("metric", "value"), self.summary()),
            Table("conversations", ("source", "destination", *COUNTS, *_HANDSHAKES), self.conversations()),
            Table("traffic_rate", ("second", "packets", "bytes"), self.rates()),
            Table("unread", ("reason", "count", "first"), self.unread()),
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
        """Return a row for each pair: counts, and handshake times in milliseconds."""
        rows = sorted(self.pairs.items(), key=lambda item: (-item[1].packets, item[0]))
        return [
            (*pair, *(getattr(count, name) for name in COUNTS), *_handshakes(count)) for pair, count in rows
        ]

    def rates(self, step: int = 0) -> list[tuple[int, int, int]]:
        """Return (second, packets, bytes) of each step since the first packet; a step without packets is zeros.

        `step` is in seconds, a multiple of the tally's, which is the default.
        """
        step = step or self.tally.step
        rates = merged(self.tally.rates, step // self.tally.step)
        every = range(min(rates), max(rates) + 1) if rates else range(0)
        return [(number * step, *rates.get(number, (0, 0))) for number in every]

    def unread(self) -> list[tuple[str, int, str]]:
        """Return (reason, count, place of the first) of the unread parts, the most frequent first."""
        unread = self.tally.unread
        return [(reason, count, unread.first[reason]) for reason, count in unread.counts.most_common()]

    @property
    def duration(self) -> float | None:
        """Seconds from the first packet to the last; None when the capture has no times."""
        known = self.tally.first != UNKNOWN
        return (self.tally.last - self.tally.first) / NANOSECONDS if known else None

    def total(self, name: str) -> int:
        """Sum a count over all pairs."""
        return sum(getattr(count, name) for count in self.pairs.values())

    def per_second(self, count: int) -> str:
        """Return a count divided by the duration."""
        return f"{count / self.duration:.1f}" if self.duration else "unknown"

    def summary(self) -> list[tuple[str, object]]:
        """Return (metric, value) of the whole capture."""
        return [(metric, value_of(self)) for metric, (_, _, value_of) in METRICS.items()]


# The rows of traffic_summary: metric -> its name in the report, its unit, and its value.
METRICS: dict[str, tuple[str, str, Callable[[Tables], object]]] = {
    "packets": ("packets", "", lambda of: of.tally.packets),
    "bytes": ("bytes", "", lambda of: of.tally.bytes),
    "packets_without_size": ("packets of unknown size", "", lambda of: of.tally.without_size),
    "duration_seconds": (
        "from the first packet to the last", "s",
        lambda of: "unknown" if of.duration is None else f"{of.duration:.6f}",
    ),
    "packets_per_second": ("packets per second", "", lambda of: of.per_second(of.tally.packets)),
    "bytes_per_second": ("bytes per second", "", lambda of: of.per_second(of.tally.bytes)),
    "rate_step_seconds": ("step of the rates over time", "s", lambda of: of.tally.step),
    "service_pairs": ("pairs of sender and receiver", "", lambda of: len(of.pairs)),
    "tcp_packets": ("TCP packets", "", lambda of: of.tally.protocols[TCP]),
    "udp_packets": ("UDP packets", "", lambda of: of.tally.protocols[UDP]),
    "icmp_packets": ("ICMP packets", "", lambda of: of.tally.protocols[ICMP]),
    "icmpv6_packets": ("ICMPv6 packets", "", lambda of: of.tally.protocols[ICMP6]),
    "other_packets": (
        "packets of other protocols", "",
        lambda of: of.tally.packets - sum(of.tally.protocols[number] for number in (TCP, UDP, ICMP, ICMP6)),
    ),
    "fragments": ("fragments after the first", "", lambda of: of.tally.fragments),
    "connections_asked_for": ("connections asked for (SYN)", "", lambda of: of.total("asked")),
    "connections_answered": ("connections answered (SYN-ACK)", "", lambda of: of.total("answered")),
    "retransmissions": ("segments sent again", "", lambda of: of.total("retransmissions")),
    "resets": ("resets (RST)", "", lambda of: of.total("rst")),
}  # fmt: skip


def _handshakes(count: PairCount) -> tuple[object, ...]:
    times = count.handshakes
    if not times.count:
        return (0, "", "", "")
    spread = (times.quantile(0.5), times.quantile(0.95), float(times.longest))
    return (times.count, *(f"{value / _MILLISECOND:.3f}" for value in spread))


def _ordered(counts: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))
