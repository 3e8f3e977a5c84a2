"""The readers of bytes: pcap and pcapng, link layers, what is compressed, and what is no capture."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable
from pathlib import Path

import crafted
import pytest
from crafted import ACK, Captured, ethernet, everything, ipv4, ipv6, tcp, udp
from hypothesis import given, settings
from hypothesis import strategies as st
from test_traffic import analysed, tables_of, whole

from monitoring.traffic import lanes, pcap, source
from monitoring.traffic.frames import padded
from monitoring.traffic.packets import UNKNOWN, AddressBook, Unread, protocol_name

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
