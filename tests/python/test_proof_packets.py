"""The packets of the proof in both families: headers, checksums, extension headers, and the number that is found."""

from __future__ import annotations

import struct
from functools import partial
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from security.proof import discovery, packets
from security.proof.discovery import ADVERTISEMENT, SOLICITATION, SOURCE_LINK_LAYER, TARGET_LINK_LAYER
from security.proof.family import IPV4, IPV6, Family, family_of
from security.proof.packets import ACK, DESTINATION, EXTENSIONS, FRAGMENT, HOP_BY_HOP, ROUTING, SYN
from security.proof.recognise import Seen, recognise, source_of

ENDS = {IPV4: ("10.0.0.10", "10.0.0.20"), IPV6: ("fd00:cafe::10", "fd00:cafe::20")}
MAC, OTHER_MAC = "02:42:0a:00:00:0a", "02:42:0a:00:00:14"
FAMILIES = pytest.mark.parametrize("family", [IPV4, IPV6], ids=["IPv4", "IPv6"])
NUMBERS = [1, 0x12345, packets.MAX_PROBES - 1]


def upper_sum(packet: bytes, protocol: int, begin: int) -> int:
    """Return the checksum over a packet's payload with the pseudo header; 0 if the payload has the right one."""
    addresses = packet[8:40] if packet[0] >> 4 == 6 else packet[12:20]
    payload = packet[begin:]
    return packets.checksum(addresses + struct.pack("!II", len(payload), protocol) + payload)


@FAMILIES
@pytest.mark.parametrize("protocol", ["tcp", "udp", "icmp", "other"])
@pytest.mark.parametrize("number", NUMBERS)
def test_each_packet_has_its_header_its_checksum_and_its_number(
    family: Family, protocol: str, number: int
) -> None:
    source, to = ENDS[family]
    packet = packets.packet(protocol, source, to, 80)(number)
    assert packet[0] >> 4 == family.version
    assert source_of(packet, family) == source
    assert recognise(packet, family.ethertype) == Seen(number, answer=False)
    length = struct.unpack_from("!H", packet, 2 if family is IPV4 else 4)[0]
    assert length == len(packet) - (0 if family is IPV4 else IPV6.header_bytes)
    if family is IPV4:
        assert packets.checksum(packet[:20]) == 0
    if protocol in ("tcp", "udp"):
        assert upper_sum(packet, {"tcp": 6, "udp": 17}[protocol], family.header_bytes) == 0
    if protocol == "icmp" and family is IPV6:
        assert upper_sum(packet, IPV6.icmp, IPV6.header_bytes) == 0
    if protocol == "icmp" and family is IPV4:
        assert packets.checksum(packet[20:]) == 0


@FAMILIES
def test_a_reply_is_known_as_one_and_a_damaged_ping_has_a_wrong_checksum(family: Family) -> None:
    source, to = ENDS[family]
    reply = packets.echo(source, to, 9, kind=family.rules.echo[1])
    assert recognise(reply, family.ethertype) == Seen(9, answer=True)
    segment = bytearray(packets.tcp(source, to, 80, 9))
    at = family.header_bytes
    struct.pack_into("!IIBB", segment, at + 4, 0, packets.SEQUENCE + 10, 0x50, SYN | ACK)
    assert recognise(bytes(segment), family.ethertype) == Seen(9, answer=True)
    damaged, right = packets.damaged_echo(source, to, 9), packets.echo(source, to, 9)
    assert [at for at, (one, other) in enumerate(zip(damaged, right, strict=True)) if one != other] == [
        family.header_bytes + 2
    ]


@FAMILIES
def test_two_fragments_together_are_the_segment_and_the_first_one_has_the_number(family: Family) -> None:
    source, to = ENDS[family]
    first, last = (packets.fragment(source, to, 80, 7, is_last=is_last) for is_last in (False, True))
    extension = 0 if family is IPV4 else 8
    begin = family.header_bytes + extension
    segment = first[begin:] + last[begin:]
    assert upper_sum(first[: family.header_bytes] + segment, packets.TCP, family.header_bytes) == 0
    assert recognise(first, family.ethertype) == Seen(7, answer=False)
    if family is IPV6:
        offsets = [struct.unpack_from("!H", part, IPV6.header_bytes + 2)[0] for part in (first, last)]
        assert offsets == [1, len(first) - begin]
        assert len(first) - begin >= 20  # the whole TCP header, or the kernel discards it


