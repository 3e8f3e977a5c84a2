"""Records of pcap and pcapng: in their order, wholly, at once, whatever the bytes are."""

from __future__ import annotations

import struct
from collections.abc import Iterable

import crafted
import pytest
from crafted import Captured, ethernet, everything, ipv4, udp
from hypothesis import given, settings
from hypothesis import strategies as st
from reading import CAPTURES, PLAIN, PLAIN_6, enhanced, option, rows_of, section, simple, unread_of
from test_traffic import analysed, tables_of, whole

from monitoring.traffic import pcap
from monitoring.traffic.frames import padded
from monitoring.traffic.packets import UNKNOWN

CAPTURE = crafted.pcap(everything())


# --- pcapng ------------------------------------------------------------------------------------------------------


def test_two_interfaces_keep_the_order_of_the_stream() -> None:
    one_side, two_sides = (
        tables_of(analysed((CAPTURES / f"{n}.pcapng").read_bytes())) for n in ("one_side", "two_sides")
    )
    assert two_sides == one_side
    rows = {row[:2]: row for row in one_side["conversations"]}
    assert rows["nginx-lb", "api-gateway"][9] == 1  # a handshake


@settings(deadline=None, max_examples=150)
@given(
    st.lists(
        st.tuples(
            st.sampled_from("<>"), st.lists(st.sampled_from((1, 101, 113, 276)), min_size=1, max_size=3),
            st.lists(st.tuples(st.integers(0, 2), st.booleans()), max_size=5),
        ),
        min_size=1, max_size=5,
    )
)  # fmt: skip
def test_any_mixture_of_sections_interfaces_and_byte_orders_keeps_its_order(
    sections: list[tuple[str, list[int], list[tuple[int, bool]]]],
) -> None:
    headers = {
        1: bytes(12) + b"\x08\0", 101: b"", 113: b"\0\0\0\1\0\6" + bytes(8) + b"\x08\0", 276: b"\x08\0" + bytes(18)
    }  # fmt: skip
    data, expected, number = b"", [], 0
    for order, links, packets in sections:
        data += section(order, *links)
        for wanted, has_no_time in packets:
            number += 1
            interface = 0 if has_no_time else wanted % len(links)
            frame = headers[links[interface]] + ipv4(f"10.0.1.{number}", "10.0.0.20", 17, udp(1, 2, b""))
            data += simple(order, frame) if has_no_time else enhanced(order, interface, frame, number)
            time = UNKNOWN if has_no_time else number * 1000
            expected.append(("UDP", f"10.0.1.{number}", "10.0.0.20", time, 0))
    assert rows_of(data) == expected
    assert unread_of(data) == {}


@pytest.mark.parametrize(
    ("resolution", "offset", "ticks", "time"),
    [
        (6, 0, 5, 5000),
        (9, 0, 5, 5),
        (0, 0, 5, 5 * 10**9),
        (0, 0, 2**62, UNKNOWN),  # does not fit 64 bits of nanoseconds
        (12, 0, 5000, 5),
        (127, 0, 2**62, 0),
        (0x80 | 127, 0, 2**64 - 1, 0),
        (0x80 | 10, 0, 1024 + 512, 1_500_000_000),
        (0x80 | 62, 0, 2**62, 10**9),
        (6, 7, 5, 7 * 10**9 + 5000),
        (6, -1, 5, UNKNOWN),  # before 1970
        (6, 2**62, 5, UNKNOWN),
        (6, 2**63 - 1, 2**61, UNKNOWN),
        (6, -(2**63), 5, UNKNOWN),
        (6, 0, 2**64 - 1, UNKNOWN),
    ],
)
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_time_is_right_or_unknown_whatever_the_clock(
    order: str, resolution: int, offset: int, ticks: int, time: int
) -> None:
    options = option(order, 9, bytes((resolution,))) + option(order, 14, struct.pack(order + "q", offset))
    data = section(order, 101, options=options) + enhanced(order, 0, PLAIN, ticks)
    assert [row[3] for row in rows_of(data)] == [time]


# --- lanes -------------------------------------------------------------------------------------------------------


