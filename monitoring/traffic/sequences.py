"""Find retransmissions of TCP, and the durations of handshakes.

A segment is a retransmission when it begins before the end of what its sender has sent (RFC 9293, 3.4: SND.NXT), as
seen at the point of capture; a reordered one counts too. Works on batches; the memory between them is bounded.
"""

from __future__ import annotations

import numpy as np

from monitoring.traffic.packets import ACK, FIN, RST, SYN, TCP, UNKNOWN, Integers, Packets, Truths

_MAX_FLOWS = 1 << 17  # number of flows kept between batches, the latest ones
_JUMP = 1 << 24  # a larger step between a sender's segments is a new connection
_FIELDS = 5
_LIFT = 1 << 44  # larger than any batch in bytes: separates the running maxima of groups
_HALF, _WHOLE = 1 << 31, 1 << 32
_PORT_BITS = 16


def flow_keys(packets: Packets, rows: Integers, *, back: bool = False) -> Integers:
    """Return one number for the addresses and ports of some packets; `back`: as in their replies."""
    ends = (packets.source, packets.destination, packets.source_port, packets.destination_port)
    key = np.zeros(len(rows), np.int64)
    for part in (ends[1], ends[0], ends[3], ends[2]) if back else ends:
        key = (key << _PORT_BITS) | part[rows]
    return key


def _starts(groups: Integers) -> Truths:
    """Return a mask: true at the first element of each run of equal numbers."""
    first = np.ones(len(groups), np.bool_)
    first[1:] = groups[1:] != groups[:-1]
    return first


def _ends(groups: Integers) -> Truths:
    """Return a mask: true at the last element of each run of equal numbers."""
    return _starts(groups[::-1])[::-1]


def _signed(difference: Integers) -> Integers:
    """Return a difference of 32-bit numbers that wrap around, as a signed number."""
    return ((difference + _HALF) % _WHOLE) - _HALF


class Retransmissions:
    """Finds segments sent again.

    SYNs, and segments with data or FIN, are columns of an array with a row for each of: the key of the flow, the row in
    the batch (UNKNOWN for those of earlier batches), 1 for a SYN, the sequence number, and the length.
    """

    def __init__(self) -> None:
        self._known = np.zeros((_FIELDS, 0), np.int64)

    def find(self, packets: Packets) -> Truths:
        """Return a mask of retransmitted packets in the batch."""
        again = np.zeros(len(packets), np.bool_)
        new = _segments_of(packets)
        here = np.isin(self._known[0], new[0])
        segments = np.hstack((self._known[:, here], new))
        order = np.argsort(segments[0], kind="stable")
        key, row, is_syn, sequence, length = segments.take(order, axis=1)
        syn, data = np.flatnonzero(is_syn), np.flatnonzero(is_syn == 0)
        opening = np.zeros(len(key), np.bool_)
        opening[syn] = _starts(key[syn]) | _starts(sequence[syn])  # same number: a retransmission
        era: Integers = np.cumsum(_starts(key) | opening)
        sent_again, furthest = _compare_with_end(era[data], sequence[data], length[data])
        repeated = np.concatenate((row[syn[~opening[syn]]], row[data[sent_again]]))
        again[repeated[repeated >= 0]] = True
        # Remember the last SYN of each flow, and the end of its data since.
        last_syn = syn[_ends(key[syn])]
        last = _ends(key[data]) & np.isin(era[data], era[_ends(key)])
        fresh = np.full((_FIELDS, len(last_syn) + int(last.sum())), UNKNOWN, np.int64)
        fresh[0] = np.concatenate((key[last_syn], key[data[last]]))
        fresh[2] = np.arange(fresh.shape[1]) < len(last_syn)
        fresh[3] = np.concatenate((sequence[last_syn], furthest[last]))
        fresh[4] = 0
        self._known = np.hstack((self._known[:, ~here], fresh))[:, -_MAX_FLOWS:]
        return again


def _segments_of(packets: Packets) -> Integers:
    tcp = (packets.protocol == TCP) & ~packets.fragment & (packets.flags & RST == 0)
    rows = np.flatnonzero(tcp & ((packets.payload > 0) | (packets.flags & (SYN | FIN) != 0)))
    flags = packets.flags[rows]
    length = np.maximum(packets.payload[rows], 0) + (flags & FIN != 0)
    return np.stack((flow_keys(packets, rows), rows, (flags & SYN) // SYN, packets.sequence[rows], length))


def _compare_with_end(era: Integers, sequence: Integers, length: Integers) -> tuple[Truths, Integers]:
    """Return a mask of segments that begin before the highest end so far in their era, and that end."""
    step = np.zeros(len(era), np.int64)
    step[1:] = _signed(sequence[1:] - sequence[:-1])
    first = _starts(era) | (np.abs(step) > _JUMP)
    group: Integers = np.cumsum(first)
    step[first] = 0
    position: Integers = np.cumsum(step)
    position = position - position[first][group - 1]  # bytes since the group's first segment
    reached = np.maximum.accumulate(position + length + group * _LIFT) - group * _LIFT
    again = np.zeros(len(era), np.bool_)
    again[1:] = ~first[1:] & (position[1:] < reached[:-1])
    return again, (sequence[first][group - 1] + reached) % _WHOLE


class HandshakeTimes:
    """Pairs each SYN with its answer."""

    def __init__(self) -> None:
        self._waiting_key, self._waiting_time = np.zeros(0, np.int64), np.zeros(0, np.int64)

    def find(self, packets: Packets) -> tuple[Integers, Integers, Integers]:
        """Return the handshakes that were answered in this batch: client, server, nanoseconds from SYN to SYN-ACK."""
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
        begin = np.maximum.accumulate(np.where(first, np.arange(len(key)), 0))
        follows = np.zeros(len(key), np.bool_)
        follows[1:] = ~is_answer[:-1] & ~first[1:]
        done = np.flatnonzero(is_answer & follows)
        duration = time[done] - time[begin[done]]
        open_ones = np.flatnonzero(_ends(key) & ~is_answer)
        self._waiting_key = key[open_ones][-_MAX_FLOWS:]
        self._waiting_time = time[begin[open_ones]][-_MAX_FLOWS:]
        return packets.destination[rows[done]], packets.source[rows[done]], np.maximum(duration, 0)
