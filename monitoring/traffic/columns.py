"""Headings and types of the columns in a capture's tables.

The keys are the names in the CSV files, which are a contract; the report and the data frames use the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """The type of a column, as pandas names it; each of them can hold missing values."""

    TEXT = "string"
    COUNT = "Int64"
    NUMBER = "Float64"


@dataclass(frozen=True)
class Column:
    """The heading of a column in the report, and its type."""

    heading: str
    kind: Kind = Kind.COUNT


COLUMNS = {
    "source": Column("from", Kind.TEXT),
    "destination": Column("to", Kind.TEXT),
    "service": Column("service", Kind.TEXT),
    "protocol": Column("protocol", Kind.TEXT),
    "metric": Column("figure", Kind.TEXT),
    "value": Column("value", Kind.NUMBER),
    "reason": Column("what", Kind.TEXT),
    "count": Column("times"),
    "first": Column("first at", Kind.TEXT),
    "second": Column("seconds since the first packet"),
    "packets": Column("packets"),
    "bytes": Column("bytes"),
    "syn": Column("times asked"),
    "syn_ack": Column("answered"),
    "fin": Column("ended"),
    "rst": Column("reset"),
    "retransmissions": Column("sent again"),
    "handshakes": Column("handshakes"),
    "handshake_p50_ms": Column("median ms", Kind.NUMBER),
    "handshake_p95_ms": Column("95 % within ms", Kind.NUMBER),
    "handshake_max_ms": Column("longest ms", Kind.NUMBER),
}

# The rows of traffic_summary: metric -> its name in the report, and its unit.
METRICS = {
    "packets": ("packets", ""),
    "bytes": ("bytes", ""),
    "packets_without_size": ("packets of unknown size", ""),
    "duration_seconds": ("from the first packet to the last", "s"),
    "packets_per_second": ("packets per second", ""),
    "bytes_per_second": ("bytes per second", ""),
    "rate_step_seconds": ("step of the rates over time", "s"),
    "service_pairs": ("pairs of sender and receiver", ""),
    "tcp_packets": ("TCP packets", ""),
    "udp_packets": ("UDP packets", ""),
    "icmp_packets": ("ICMP packets", ""),
    "icmpv6_packets": ("ICMPv6 packets", ""),
    "other_packets": ("packets of other protocols", ""),
    "fragments": ("fragments after the first", ""),
    "connections_asked_for": ("connections asked for (SYN)", ""),
    "connections_answered": ("connections answered (SYN-ACK)", ""),
    "retransmissions": ("segments sent again", ""),
    "resets": ("resets (RST)", ""),
}