def slow(count: int, seconds: int, *, first: int = 1_700_000_000) -> list[Captured]:
    frame = ethernet(0x800, PLAIN)
    return [Captured(frame, (first + number * seconds) * 10**9) for number in range(count)]


def test_a_capture_of_two_days_is_counted_wholly() -> None:
    data = crafted.pcap(slow(28_800, 6))
    assert (analysed(data).tally.packets, unread_of(data)) == (28_800, {})


def test_a_first_packet_of_the_day_before_hides_no_other() -> None:
    data = crafted.pcap(slow(1, 1, first=1_699_900_000) + slow(5_999, 0)[:5_999])
    long = crafted.pcap(slow(1, 1, first=1_699_900_000) + slow(59_999, 0))
    assert (analysed(data).tally.packets, analysed(long).tally.packets) == (6_000, 60_000)


def stepped(data: bytes) -> list[int]:
    found, at = [], 0
    while at + 16 <= len(data) and at + 16 + struct.unpack_from("<I", data, at + 8)[0] <= len(data):
        found.append(at)
        at += 16 + int(struct.unpack_from("<I", data, at + 8)[0])
    return found


def record(seconds: int, content: bytes, size: int | None = None) -> bytes:
    return struct.pack("<IIII", seconds, 0, len(content), len(content) if size is None else size) + content


RECORDS: dict[str, list[bytes]] = {
    "empty": [record(1_700_000_000, b"")],
    "times of zero": [record(0, bytes(60)), record(0, bytes(1400))],
    "times that go back": [record(second, b"a" * 80) for second in (1_700_000_000, 1_600_000_000, 5)],
    "headers within frames": [record(1_700_000_000, record(1_700_000_000, b"x" * 50) * 20)],
    "headers up to a frame's end": [record(1_700_000_000, b"y" * 40 + record(1_700_000_000, b"x" * 44))],
    "one large frame": [record(1_700_000_000, b"z" * 65_000), record(1_700_000_000, b"z" * 60)],
    "more there than there was": [record(1_700_000_000, b"z" * 60, size=3)],
    "a few bytes": [record(1_700_000_000, b"ab"), record(1_700_000_000, b"abc")],
}


def test_an_original_length_below_the_captured_is_noted_and_the_size_is_what_is_there() -> None:
    data = crafted.pcap([]) + RECORDS["more there than there was"][0] + record(1_700_000_000, bytes(60))
    tables = analysed(data)
    assert tables.tally.bytes == 120
    assert tables.tally.unread.counts == {"original length below the captured": 1}
    assert tables.tally.unread.first == {"original length below the captured": "byte 40"}


