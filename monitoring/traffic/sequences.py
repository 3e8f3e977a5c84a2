"""Find retransmissions of TCP, and the durations of handshakes.

A segment is a retransmission when it begins before the end of what its sender has sent (RFC 9293, 3.4: SND.NXT), as
seen at the point of capture; a reordered one counts too. Works on batches; the memory between them is bounded.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from monitoring.traffic.packets import ACK, FIN, RST, SYN, TCP, UNKNOWN, Integers, Packets, Truths

_MAX_FLOWS = 1 << 17  # remembered between batches, the latest
_JUMP = 1 << 24  # a larger step between a sender's segments is a new connection
_COLUMNS = 5
_LIFT = 1 << 44  # more than any number of bytes in a batch: keeps running maxima of groups apart
_HALF, _WHOLE = 1 << 31, 1 << 32
_PORT_BITS = 16


def flow_keys(packets: Packets, rows: Integers, *, back: bool = False) -> Integers:
    """Return one number for the addresses and ports of some packets; `back`: as in their replies."""
    ends = (packets.source, packets.destination, packets.source_port, packets.destination_port)
    source, destination, source_port, destination_port = (end[rows] for end in ends)
    if back:
        return _key(destination, source, destination_port, source_port)
    return _key(source, destination, source_port, destination_port)


def _key(
    source: Integers, destination: Integers, source_port: Integers, destination_port: Integers
) -> Integers:
    key = source
    for part in (destination, source_port, destination_port):
        key = (key << _PORT_BITS) | part
    return key


def _starts(groups: Integers) -> Truths:
    """Return where a new group begins in sorted numbers."""
    first = np.ones(len(groups), np.bool_)
    first[1:] = groups[1:] != groups[:-1]
    return first


def _signed(difference: Integers) -> Integers:
    """Return a difference of 32-bit numbers that wrap around, as a signed number."""
    return ((difference + _HALF) % _WHOLE) - _HALF


@dataclass
class _Segments:
    """SYNs and segments with data or FIN, sorted by flow; `row` is UNKNOWN for those of earlier batches."""

    key: Integers
    row: Integers
    syn: Integers  # 0 or 1
    sequence: Integers
    length: Integers


class Retransmissions:
    """Finds segments sent again."""

    def __init__(self) -> None:
        self._known = _Segments(*(np.zeros(0, np.int64) for _ in range(_COLUMNS)))

    def find(self, packets: Packets) -> Truths:
        """Return which packets of the batch were sent before."""
        again = np.zeros(len(packets), np.bool_)
        segments = self._with_known(_segments_of(packets))
        if not len(segments.key):
            return again
        syn = segments.syn == 1
        opening = syn & ~self._same_syn(segments)
        again[segments.row[syn & ~opening & (segments.row >= 0)]] = True
        era: Integers = np.cumsum(_starts(segments.key) | opening)
        data = np.flatnonzero(~syn)
        sent_again, furthest = _running(era[data], segments.sequence[data], segments.length[data])
        rows = segments.row[data][sent_again]
        again[rows[rows >= 0]] = True
        self._remember(segments, era, data, furthest)
        return again

    def _with_known(self, new: _Segments) -> _Segments:
        known = self._known
        here = np.isin(known.key, new.key)
        self._elsewhere = ~here
        joined = [
            np.concatenate((old[here], fresh))
            for old, fresh in zip(_columns(known), _columns(new), strict=True)
        ]
        order = np.argsort(joined[0], kind="stable")
        return _Segments(*(column[order] for column in joined))

    @staticmethod
    def _same_syn(segments: _Segments) -> Truths:
        """Return which SYNs repeat the flow's last one."""
        same = np.zeros(len(segments.key), np.bool_)
        at = np.flatnonzero(segments.syn)
        same_flow = segments.key[at[1:]] == segments.key[at[:-1]]
        same[at[1:]] = same_flow & (segments.sequence[at[1:]] == segments.sequence[at[:-1]])
        return same

    def _remember(self, segments: _Segments, era: Integers, data: Integers, furthest: Integers) -> None:
        """Keep the last SYN of each flow, and the end of its data since."""
        syn = np.flatnonzero(segments.syn)
        last_syn = syn[np.append(segments.key[syn][1:] != segments.key[syn][:-1], True)] if len(syn) else syn
        keys = segments.key[data]
        last = np.append(keys[1:] != keys[:-1], True) if len(data) else np.zeros(0, np.bool_)
        last_era = era[np.append(segments.key[1:] != segments.key[:-1], True)]
        last &= np.isin(era[data], last_era)
        last_data = data[last]
        none = np.full(len(last_syn) + len(last_data), UNKNOWN, np.int64)
        fresh = _Segments(
            np.concatenate((segments.key[last_syn], segments.key[last_data])),
            none,
            np.repeat((1, 0), (len(last_syn), len(last_data))),
            np.concatenate((segments.sequence[last_syn], furthest[last])),
            np.zeros(len(none), np.int64),
        )
        pairs = zip(_columns(self._known), _columns(fresh), strict=True)
        joined = [np.concatenate((old[self._elsewhere], new))[-_MAX_FLOWS:] for old, new in pairs]
        self._known = _Segments(*joined)


