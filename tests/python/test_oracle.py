"""An oracle: whatever a capture holds, the tables say what scapy's dissection of each frame says.

ORACLE=10000 makes so many examples of each kind instead of some that are always the same.
"""

from __future__ import annotations

import io
import os
from collections import Counter
from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path

import oracle_tshark
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st
from oracle_captures import EVERYTHING, Capture, Record, joined, pcapngs, pcaps
from oracle_scapy import Row, dissected
from oracle_text import Style, styles, times, told
from printing import printed

from lab.topology import load
from lab.unread import Unread
from monitoring.names import Names
from monitoring.traffic import source
from monitoring.traffic.packets import TCP, UNKNOWN, AddressBook, Packets, protocol_name
from monitoring.traffic.tables import Tables
from monitoring.traffic.tally import Tally

NAMES = Names(load("flat"))
EXAMPLES = int(os.environ.get("ORACLE", "0"))
FIN, SYN, RST, ACK = 1, 2, 4, 16


def oracle(examples: int) -> settings:
    return settings(
        max_examples=EXAMPLES or examples, derandomize=not EXAMPLES, deadline=None, database=None,
        phases=(Phase.generate, Phase.shrink), report_multiple_bugs=False,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )  # fmt: skip


class Reading:
    """What our readers make of a capture."""

    def __init__(self, data: bytes) -> None:
        self.book, self.unread = AddressBook(), Unread()
        tally = Tally(self.book, self.unread)
        self.rows: list[Row] = []
        for batch in source.read(io.BytesIO(data), self.book, self.unread):
            tally.add(batch)
            self.rows += map(partial(self._row, batch), range(len(batch)))
        self.tables = Tables(tally, NAMES)

    def _row(self, batch: Packets, index: int) -> Row:
        def known(value: int) -> int | None:
            return None if value == UNKNOWN else value

        return Row(
            size=known(int(batch.size[index])),
            nanoseconds=known(int(batch.time[index])),
            protocol=int(batch.protocol[index]),
            source=self.book.names[batch.source[index]],
            destination=self.book.names[batch.destination[index]],
            ports=(int(batch.source_port[index]), int(batch.destination_port[index])),
            flags=int(batch.flags[index]),
            payload=int(batch.payload[index]),
            fragment=bool(batch.fragment[index]),
        )


def check_rows(expected: Sequence[tuple[Row, Collection[str]]], found: Sequence[Row]) -> None:
    for number, ((wanted, unsure), row) in enumerate(zip(expected, found, strict=False), 1):
        assert wanted.is_told_by(row, unsure), (
            f"packet {number}\nexpected {wanted}\nfound    {row}\nunsure {unsure}"
        )
    assert len(found) == len(expected)


def check_times(wanted: Sequence[int | None], found: Sequence[Row], style: Style) -> None:
    """Compare times since the first packet."""
    if style.time == "-t":
        assert {row.nanoseconds for row in found} == {None}
        return
    if None not in wanted:
        read = [row.nanoseconds for row in found if row.nanoseconds is not None]
        assert [time - read[0] for time in read] == wanted


def check_tables(rows: Sequence[Row], tables: Tables) -> None:
    """Compare the tables with sums over packets."""
    protocols = Counter(protocol_name(row.protocol) for row in rows if row.protocol is not None)
    assert dict(tables.protocols()) == protocols
    pairs: dict[tuple[str, str], Counter[str]] = {}
    for row in rows:
        if row.source and row.destination:
            flags = (row.flags or 0) if row.protocol == TCP else 0
            pair = pairs.setdefault((NAMES.of(row.source), NAMES.of(row.destination)), Counter())
            pair.update(
                packets=1, bytes=row.size or 0, fin=flags & FIN != 0, rst=flags & RST != 0,
                syn=flags & (SYN | ACK) == SYN, syn_ack=flags & (SYN | ACK) == SYN | ACK,
            )  # fmt: skip
    found = {
        pair: {name: getattr(count, name) for name in ("packets", "bytes", "syn", "syn_ack", "fin", "rst")}
        for pair, count in tables.pairs.items()
    }
    assert found == pairs
    assert {row[:2]: row[2] for row in tables.service_pairs()} == {
        pair: each["packets"] for pair, each in pairs.items()
    }
    times = [row.nanoseconds for row in rows if row.nanoseconds is not None]
    seconds: dict[int, tuple[int, int]] = {}
    step = tables.tally.step
    for row in rows:
        if row.nanoseconds is not None:
            second = (row.nanoseconds - times[0]) // 10**9 // step * step
            packets, size = seconds.get(second, (0, 0))
            seconds[second] = packets + 1, size + (row.size or 0)
    assert {second: tuple(rest) for second, *rest in tables.rates() if rest[0]} == seconds
    summary = dict(tables.summary())
    assert summary["packets"] == len(rows)
    assert summary["bytes"] == sum(row.size or 0 for row in rows)
    assert summary["fragments"] == sum(bool(row.fragment) for row in rows)
    duration = f"{(max(times) - min(times)) / 1e9:.6f}" if times else "unknown"
    assert summary["duration_seconds"] == duration


def check_against_scapy(capture: Capture) -> None:
    note(f"the capture in hexadecimal: {capture.data.hex()}")
    found = Reading(capture.data)
    expected = [dissected(record) for record in capture.records]
    check_rows([(row, ()) for row, _ in expected], found.rows)
    assert bool(found.unread.counts) == any(not is_whole for _, is_whole in expected), found.unread.counts
    check_tables(found.rows, found.tables)


@oracle(80)
@given(pcaps())
def test_pcap_gives_what_scapy_dissects(capture: Capture) -> None:
    check_against_scapy(capture)


@oracle(80)
@given(pcapngs())
def test_pcapng_gives_what_scapy_dissects(capture: Capture) -> None:
    check_against_scapy(capture)


@oracle(80)
@given(pcaps(kept=st.just(EVERYTHING)), styles)
def test_text_gives_what_scapy_dissects_as_far_as_it_tells(capture: Capture, style: Style) -> None:
    note(f"the capture in hexadecimal: {capture.data.hex()}")
    text = printed(capture.data, *style.options)
    note(f"{style.options}\n{text.decode(errors='replace')}")
    found = Reading(text)
    rows = [dissected(record)[0] for record in capture.records]
    if len(found.rows) < len(rows) and style.time == "-t":  # not every line is a packet's for sure
        assert len(found.rows) + found.unread.counts["line that is no packet"] >= len(rows)
        return
    check_rows([told(*each, style) for each in zip(rows, capture.records, strict=True)], found.rows)
    check_times(times(capture.records, style), found.rows, style)
    check_tables(found.rows, found.tables)


def test_a_capture_of_all_that_was_made_gives_what_tshark_says(tmp_path: Path) -> None:
    made: list[Record] = []

    @oracle(60)
    @given(pcapngs())
    def make(capture: Capture) -> None:
        made.extend(record for record in capture.records if dissected(record)[1])

    make()
    capture = joined(made)
    path = tmp_path / "capture.pcapng"
    path.write_bytes(capture.data)
    found = Reading(capture.data)
    wanted = oracle_tshark.rows(path)
    assert len(wanted) == len(capture.records)
    for row, said, record in zip(found.rows, wanted, capture.records, strict=True):
        assert said.is_told_by(row), (
            f"{record.frame.link} {record.kept.hex()}\nexpected {said}\nfound    {row}"
        )
    check_tables(found.rows, found.tables)