@pytest.mark.parametrize("kinds", [*([name] for name in RECORDS), list(RECORDS)], ids="+".join)
@pytest.mark.parametrize("cut", [0, 1, 15, 16, 17])
def test_lanes_find_what_stepping_finds_or_nothing(kinds: list[str], cut: int) -> None:
    pattern = b"".join(each for kind in kinds for each in RECORDS[kind])
    data = pattern * (600_000 // len(pattern) + 1)
    data = data[: len(data) - cut]
    found = pcap.positions(padded(data), len(data), "<", pcap.MAX_FRAME, 16)
    if found is not None:
        assert found[0].tolist() == stepped(data)
        last = stepped(data)[-1]
        assert found[1] == last + 16 + struct.unpack_from("<I", data, last + 8)[0]
    header = crafted.pcap([])
    assert analysed(header + data).tally.packets == len(stepped(data))


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_a_changed_byte_in_a_long_capture_makes_lanes_and_steps_differ_nowhere(data: st.DataObject) -> None:
    kept = bytearray(crafted.pcap(slow(9_000, 0))[24:])
    for _ in range(data.draw(st.integers(1, 4))):
        kept[data.draw(st.integers(0, len(kept) - 1))] = data.draw(st.integers(0, 255))
    found = pcap.positions(padded(bytes(kept)), len(kept), "<", pcap.MAX_FRAME, 16)
    assert found is None or found[0].tolist() == stepped(bytes(kept))


def old_pcap(frames: Iterable[Captured], version: int) -> bytes:
    """A pcap of version 2.`version`; before 2.3 the two lengths stood the other way round."""
    data = bytearray(crafted.pcap(frames))
    data[6:8] = struct.pack("<H", version)
    at = 24
    while version < 3 and at < len(data):
        captured = struct.unpack_from("<I", data, at + 8)[0]
        data[at + 8 : at + 16] = data[at + 12 : at + 16] + data[at + 8 : at + 12]
        at += 16 + captured
    return bytes(data)


@pytest.mark.parametrize("version", [2, 3, 4])
def test_old_pcaps_with_swapped_lengths_are_read(version: int) -> None:
    frames = [Captured(each.frame, each.nanoseconds, kept=60) for each in everything()]
    assert tables_of(analysed(old_pcap(frames, version))) == whole(frames)


# --- damage ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("nano", "fraction"), [(False, 1_000_000), (True, 1_000_000_000), (True, 2**31)])
def test_a_fraction_of_more_than_a_second_is_no_time(nano: bool, fraction: int) -> None:
    data = bytearray(crafted.pcap(everything()[:2], nano=nano))
    data[28:32] = struct.pack("<I", fraction)
    assert [row[3] == UNKNOWN for row in rows_of(bytes(data))] == [True, False]
    tally = analysed(bytes(data)).tally
    assert (tally.packets, sum(packets for packets, _ in tally.rates.values())) == (2, 1)


@settings(deadline=None, max_examples=200)
@given(st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=6)), max_size=8), st.floats(0, 1))
def test_each_record_is_a_packet_and_what_follows_the_last_is_named(
    damage: list[tuple[float, bytes]], end: float
) -> None:
    data = bytearray(CAPTURE[24:])
    for place, content in damage:
        at = int(place * len(data))
        data[at : at + len(content)] = content
    records = bytes(data[: int(end * len(data))])
    found = stepped(records)
    used = found[-1] + 16 + struct.unpack_from("<I", records, found[-1] + 8)[0] if found else 0
    tally = analysed(CAPTURE[:24] + records).tally
    assert tally.packets == len(found)
    ended = [
        reason for reason in tally.unread.counts if reason.startswith(("damaged from", "the capture ends"))
    ]
    assert bool(ended) == (used < len(records))


@settings(deadline=None, max_examples=100)
@given(st.floats(0, 1), st.sampled_from("<>"))
def test_a_pcapng_that_is_cut_gives_its_whole_blocks(end: float, order: str) -> None:
    frames = everything()
    kept = crafted.pcapng(frames, order=order)
    ends = [len(crafted.pcapng(frames[:count], order=order)) for count in range(len(frames) + 1)]
    cut = ends[0] + int(end * (len(kept) - ends[0]))
    tally = analysed(kept[:cut]).tally
    assert tally.packets == sum(1 for each in ends[1:] if each <= cut)
    assert ("the capture ends in the middle of a record" in tally.unread.counts) == (cut not in ends)


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_damage_to_a_pcapng_of_many_sections_breaks_nothing(data: st.DataObject) -> None:
    kept = bytearray(
        section("<", 1, 239) + enhanced("<", 0, ethernet(0x800, PLAIN), 5) + simple("<", ethernet(0x800, PLAIN))
        + section(">", 101, 113, options=option(">", 9, b"\x8a") + option(">", 14, bytes(8)))
        + enhanced(">", 0, PLAIN_6, 2**40) + enhanced(">", 1, bytes(14) + b"\x08\0" + PLAIN, 3)
    )  # fmt: skip
    for _ in range(data.draw(st.integers(1, 6))):
        kept[data.draw(st.integers(4, len(kept) - 1))] = data.draw(st.integers(0, 255))
    assert analysed(bytes(kept)).tally.packets <= 4


def test_more_addresses_in_a_batch_than_are_remembered_are_all_read() -> None:
    def packets(first: int) -> list[Captured]:
        frames = (
            PLAIN[:12] + struct.pack("!I", number) + PLAIN[16:20] for number in range(first, first + 100_000)
        )
        return [Captured(frame, 10**18) for frame in frames]

    data = crafted.pcap(packets(1 << 24), link=101)
    more = crafted.pcap(packets((1 << 24) + 50_000), link=101)[24:]
    tally = analysed(data + more).tally
    assert (tally.packets, tally.protocols) == (200_000, {17: 200_000})
