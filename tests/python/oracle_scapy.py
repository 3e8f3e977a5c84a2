"""What scapy's dissection says of a frame: the outer packet, as the tables count it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, fields
from ipaddress import ip_address

from oracle_captures import Record
from oracle_packets import ETHERNET, LOOP, NULL, ONLY_IPV4, ONLY_IPV6, RAW, SLL, SLL2
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import (
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
)
from scapy.layers.ipsec import AH
from scapy.layers.l2 import LLC, SNAP, CookedLinux, CookedLinuxV2, Dot1Q, Dot3, Ether
from scapy.layers.sctp import SCTP
from scapy.packet import Packet

from monitoring.traffic.packets import IPV4, IPV6, UNKNOWN
from monitoring.traffic.packets import TCP as TCP_NUMBER

_TAGS, _TAG = (0x8100, 0x88A8, 0x9100), 4
_LEAST_ETHER_TYPE, _OF_802_3, _LLC, _SNAP, _LLC_HEADER, _SNAP_HEADER = 0x600, 4, 0x10000, 0xAA, 3, 8
_COOKED = {SLL: (CookedLinux, 16), SLL2: (CookedLinuxV2, 20)}
_FAMILIES = {2: IPV4, 30: IPV6}
_AUTHENTICATION = 51
_EXTENSIONS: dict[int, type[Packet]] = {
    0: IPv6ExtHdrHopByHop, 43: IPv6ExtHdrRouting, 44: IPv6ExtHdrFragment, _AUTHENTICATION: AH, 60: IPv6ExtHdrDestOpt,
}  # fmt: skip
_LEAST_EXTENSION = 8  # bytes
_TCP_FLAGS = 14
_LONG_ENOUGH = 100
_PORTS: dict[int, type[Packet]] = {6: TCP, 17: UDP, 132: SCTP, 136: UDP}  # UDP-Lite's are UDP's


@dataclass(kw_only=True)
class Row:
    """One packet of the tables; None is what is not told."""

    size: int | None
    nanoseconds: int | None
    protocol: int | None = UNKNOWN
    source: str | None = ""
    destination: str | None = ""
    ports: tuple[int, int] | None = (0, 0)
    flags: int | None = 0
    payload: int | None = None  # of TCP
    fragment: bool | None = False
    after_authentication: bool = field(default=False, compare=False)  # IPv6: an extension header follows AH

    def is_told_by(self, found: Row, unsure: Collection[str] = ()) -> bool:
        """Tell whether a reader found the same, as far as this is told; it may not know what is unsure."""
        for name in (each.name for each in fields(self) if each.compare):
            wanted, value = getattr(self, name), getattr(found, name)
            if wanted is not None and value != wanted and not (name in unsure and value in (None, UNKNOWN)):
                return False
        return True


UNTOLD = Row(
    size=None,
    nanoseconds=None,
    protocol=None,
    source=None,
    destination=None,
    ports=None,
    flags=None,
    fragment=None,
)


class CutShortError(Exception):
    """A frame ends within a header that must be whole; the row says what is known."""


def dissected(record: Record) -> tuple[Row, bool]:
    """Give a frame's row, as far as it was kept; False: something of it must be noted as unread."""
    row = Row(size=len(record.frame.data), nanoseconds=record.nanoseconds)
    try:
        _fill(row, *_under_link(record.frame.link, record.kept))
    except CutShortError:
        return row, False
    return row, True


def _layer(kind: type[Packet], data: bytes) -> Packet:
    """Dissect one header; what is cut off behind its fixed part is zero."""
    return kind(data.ljust(_LONG_ENOUGH, b"\0"))


def _need(data: bytes, size: int) -> None:
    if len(data) < size:
        raise CutShortError


def _under_link(link: int, data: bytes) -> tuple[int, bytes]:
    """Give what a link layer carries: the number of its protocol, and its bytes."""
    if link == ETHERNET:
        _need(data, 14)
        # The header alone: scapy fails at an IPv6 packet that is cut within a routing header.
        head = Ether(data[:14])
        kind, data = (head.len if isinstance(head, Dot3) else head.type), data[14:]
    elif link in _COOKED:
        layer, size = _COOKED[link]
        _need(data, size)
        kind, data = layer(data[:size]).proto, data[size:]
        kind = 0 if kind == _OF_802_3 else kind
    elif link in (NULL, LOOP):
        _need(data, 4)
        kind, data = _FAMILIES[max(data[0], data[3])], data[4:]
    elif link in (RAW, ONLY_IPV4, ONLY_IPV6):
        kind = {4: IPV4, 6: IPV6}[data[0] >> 4]
    else:
        raise CutShortError
    while kind in _TAGS:
        _need(data, _TAG)
        kind, data = Dot1Q(data[:_TAG]).type, data[_TAG:]
    return _under_802_3(data) if kind < _LEAST_ETHER_TYPE else (kind, data)


def _under_802_3(data: bytes) -> tuple[int, bytes]:
    _need(data, _LLC_HEADER)
    point = LLC(data[:_LLC_HEADER])
    kind = _LLC + point.dsap
    if (point.dsap, point.ssap, point.ctrl) == (_SNAP, _SNAP, 3):
        _need(data, _SNAP_HEADER)
        snap = SNAP(data[_LLC_HEADER:_SNAP_HEADER])
        if snap.OUI == 0:
            return snap.code, data[_SNAP_HEADER:]
    return kind, b""


def _fill(row: Row, kind: int, data: bytes) -> None:
    if kind == IPV4:
        _need(data, 20)
        packet = _layer(IP, data)
        row.protocol, row.fragment = packet.proto, packet.frag > 0
        content, length = data[packet.ihl * 4 :], packet.len - packet.ihl * 4
    elif kind == IPV6:
        _need(data, 40)
        packet = IPv6(data[:40])
        row.protocol, content = _after_extensions(row, packet, data)
        length = packet.plen + 40 - (len(data) - len(content))
    else:
        row.protocol = kind
        return
    row.source, row.destination = str(ip_address(packet.src)), str(ip_address(packet.dst))
    if row.protocol == UNKNOWN:
        raise CutShortError
    if not row.fragment:
        _fill_transport(row, content, length)


def _after_extensions(row: Row, packet: Packet, data: bytes) -> tuple[int, bytes]:
    """Walk extension headers: the protocol, and what follows them."""
    protocol, at, last = packet.nh, 40, UNKNOWN
    while protocol in _EXTENSIONS:
        row.after_authentication |= last == _AUTHENTICATION
        if len(data) < at + _LEAST_EXTENSION:
            return UNKNOWN, b""
        extension = _layer(_EXTENSIONS[protocol], data[at:])
        if isinstance(extension, IPv6ExtHdrFragment) and extension.offset:
            row.fragment = True
            return extension.nh, b""
        words = extension.payloadlen / 2 if protocol == _AUTHENTICATION else extension.fields.get("len", 0)
        protocol, at, last = extension.nh, at + int(words * 8) + _LEAST_EXTENSION, protocol
    return protocol, data[at:]


def _fill_transport(row: Row, content: bytes, length: int) -> None:
    if row.protocol in _PORTS and len(content) >= 4:
        layer = _layer(_PORTS[row.protocol], content)
        row.ports = (layer.sport, layer.dport)
    if row.protocol == TCP_NUMBER:
        _need(content, _TCP_FLAGS)
        row.flags = int(layer.flags) & 0xFF
        row.payload = max(length - layer.dataofs * 4, 0)