def _columns(segments: _Segments) -> tuple[Integers, ...]:
    return (segments.key, segments.row, segments.syn, segments.sequence, segments.length)


def _segments_of(packets: Packets) -> _Segments:
    tcp = (packets.protocol == TCP) & ~packets.fragment & (packets.flags & RST == 0)
    rows = np.flatnonzero(tcp & ((packets.payload > 0) | (packets.flags & (SYN | FIN) != 0)))
    flags = packets.flags[rows]
    length = np.maximum(packets.payload[rows], 0) + (flags & FIN != 0)
    return _Segments(flow_keys(packets, rows), rows, (flags & SYN) // SYN, packets.sequence[rows], length)


def _running(era: Integers, sequence: Integers, length: Integers) -> tuple[Truths, Integers]:
    """Return which segments begin before the end of what came earlier in their era, and that end."""
    step = np.zeros(len(era), np.int64)
    step[1:] = _signed(sequence[1:] - sequence[:-1])
    first = _starts(era) | (np.abs(step) > _JUMP)
    group: Integers = np.cumsum(first)
    step[first] = 0
    position: Integers = np.cumsum(
        step
    )  # within a group: bytes from its first segment; the offset is the group's own
    if len(position):
        position = position - position[first][group - 1]
    reached = np.maximum.accumulate(position + length + group * _LIFT) - group * _LIFT
    again = np.zeros(len(era), np.bool_)
    again[1:] = ~first[1:] & (position[1:] < reached[:-1])
    return again, (sequence[first][group - 1] + reached) % _WHOLE if len(era) else reached


@dataclass(frozen=True)
class Handshakes:
    """Completed handshakes: client, server, and nanoseconds from the first SYN to the SYN-ACK."""

    client: Integers
    server: Integers
    duration: Integers


class HandshakeTimes:
    """Pairs each SYN with its answer."""

    def __init__(self) -> None:
        self._waiting_key, self._waiting_time = np.zeros(0, np.int64), np.zeros(0, np.int64)

    def find(self, packets: Packets) -> Handshakes:
        """Return the handshakes that were answered in this batch."""
        tcp = (packets.protocol == TCP) & ~packets.fragment & (packets.time != UNKNOWN)
        kind = packets.flags & (SYN | ACK | RST)
        asked, answered = np.flatnonzero(tcp & (kind == SYN)), np.flatnonzero(tcp & (kind == SYN | ACK))
        keys = (self._waiting_key, flow_keys(packets, asked), flow_keys(packets, answered, back=True))
        times = (self._waiting_time, packets.time[asked], packets.time[answered])
        rows = np.concatenate((np.full(len(keys[0]), UNKNOWN), asked, answered))
        is_answer = np.repeat((False, False, True), [len(part) for part in keys])
        key, time = np.concatenate(keys), np.concatenate(times)
        order = np.lexsort((rows, key))
        key, time, rows, is_answer = key[order], time[order], rows[order], is_answer[order]
        first = _starts(key)
        first[1:] |= is_answer[:-1] & ~is_answer[1:]  # a SYN after an answer: the ports are used again
        begin = np.maximum.accumulate(np.where(first, np.arange(len(key)), 0)) if len(key) else first
        follows = np.zeros(len(key), np.bool_)
        follows[1:] = ~is_answer[:-1] & ~first[1:]
        done = np.flatnonzero(is_answer & follows)
        duration = time[done] - time[begin[done]]
        last = np.append(key[1:] != key[:-1], True) if len(key) else first
        open_ones = np.flatnonzero(last & ~is_answer)
        self._waiting_key = key[open_ones][-_MAX_FLOWS:]
        self._waiting_time = time[begin[open_ones]][-_MAX_FLOWS:]
        return Handshakes(
            packets.destination[rows[done]], packets.source[rows[done]], np.maximum(duration, 0)
        )
