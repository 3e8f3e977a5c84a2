"""The readers of bytes: pcap and pcapng, link layers, what is compressed, and what is no capture."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import shlex
import struct
import subprocess
import sys
import tarfile
import tracemalloc
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import crafted
import pytest
import zstandard
from crafted import ACK, Captured, ethernet, everything, ipv4, ipv6, tcp, udp
from hypothesis import given, settings
from hypothesis import strategies as st
from test_traffic import ROOT, analysed, tables_of, whole

from monitoring.traffic import foreign, lanes, pcap, source
from monitoring.traffic.__main__ import main
from monitoring.traffic.frames import padded
from monitoring.traffic.packets import UNKNOWN, AddressBook, Unread, protocol_name
from monitoring.traffic.unpacked import unpacked

CAPTURES = Path(__file__).parent.parent / "fixtures" / "captures"
TEN = [("10.0.0.10", "10.0.0.20", 6), ("10.0.0.20", "10.0.0.10", 4)]
Row = tuple[str, str, str, int, int]


def rows_of(data: bytes) -> list[Row]:
    """Give protocol, ends, time and payload of each packet, in the order they are given."""
    book, found = AddressBook(), []
    for batch in source.read(io.BytesIO(data), book, Unread()):
        columns = (batch.protocol, batch.source, batch.destination, batch.time, batch.payload)
        for protocol, sender, receiver, time, payload in zip(*(c.tolist() for c in columns), strict=True):
            names = (protocol_name(protocol), book.names[sender], book.names[receiver])
            found.append((*names, time, payload))
    return found


def protocols_of(data: bytes) -> dict[str, int]:
    return {str(name): int(str(count)) for name, count in tables_of(analysed(data))["protocol_distribution"]}


def unread_of(data: bytes) -> dict[str, int]:
    return dict(analysed(data).tally.unread.counts)


def one(frame: bytes, link: int = 1, order: str = "<") -> bytes:
    return crafted.pcap([Captured(frame, 10**18)], link=link, order=order)


PLAIN = ipv4("10.0.0.10", "10.0.0.20", 17, udp(1, 2, b"hello"))
PLAIN_6 = ipv6("fd00::1", "fd00::2", 17, udp(1, 2, b"hello"))


# --- captures of other people ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "protocols"),
    [
        ("plain.pcap", {"TCP": 10}),
        ("modified.pcap", {"TCP": 10}),  # Kuznetsov's headers of 24 bytes
        ("sll1.pcap", {"TCP": 10}),
        ("sll1_vlan.pcap", {"TCP": 10}),
        ("sll2_vlan.pcap", {"TCP": 10}),
        ("cut.pcap", {"TCP": 10}),
        ("ecn.pcap", {"TCP": 10}),
        ("nflog.pcap", {"TCP": 4}),
        ("ipip.pcap", {"IPIP": 3}),
        ("sit.pcap", {"IPv6-in-IP": 3}),
        ("vxlan.pcap", {"UDP": 5}),
        ("sctp.pcap", {"SCTP": 3}),
        ("mld.pcap", {"ICMPv6": 4}),
        ("extension.pcap", {"TCP": 1, "UDP": 1}),
        ("stp.pcap", {"STP": 5}),
        ("xid.pcap", {"802.3 LLC 0xf0": 4, "802.3 LLC 0x00": 3}),
        ("one_side.pcapng", {"TCP": 10}),
        ("two_sides.pcapng", {"TCP": 10}),
    ],
)
def test_a_foreign_capture_is_read_wholly(name: str, protocols: dict[str, int]) -> None:
    data = (CAPTURES / name).read_bytes()
    assert protocols_of(data) == protocols
    assert unread_of(data) == {}
    if protocols == {"TCP": 10}:
        pairs = [(sender, receiver, count) for _, sender, receiver, count in _pairs_of(data)]
        assert pairs == TEN


def _pairs_of(data: bytes) -> list[tuple[str, str, str, int]]:
    found: dict[tuple[str, str, str], int] = {}
    for protocol, sender, receiver, _, _ in rows_of(data):
        key = (protocol, sender, receiver)
        found[key] = found.get(key, 0) + 1
    return [(*key, count) for key, count in found.items()]


def test_two_interfaces_keep_the_order_of_the_stream() -> None:
    one_side, two_sides = (
        tables_of(analysed((CAPTURES / f"{n}.pcapng").read_bytes())) for n in ("one_side", "two_sides")
    )
    assert two_sides == one_side
    rows = {row[:2]: row for row in one_side["conversations"]}
    assert rows["nginx-lb", "api-gateway"][9] == 1  # a handshake


# --- pcapng ------------------------------------------------------------------------------------------------------


def block(order: str, kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    size = len(body) + 12
    return struct.pack(order + "II", kind, size) + body + struct.pack(order + "I", size)


def section(order: str, *links: int, options: bytes = b"") -> bytes:
    described = [block(order, 1, struct.pack(order + "HHI", link, 0, 0) + options) for link in links]
    return block(order, 0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1)) + b"".join(described)


def enhanced(order: str, interface: int, frame: bytes, ticks: int) -> bytes:
    head = struct.pack(order + "IIIII", interface, ticks >> 32, ticks % 2**32, len(frame), len(frame))
    return block(order, 6, head + frame)


def simple(order: str, frame: bytes) -> bytes:
    return block(order, 3, struct.pack(order + "I", len(frame)) + frame)


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


def option(order: str, code: int, value: bytes) -> bytes:
    return struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4)


@pytest.mark.parametrize(
    ("resolution", "offset", "ticks", "time"),
    [
        (6, 0, 5, 5000),
        (9, 0, 5, 5),
        (0, 0, 5, 5 * 10**9),
        (0, 0, 2**62, UNKNOWN),  # does not fit 64 bits of nanoseconds
        (12, 0, 5000, 5),
        (127, 0, 2**62, 4),  # so fine a clock is read as one of 10^-27
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


@pytest.mark.parametrize("kinds", [*([name] for name in RECORDS), list(RECORDS)], ids="+".join)
@pytest.mark.parametrize("cut", [0, 1, 15, 16, 17])
def test_lanes_find_what_stepping_finds_or_nothing(kinds: list[str], cut: int) -> None:
    pattern = b"".join(each for kind in kinds for each in RECORDS[kind])
    data = pattern * (600_000 // len(pattern) + 1)
    data = data[: len(data) - cut]
    found = lanes.positions(padded(data), len(data), "<", pcap.LONGEST_FRAME, 16)
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
    found = lanes.positions(padded(bytes(kept)), len(kept), "<", pcap.LONGEST_FRAME, 16)
    assert found is None or found[0].tolist() == stepped(bytes(kept))


# --- link layers -------------------------------------------------------------------------------------------------


def attribute(order: str, kind: int, value: bytes) -> bytes:
    return struct.pack(order + "HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def logged(order: str, family: int, packet: bytes, *, protocol: int = 0x800) -> bytes:
    header = attribute(order, 1, struct.pack("!HBB", protocol, 3, 0))
    return (
        struct.pack("!BBH", family, 0, 5)
        + header
        + attribute(order, 10, b"drop\0")
        + attribute(order, 9, packet)
    )


SNAP = b"\xaa\xaa\x03"
ENDS = bytes(12)
UDP_ROW = ("UDP", "10.0.0.10", "10.0.0.20")
UDP_6_ROW = ("UDP", "fd00::1", "fd00::2")


def nobody(protocol: str) -> tuple[str, str, str]:
    return (protocol, "", "")


@pytest.mark.parametrize(
    ("link", "frame", "row"),
    [
        (0, struct.pack("<I", 2) + PLAIN, UDP_ROW),
        (0, struct.pack(">I", 2) + PLAIN, UDP_ROW),
        (0, struct.pack("<I", 30) + PLAIN_6, UDP_6_ROW),
        (108, struct.pack(">I", 24) + PLAIN_6, UDP_6_ROW),
        (1, ethernet(0x800, PLAIN), UDP_ROW),
        (1, ethernet(0x800, PLAIN, tags=(1, 2, 3, 4, 5, 6)), UDP_ROW),
        (1, ENDS + struct.pack("!H", 38) + b"\x42\x42\x03" + bytes(35), nobody("STP")),
        (1, ENDS + b"\x81\0\0\5" + struct.pack("!H", 38) + b"\x42\x42\x03" + bytes(35), nobody("STP")),
        (1, ENDS + struct.pack("!H", 50) + SNAP + b"\0\0\0\x08\0" + PLAIN, UDP_ROW),
        (1, ENDS + struct.pack("!H", 50) + SNAP + b"\0\0\x0c\x20\0" + bytes(40), nobody("802.3 SNAP")),
        (1, ENDS + struct.pack("!H", 50) + b"\xaa\xaa\x07" + bytes(40), nobody("802.3 SNAP")),
        (1, ENDS + struct.pack("!H", 50) + b"\xe0\xe0\x03" + bytes(47), nobody("802.3 LLC 0xe0")),
        (9, b"\xff\x03\x00\x21" + PLAIN, UDP_ROW),
        (9, b"\x00\x57" + PLAIN_6, UDP_6_ROW),
        (9, b"\x21" + PLAIN, UDP_ROW),
        (50, b"\xff\x03\x00\x21" + PLAIN, UDP_ROW),
        (50, b"\x0f\x00\x08\x00" + PLAIN, UDP_ROW),
        (50, b"\xff\x03\x02\x81" + bytes(30), nobody("MPLS")),
        (104, b"\x0f\x00\x86\xdd" + PLAIN_6, UDP_6_ROW),
        (104, b"\x0f\x00\xfe\xfe" + bytes(20), nobody("802.3 LLC 0xfe")),
        (101, PLAIN_6, UDP_6_ROW),
        (228, PLAIN, UDP_ROW),
        (229, PLAIN_6, UDP_6_ROW),
        (113, bytes(14) + b"\0\x04" + b"\x42\x42\x03" + bytes(35), nobody("STP")),
        (113, bytes(14) + b"\x81\0\0\5\x08\0" + PLAIN, UDP_ROW),
        (276, b"\x81\0" + bytes(18) + b"\0\5\x81\0\0\6\x08\0" + PLAIN, UDP_ROW),
        (239, logged("<", 2, PLAIN), UDP_ROW),
        (239, logged(">", 2, PLAIN), UDP_ROW),
        (239, logged("<", 10, PLAIN_6), UDP_6_ROW),
        (239, logged("<", 7, PLAIN_6, protocol=0x86DD), UDP_6_ROW),
        (239, logged("<", 7, bytes(28), protocol=0x806), nobody("ARP")),
        (0x04000001, ethernet(0x800, PLAIN), UDP_ROW),  # with the length of a check sequence above the link type
    ],
)  # fmt: skip
def test_a_link_layer_is_read(link: int, frame: bytes, row: tuple[str, str, str]) -> None:
    for order in "<>":
        assert [found[:3] for found in rows_of(one(frame, link, order))] == [row]
        assert unread_of(one(frame, link, order)) == {}


@pytest.mark.parametrize(
    ("link", "frame", "reason"),
    [
        (1, ENDS + b"\x05\xf0" + bytes(40), "Ethernet frame of a protocol that is not known"),
        (1, ENDS + b"\x81\0\0\5", "frame shorter than its link header"),
        (1, ENDS + b"\x81\0\0\5" * 9 + b"\x08\0" + PLAIN, "Ethernet frame of a protocol that is not known"),
        (1, ENDS + b"\0\x26\xaa\xaa\x03\0\0", "frame shorter than its link header"),
        (1, ENDS + b"\0\x26\xaa\xaa\x03\0\0\0\0\x11" + bytes(9), "Ethernet frame of a protocol that is not known"),
        (0, struct.pack("<I", 99) + PLAIN, "loopback frame of a protocol that is not known"),
        (9, b"\xff\x03\xc0\x21" + bytes(9), "PPP frame of a protocol that is not known"),
        (104, b"\x0f\x00\x80\x35" + bytes(20), "Cisco HDLC frame of a protocol that is not known"),
        (101, b"\x10" + bytes(40), "raw IP frame of a protocol that is not known"),
        (101, b"", "frame shorter than its link header"),
        (113, b"\0\0\3\x38" + bytes(10) + b"\x08\0" + PLAIN, "Linux cooked frame of a protocol that is not known"),
        (113, bytes(14) + b"\0\x0c" + bytes(20), "Linux cooked frame of a protocol that is not known"),
        (239, logged("<", 2, PLAIN)[:12], "frame shorter than its link header"),
        (239, struct.pack("!BBHHH", 2, 0, 5, 0, 9) + PLAIN, "frame shorter than its link header"),
        (127, PLAIN, "link type 127 (IEEE 802.11, radiotap) is not known"),
        (4711, PLAIN, "link type 4711 is not known"),
        (1, ethernet(0x86DD, ipv6("fd00::1", "fd00::2", 0, b"")), "IPv6 extension headers cut short"),
        (1, ethernet(0x86DD, ipv6("fd00::1", "fd00::2", 0, bytes(100))), "IPv6 extension headers cut short"),
        (1, ethernet(0x800, ipv4("10.0.0.1", "10.0.0.2", 6, b"\0\1\0\2")), None),
        (1, ethernet(0x800, PLAIN)[:30], "IPv4 header cut short or damaged"),
        (1, ethernet(0x800, PLAIN[:2] + b"\0\x13" + PLAIN[4:]), "IPv4 header cut short or damaged"),
    ],
)  # fmt: skip
def test_what_a_frame_does_not_tell_is_unknown_and_counted(
    link: int, frame: bytes, reason: str | None
) -> None:
    expected, protocol = (reason, "unknown") if reason else ("TCP header cut short", "TCP")
    assert unread_of(one(frame, link)) == {expected: 1}
    assert protocols_of(one(frame, link)) == {protocol: 1}


def test_a_later_fragment_has_the_protocol_that_its_header_names() -> None:
    later = struct.pack("!BBHI", 17, 0, 1480, 7) + bytes(40)
    assert rows_of(one(ethernet(0x86DD, ipv6("fd00::1", "fd00::2", 44, later))))[0][0] == "UDP"


def test_a_length_that_was_left_to_the_card_is_the_frames() -> None:
    segment = tcp((1, 2), ACK, 1, 1, b"x" * 100)
    packet = bytearray(ipv6("fd00::1", "fd00::2", 6, segment))
    packet[4:6] = b"\0\0"
    assert rows_of(one(ethernet(0x86DD, bytes(packet))))[0][4] == 100
    assert rows_of(one(ethernet(0x86DD, bytes(packet))))[0][0] == "TCP"


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


# --- what is compressed ------------------------------------------------------------------------------------------


def zstandard_of(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


def zstandard_stream(data: bytes) -> bytes:
    """Frames without their size, some to be skipped."""
    half = len(data) // 2
    compressor = zstandard.ZstdCompressor(write_content_size=False)
    skipped = b"\x53\x2a\x4d\x18" + struct.pack("<I", 5) + b"notes"
    return skipped + compressor.compress(data[:half]) + skipped + compressor.compress(data[half:])


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress, "bzip2": lambda data: bz2.compress(data, 1), "xz": lzma.compress, "zstandard": zstandard_of,
}  # fmt: skip
CAPTURE = crafted.pcap(everything())
NOISE = random.Random(7).randbytes(300_000)  # noqa: S311 - the same each time; does not compress
LARGE = crafted.pcap(
    [*everything(), *(Captured(NOISE[at : at + 1000], 10**18) for at in range(0, 300_000, 1000))]
)


@pytest.mark.parametrize("pack", [*PACKERS.values(), zstandard_stream], ids=[*PACKERS, "zstandard frames"])
def test_what_is_compressed_gives_the_same_tables(pack: Callable[[bytes], bytes]) -> None:
    for data in (CAPTURE, crafted.pcapng(everything()), LARGE):
        assert tables_of(analysed(pack(data))) == tables_of(analysed(data))
        assert unread_of(pack(data)) == unread_of(data)


@pytest.mark.parametrize("name", PACKERS)
def test_members_one_after_the_other_are_one_capture(name: str) -> None:
    pack = PACKERS[name]
    parts = [LARGE[:100], LARGE[100:5000], LARGE[5000:]]
    for between in (b"",) if name == "zstandard" else (b"", bytes(8)):
        assert tables_of(analysed(b"".join(pack(part) + between for part in parts))) == tables_of(
            analysed(LARGE)
        )


@pytest.mark.parametrize("name", PACKERS)
def test_a_compressed_capture_that_is_cut_gives_what_is_there_and_says_so(name: str) -> None:
    packed = PACKERS[name](LARGE)
    counts = []
    for end in range(4096, len(packed), len(packed) // 23):
        tally = analysed(packed[:end]).tally
        assert any(reason.startswith(f"{name}: ") for reason in tally.unread.counts)
        counts.append(tally.packets)
    assert counts == sorted(counts)
    assert counts[-1] >= 46  # of the block that was cut there is nothing


@pytest.mark.parametrize("name", PACKERS)
def test_what_follows_a_compressed_capture_is_named(name: str) -> None:
    tally = analysed(PACKERS[name](CAPTURE) + b"and more of it").tally
    assert tally.packets == 46
    assert [reason.split(":")[0] for reason in tally.unread.counts] == [name]


@settings(deadline=None, max_examples=200)
@given(
    st.sampled_from(list(PACKERS)),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=6),
    st.floats(0, 1),
)
def test_damage_to_what_is_compressed_breaks_nothing(
    name: str, damage: list[tuple[float, int]], end: float
) -> None:
    data = bytearray(PACKERS[name](CAPTURE))
    for place, value in damage:
        data[int(place * (len(data) - 1))] = value
    with suppress(foreign.NotACaptureError):
        assert analysed(bytes(data[: int(end * len(data))])).tally.packets <= 46


@pytest.mark.parametrize("name", PACKERS)
def test_a_few_bytes_that_unpack_to_many_cost_no_memory(name: str) -> None:
    bomb = PACKERS[name](bytes(100 << 20))
    stream = unpacked(io.BytesIO(bomb), b"", Unread()) or unpacked(io.BytesIO(bomb[8:]), bomb[:8], Unread())
    assert stream is not None
    tracemalloc.start()
    size = 0
    while data := stream.read(1 << 20):
        size += len(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert size == 100 << 20
    assert peak < 32 << 20  # a dictionary of xz among it


# --- what is no capture ------------------------------------------------------------------------------------------


def run(folder: Path, *captures: Path | str, only_csv: bool = True) -> int:
    options = ["--only-csv"] if only_csv else []
    return main([*options, "--topology", "flat", "--reports", str(folder / "reports"), *map(str, captures)])


def tar_of(data: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        member = tarfile.TarInfo("capture.pcap")
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


TEXT = "12:00:00.000000 IP 10.0.0.1.1 > 10.0.0.2.2: UDP, length 1\n" * 9


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\x7fELF\2\1\1" + bytes(300), "a program (ELF); give pcap"),
        (b"PK\x03\x04" + bytes(300), "a zip archive; unpack it"),
        (b'{"packets": []}', "JSON; give the capture"),
        (b'[\n  {\n "_index": "packets-2026"', "JSON; give the capture"),
        (b"<?xml version='1.0'?><pdml>", "XML or HTML; give the capture"),
        (b"snoop\0\0\0\0\0\0\2", "a snoop capture; convert it: editcap -F pcap"),
        (
            struct.pack("<QBBHHH", 1 << 32, 2, 4, 80, 0, 64) + bytes(64),
            "neither a known capture nor text",
        ),  # ERF
        (TEXT.encode("utf-16"), "UTF-16 text; convert it: iconv -f UTF-16 "),
        (TEXT.encode("utf-16-le"), "UTF-16 text; convert it: iconv -f UTF-16LE "),
        (TEXT.encode("utf-16-be"), "UTF-16 text; convert it: iconv -f UTF-16BE "),
        (b"", "empty; "),
        (b"%PDF-1.7\n", "a PDF document; give pcap"),
        (b"\xa1\xb2\x34\xcd" + CAPTURE[4:], "a pcap with other headers"),
        (gzip.compress(gzip.compress(CAPTURE)), "compressed twice (gzip); unpack it"),
        (gzip.compress(tar_of(CAPTURE)), "a tar archive; unpack it"),
        (bz2.compress(b"%PDF-1.7\n"), "a PDF document; give pcap"),
        (NOISE, "neither a known capture nor text"),
    ],
)
def test_what_is_no_capture_is_named_in_one_line(
    content: bytes, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "thing"
    path.write_bytes(content)
    assert run(tmp_path, path) == 1
    printed = capsys.readouterr()
    assert printed.err.startswith(f"traffic: {path}: this is ")
    assert said in printed.err
    assert printed.err.count("\n") == 1
    assert not (tmp_path / "reports").exists()


def test_a_folder_and_a_file_that_is_not_there_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (run(tmp_path, tmp_path), run(tmp_path, tmp_path / "none")) == (1, 1)
    assert capsys.readouterr().err.splitlines() == [
        f"traffic: {tmp_path}: this is a folder; give the captures in it",
        f"traffic: {tmp_path / 'none'}: No such file or directory",
    ]


# --- runs --------------------------------------------------------------------------------------------------------


def test_a_failed_run_leaves_nothing_of_an_earlier_one_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, CAPTURES / "plain.pcap", only_csv=False) == 0
    kept = tmp_path / "reports" / "health_report.pdf"
    kept.touch()
    written = {path.name for path in kept.parent.iterdir()}
    assert {"traffic_analysis_report.pdf", "top_talkers.png", "top_talkers.csv"} < written
    capsys.readouterr()
    assert run(tmp_path, CAPTURES / "empty.pcap") == 1
    assert list(kept.parent.iterdir()) == [kept]
    said = capsys.readouterr().err.splitlines()
    assert said[0] == f"traffic: no packet in {CAPTURES / 'empty.pcap'}"
    assert said[1].startswith(f"traffic: removed an earlier run's files from {kept.parent}: ")
    assert set(said[1].rpartition(": ")[2].split()) == written - {kept.name}


def test_a_run_without_pictures_leaves_no_older_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path, CAPTURES / "plain.pcap", only_csv=False)
    run(tmp_path, CAPTURES / "stp.pcap")
    assert {path.suffix for path in (tmp_path / "reports").iterdir()} == {".csv"}
    assert "traffic_analysis_report.pdf" in capsys.readouterr().err


def csvs(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in (folder / "reports").iterdir()}


def in_pipes(folder: Path, *commands: str) -> None:
    """Run with what commands print, each in a pipe."""
    arguments = " ".join(f"<({command})" for command in commands)
    line = f"{shlex.quote(sys.executable)} -m monitoring.traffic --only-csv --topology flat --reports {folder}/reports"
    subprocess.run(["bash", "-c", f"{line} {arguments}"], check=True, cwd=ROOT)


def test_pipes_are_read_once_and_put_in_order(tmp_path: Path) -> None:
    frames = [*everything(), *everything(start=1_700_000_100 * 10**9)]
    parts = [tmp_path / name for name in ("a.pcap", "b.pcap.xz", "c.pcapng")]
    parts[0].write_bytes(crafted.pcap(frames[60:]))
    parts[1].write_bytes(lzma.compress(crafted.pcap(frames[:30])))
    parts[2].write_bytes(crafted.pcapng(frames[30:60]))
    in_pipes(tmp_path / "pipes", *(f"cat {part}" for part in parts))
    run(tmp_path / "files", *parts)
    whole_file = tmp_path / "whole.pcap"
    whole_file.write_bytes(crafted.pcap(frames))
    run(tmp_path / "whole", whole_file)
    assert csvs(tmp_path / "pipes") == csvs(tmp_path / "files") == csvs(tmp_path / "whole")


def test_one_that_is_no_capture_among_several_ends_the_run_before_it_begins(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, CAPTURES / "plain.pcap", Path(sys.executable)) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "reports").exists()


# --- damage ------------------------------------------------------------------------------------------------------


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
