"""Strategies of frames, built with scapy: what a capture may hold, from plain TCP to tunnels, tags and fragments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hypothesis import strategies as st
from oracle_transports import TRANSPORTS, TRANSPORTS6, addresses, addresses6
from scapy.layers.inet import IP, IPOption
from scapy.layers.inet6 import (
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    PadN,
    RouterAlert,
)
from scapy.layers.ipsec import AH
from scapy.layers.l2 import ARP, LLC, SNAP, STP, CookedLinux, CookedLinuxV2, Dot1AD, Dot1Q, Dot3, Ether
from scapy.packet import Packet, Raw

NULL, ETHERNET, RAW, LOOP, SLL, USER0, ONLY_IPV4, ONLY_IPV6, SLL2 = 0, 1, 101, 108, 113, 147, 228, 229, 276
_IPV4, _IPV6, _ARP, _RARP, _802_2 = (
    0x0800,
    0x86DD,
    0x0806,
    0x8035,
    4,
)  # 4: in cooked headers, for frames of 802.3
_REVERSE = 3  # ARP's operations from here on are RARP's
_VLAN, _QINQ, _OLD_QINQ = 0x8100, 0x88A8, 0x9100
_MACS = ("02:00:00:00:00:01", "02:00:00:00:00:02", "ff:ff:ff:ff:ff:ff", "01:80:c2:00:00:00")
_ETHER_TYPES = (0x0600, 0x22F0, 0x8137, 0x8847, 0x8863, 0x8864, 0x88B5, 0x88CC, 0x888E, 0x9000, 0xFFFF)
_PPPOE = {0x8863: b"\x11\x09", 0x8864: b"\x11\x00"}  # version, type, code
_SERVICE_ACCESS_POINTS = (0x00, 0x04, 0x42, 0x98, 0xAA, 0xE0, 0xF0, 0xFE)
_OUIS = (0x00000C, 0x00E02B, 0x0080C2)
_OPTIONS = (
    b"\x94\x04\0\0",
    b"\x07\x07\x04\0\0\0\0",
    b"\x01" * 3,
    b"\x44\x08\x05\0\0\0\0\1",
    b"\x83\x07\x04\x0a\0\0\1",
)
_LEAST_ETHER_TYPE = 0x600  # below it is a length
_MAX_LENGTH = 1500
_SMALLEST = 60  # bytes of a frame on a wire: shorter ones are padded


@dataclass(frozen=True)
class Frame:
    """What was on a wire."""

    data: bytes
    link: int


@dataclass(frozen=True)
class Carried:
    """What a link layer carries: under an EtherType, or, where that is below 0x600, a frame of 802.3."""

    kind: int
    data: bytes


@st.composite
def _ipv4(draw: st.DrawFn) -> Carried:
    protocol, content = draw(st.sampled_from(TRANSPORTS).flatmap(lambda each: each))
    fragment = draw(st.sampled_from(("", "", "", "", "first", "later", "last", "whole")))
    options = [IPOption(each) for each in draw(st.lists(st.sampled_from(_OPTIONS), max_size=1))]
    head = IP(src=draw(addresses), dst=draw(addresses), proto=protocol, tos=draw(st.sampled_from((0, 0, 1, 3, 0xB8))),
              id=draw(st.integers(0, 0xFFFF)), ttl=draw(st.sampled_from((1, 64, 255))), options=options)  # fmt: skip
    if fragment in ("later", "last"):
        head.frag = draw(st.sampled_from((1, 10, 185, 8000)))
    head.flags = "MF" if fragment in ("first", "later") else draw(st.sampled_from((0, "DF")))
    return Carried(_IPV4, bytes(head / content))


@st.composite
def _ipv6(draw: st.DrawFn) -> Carried:
    source, destination = draw(addresses6), draw(addresses6)
    protocol, content = draw(st.sampled_from(TRANSPORTS6).flatmap(lambda each: each))
    head: Packet = IPv6(src=source, dst=destination, tc=draw(st.sampled_from((0, 0, 3, 0xB8))),
                        fl=draw(st.sampled_from((0, 0x12345))), hlim=draw(st.sampled_from((1, 255))))  # fmt: skip
    extensions = draw(st.one_of(st.just([]), st.lists(st.sampled_from(_EXTENSIONS), unique=True)))
    last = head
    for make in sorted(extensions, key=_is_not_first):
        extension = make(draw)
        last.nh = _NUMBERS[type(extension)]
        head = head / extension
        last = head.lastlayer()
    last.nh = protocol
    return Carried(_IPV6, bytes(head / content))


def _fragment(draw: st.DrawFn) -> Packet:
    offset, more = draw(st.sampled_from(((0, 1), (0, 0), (1, 1), (181, 1), (8000, 0))))
    return IPv6ExtHdrFragment(offset=offset, m=more, id=draw(st.integers(0, 2**32 - 1)))


def _authentication(draw: st.DrawFn) -> Packet:
    size = draw(st.sampled_from((12, 16, 20)))  # bytes of its check value
    return AH(nh=0, payloadlen=size // 4 + 1, reserved=0, spi=1, seq=2, icv=b"i" * size, padding=b"")


_EXTENSIONS: tuple[Callable[[st.DrawFn], Packet], ...] = (
    lambda draw: IPv6ExtHdrHopByHop(
        options=[RouterAlert(), PadN(optdata=bytes(draw(st.sampled_from((0, 8)))))]
    ),
    lambda draw: IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(draw(st.sampled_from((4, 12)))))]),
    lambda draw: IPv6ExtHdrRouting(type=4, segleft=0, addresses=[draw(addresses6)]),
    _fragment,
    _authentication,
)


def _is_not_first(make: Callable[[st.DrawFn], Packet]) -> bool:
    return make is not _EXTENSIONS[0]  # hop by hop, RFC 8200, 4.1


_NUMBERS: dict[type[Packet], int] = {
    IPv6ExtHdrHopByHop: 0, IPv6ExtHdrRouting: 43, IPv6ExtHdrFragment: 44, AH: 51, IPv6ExtHdrDestOpt: 60,
}  # fmt: skip

_arp = st.builds(
    lambda source, target, operation: Carried(
        _ARP if operation < _REVERSE else _RARP,
        bytes(ARP(op=operation, hwsrc=_MACS[0], hwdst=_MACS[1], psrc=source, pdst=target)),
    ),
    addresses, addresses, st.sampled_from((1, 1, 2, 3, 4)),
)  # fmt: skip
_other = st.builds(
    lambda kind, data: Carried(kind, _PPPOE.get(kind, b"") + data),
    st.sampled_from(_ETHER_TYPES), st.binary(min_size=8, max_size=50),
)  # fmt: skip


def _llc(content: Packet) -> Carried:
    data = bytes(content)[:_MAX_LENGTH]
    return Carried(len(data), data)


_spanning_tree = st.just(_llc(LLC(dsap=0x42, ssap=0x42, ctrl=3) / STP(rootid=1)))
_any_llc = st.builds(
    lambda point, source, control, rest: _llc(LLC(dsap=point, ssap=source, ctrl=control) / Raw(rest)),
    st.sampled_from(_SERVICE_ACCESS_POINTS), st.sampled_from(_SERVICE_ACCESS_POINTS), st.sampled_from((3, 0x7F, 0xBF)),
    st.binary(min_size=6, max_size=40),
)  # fmt: skip
_snap = st.builds(
    lambda oui, code, rest: _llc(LLC(dsap=0xAA, ssap=0xAA, ctrl=3) / SNAP(OUI=oui, code=code) / Raw(rest)),
    st.sampled_from(_OUIS), st.sampled_from((0x2000, _IPV4)), st.binary(min_size=6, max_size=40),
)  # fmt: skip
_ip = st.one_of(_ipv4(), _ipv4(), _ipv6())
_snap_of_ethernet = st.builds(
    lambda carried: _llc(
        LLC(dsap=0xAA, ssap=0xAA, ctrl=3) / SNAP(OUI=0, code=carried.kind) / Raw(carried.data)
    ),
    st.one_of(_ip, _arp, _other),
)
_in_802_3 = st.one_of(_spanning_tree, _any_llc, _snap, _snap_of_ethernet)
_carried = st.one_of(_ip, _ip, _ip, _ip, _arp, _other, _in_802_3)
_tags = st.lists(
    st.tuples(st.sampled_from((_VLAN, _VLAN, _QINQ, _OLD_QINQ)), st.integers(0, 4094), st.integers(0, 7)),
    max_size=3,
)
_sometimes_tags: st.SearchStrategy[list[tuple[int, int, int]]] = st.one_of(st.just([]), st.just([]), _tags)


def _tagged(carried: Carried, tags: list[tuple[int, int, int]]) -> Carried:
    """Put VLAN tags before a packet, the outer one first."""
    for kind, vlan, priority in reversed(tags):
        layer = Dot1AD if kind == _QINQ else Dot1Q
        carried = Carried(kind, bytes(layer(vlan=vlan, prio=priority, type=carried.kind) / Raw(carried.data)))
    return carried


@st.composite
def _ethernet(draw: st.DrawFn) -> bytes:
    carried = _tagged(draw(_carried), draw(_sometimes_tags))
    ends = {"dst": draw(st.sampled_from(_MACS)), "src": draw(st.sampled_from(_MACS[:2]))}
    is_length = carried.kind < _LEAST_ETHER_TYPE
    head = Dot3(**ends, len=carried.kind) if is_length else Ether(**ends, type=carried.kind)
    data = bytes(head / Raw(carried.data))
    return data.ljust(_SMALLEST, b"\0") if draw(st.booleans()) else data


@st.composite
def _cooked(draw: st.DrawFn, layer: type[Packet]) -> bytes:
    carried = _tagged(draw(_carried), draw(_sometimes_tags))
    kind = carried.kind if carried.kind >= _LEAST_ETHER_TYPE else _802_2
    head = layer(
        proto=kind, pkttype=draw(st.integers(0, 4)), lladdrtype=1, lladdrlen=6, src=b"\2\0\0\0\0\1\0\0"
    )
    return bytes(head / Raw(carried.data))


def _loopback(order: str) -> Callable[[Carried], bytes]:
    families = {_IPV4: 2, _IPV6: 30}
    return lambda carried: (
        families[carried.kind].to_bytes(4, "little" if order == "<" else "big") + carried.data
    )


def _data(carried: Carried) -> bytes:
    return carried.data


_FRAMES: dict[int, st.SearchStrategy[bytes]] = {
    ETHERNET: _ethernet(),
    SLL: _cooked(CookedLinux),
    SLL2: _cooked(CookedLinuxV2),
    RAW: _ip.map(_data),
    ONLY_IPV4: _ipv4().map(_data),
    ONLY_IPV6: _ipv6().map(_data),
    NULL: st.one_of(_ip.map(_loopback("<")), _ip.map(_loopback(">"))),
    LOOP: _ip.map(_loopback(">")),
    USER0: st.binary(min_size=1, max_size=60),
}
LINKS = (ETHERNET, ETHERNET, ETHERNET, ETHERNET, SLL, SLL2, RAW, ONLY_IPV4, ONLY_IPV6, NULL, LOOP)


def frames(link: int) -> st.SearchStrategy[Frame]:
    """Make frames of a link layer."""
    return _FRAMES[link].map(lambda data: Frame(data, link))