@pytest.mark.parametrize(
    "headers",
    [(HOP_BY_HOP,), (ROUTING,), (DESTINATION,), (FRAGMENT, DESTINATION), (HOP_BY_HOP, *EXTENSIONS[1:])],
)
def test_a_number_is_found_behind_extension_headers(headers: tuple[int, ...]) -> None:
    for protocol in ("tcp", "udp", "icmp"):
        packet = packets.extended(headers, packets.packet(protocol, *ENDS[IPV6], 80), 11)
        assert packet[6] == headers[0]
        assert struct.unpack_from("!H", packet, 4)[0] == len(packet) - IPV6.header_bytes
        assert recognise(packet, IPV6.ethertype) == Seen(11, answer=False)


def test_a_first_fragment_has_a_part_of_the_tcp_header_or_none_and_the_number() -> None:
    for following, length in ((packets.TCP, 8), (DESTINATION, 24)):
        part = packets.first_fragment(*ENDS[IPV6], 12, following=following)
        assert part[IPV6.header_bytes] == following
        assert struct.unpack_from("!H", part, IPV6.header_bytes + 2)[0] == 1  # more follow
        assert len(part) == IPV6.header_bytes + 8 + length
        assert recognise(part, IPV6.ethertype) == Seen(12, answer=False)


def test_a_message_of_neighbour_discovery_is_as_long_as_that_of_a_kernel_and_has_the_number() -> None:
    ends = ENDS[IPV6]
    for kind, link, length in (
        (SOLICITATION, (SOURCE_LINK_LAYER, MAC), 32),
        (ADVERTISEMENT, (TARGET_LINK_LAYER, MAC), 32),
        (ADVERTISEMENT, None, 24),
    ):
        message = discovery.neighbour(ends, kind, ends[0], link, packets.MAX_PROBES - 1)
        assert len(message) == IPV6.header_bytes + length
        assert message[7] == 255
        assert upper_sum(message, IPV6.icmp, IPV6.header_bytes) == 0
        assert recognise(message, IPV6.ethertype) == Seen(packets.MAX_PROBES - 1, answer=False)
    of_a_kernel = bytearray(message)
    of_a_kernel[44:48] = b"\x60\0\0\0"  # solicited, override
    assert recognise(bytes(of_a_kernel), IPV6.ethertype) is None


def test_a_number_in_a_message_of_a_router_or_a_group_fits_in_what_a_rule_logs() -> None:
    own, to = ENDS[IPV6]
    for build in (
        partial(discovery.router_solicitation, own),
        partial(discovery.router_advertisement, own, to, MAC, "2001:db8::"),
        partial(discovery.redirect, own, to, to, OTHER_MAC),
        partial(discovery.group_report, discovery.UNSPECIFIED),
        partial(packets.icmp_error, (own, to), (2, 0), partial(packets.udp, to, own, 9), 0),
    ):
        message = build(5)
        assert upper_sum(message, IPV6.icmp, IPV6.header_bytes) == 0
        assert recognise(message[:128], IPV6.ethertype) == Seen(5, answer=False)


def test_a_tunnel_is_an_ipv4_packet_with_the_number_of_the_packet_inside() -> None:
    inside = partial(packets.udp, *ENDS[IPV6], 9)
    tunnel = packets.inside_ipv4(*ENDS[IPV4], inside, 3)
    assert (tunnel[0] >> 4, tunnel[9]) == (4, 41)
    assert recognise(tunnel, IPV4.ethertype) == Seen(3, answer=False)


@given(data=st.binary(max_size=120), kind=st.sampled_from([0, 6, 17, 43, 44, 58, 60]))
def test_a_damaged_chain_of_headers_is_not_recognised_and_causes_no_error(data: bytes, kind: int) -> None:
    packet = struct.pack("!IHBB", 6 << 28, len(data), kind, 64) + ip_address("::1").packed * 2 + data
    for length in range(0, len(packet), 7):
        seen = recognise(packet[:length], IPV6.ethertype)
        assert seen is None or seen.number >= 0


def test_an_address_chooses_the_family() -> None:
    assert family_of("::ffff:10.0.0.10") is IPV6
    assert family_of("10.0.0.10") is IPV4
