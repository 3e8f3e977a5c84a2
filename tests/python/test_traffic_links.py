"""Link layers and what they carry; captures of other people."""

from __future__ import annotations

import struct

import pytest
from crafted import ACK, ethernet, ipv4, ipv6, tcp
from reading import CAPTURES, PLAIN, PLAIN_6, one, protocols_of, rows_of, unread_of

TEN = [("10.0.0.10", "10.0.0.20", 6), ("10.0.0.20", "10.0.0.10", 4)]


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
        (1, ENDS + b"\x05\xf0" + bytes(40), "Ethernet frame of an unknown protocol"),
        (1, ENDS + b"\x81\0\0\5", "frame shorter than its link header"),
        (1, ENDS + b"\x81\0\0\5" * 9 + b"\x08\0" + PLAIN, "Ethernet frame of an unknown protocol"),
        (1, ENDS + b"\0\x26\xaa\xaa\x03\0\0", "frame shorter than its link header"),
        (1, ENDS + b"\0\x26\xaa\xaa\x03\0\0\0\0\x11" + bytes(9), "Ethernet frame of an unknown protocol"),
        (0, struct.pack("<I", 99) + PLAIN, "loopback frame of an unknown protocol"),
        (9, b"\xff\x03\xc0\x21" + bytes(9), "PPP frame of an unknown protocol"),
        (104, b"\x0f\x00\x80\x35" + bytes(20), "Cisco HDLC frame of an unknown protocol"),
        (101, b"\x10" + bytes(40), "raw IP frame of an unknown protocol"),
        (228, PLAIN_6, "IPv4 header cut short or damaged"),
        (229, PLAIN, "IPv6 header cut short or damaged"),
        (101, b"", "frame shorter than its link header"),
        (113, b"\0\0\3\x38" + bytes(10) + b"\x08\0" + PLAIN, "Linux cooked frame of an unknown protocol"),
        (113, bytes(14) + b"\0\x0c" + bytes(20), "Linux cooked frame of an unknown protocol"),
        (239, logged("<", 2, PLAIN)[:12], "frame shorter than its link header"),
        (239, struct.pack("!BBHHH", 2, 0, 5, 0, 9) + PLAIN, "frame shorter than its link header"),
        (127, PLAIN, "unknown link type 127 (IEEE 802.11, radiotap)"),
        (4711, PLAIN, "unknown link type 4711"),
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
