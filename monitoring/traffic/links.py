"""Link layers: the protocol that each frame carries, and its position in the frame.

Layouts: IEEE 802.3, 802.1Q and 802.2, RFC 1042 (SNAP), RFC 1661 and 1662 (PPP), and the link types of
https://www.tcpdump.org/linktypes.html.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from lab.unread import Unread
from monitoring.traffic.frames import Frames, swapped
from monitoring.traffic.packets import IPV4, IPV6, LLC, UNKNOWN, Integers, Truths

# For each frame a protocol number of packets.py, or UNKNOWN, and the position of the payload.
Carried = tuple[Integers, Integers]

ETHERNET = 1
# IEEE 802.3, 3.2.6: an EtherType is at least 0x600, a length at most 1500; values between are invalid.
_MIN_ETHERTYPE, _MAX_LENGTH = 0x600, 1500
_VLAN_TAGS = (0x8100, 0x88A8, 0x9100)
_MAX_TAGS = 8
_SNAP, _UNNUMBERED, _OSI = 0xAA, 3, 0xFE
_COOKED_LLC, _NETLINK = 4, 824  # Linux cooked headers: a protocol, and an interface type (ARPHRD)
_MPLS = 0x8847
_PPP_KINDS = {0x21: IPV4, 0x57: IPV6, 0x281: _MPLS, 0x283: _MPLS}
_CISCO_OSI, _CISCO_SLARP = 0xFEFE, 0x8035
_FAMILIES = {2: IPV4, 10: IPV6, 24: IPV6, 28: IPV6, 30: IPV6}  # AF_INET; AF_INET6 of Linux and of the BSDs
_PACKET_HEADER, _PAYLOAD, _TYPE, _MAX_ATTRIBUTES = 1, 9, 0x3FFF, 32  # sizes and types of NFLOG attributes


def carried(frames: Frames, unread: Unread) -> Carried:
    """Return the protocol and payload position of each frame; note frames whose link type or protocol is unknown."""
    link_types = frames.link_type
    if len(link_types) and link_types[0] in LINKS and (link_types == link_types[0]).all():
        return _read_link_type(int(link_types[0]), frames, unread)
    kind, at = np.full(len(link_types), UNKNOWN, np.int64), frames.at.copy()
    for link_type, count in zip(*(found.tolist() for found in np.unique_counts(link_types)), strict=True):
        if link_type in LINKS:
            rows = np.flatnonzero(link_types == link_type)
            kind[rows], at[rows] = _read_link_type(link_type, frames.only(rows), unread)
        else:
            name = f" ({UNREAD_LINKS[link_type]})" if link_type in UNREAD_LINKS else ""
            unread.note(f"unknown link type {link_type}{name}", "the first such frame", count)
    return kind, at


def _read_link_type(link_type: int, frames: Frames, unread: Unread) -> Carried:
    """Read the headers of one link type; note short frames and unknown protocols apart."""
    name, read = LINKS[link_type]
    kind, at = read(frames)
    whole, known = at <= frames.end, kind >= _MIN_ETHERTYPE
    unread.note("frame shorter than its link header", "", int((~whole).sum()))
    unread.note(f"{name} frame of an unknown protocol", "", int((whole & ~known).sum()))
    return np.where(whole & known, kind, UNKNOWN), at


def _ethernet(frames: Frames) -> Carried:
    kind, at = _after_tags(frames, frames.short(frames.at + 12), frames.at + 14)
    return _after_llc(frames, kind, at, (kind >= 0) & (kind <= _MAX_LENGTH))


def _after_tags(frames: Frames, kind: Integers, at: Integers) -> Carried:
    """Skip VLAN tags."""
    for _ in range(_MAX_TAGS):
        tagged = np.isin(kind, _VLAN_TAGS)
        if not tagged.any():
            return kind, at
        kind, at = np.where(tagged, frames.short(at + 2), kind), np.where(tagged, at + 4, at)
    return np.where(np.isin(kind, _VLAN_TAGS), UNKNOWN, kind), at


def _after_llc(frames: Frames, kind: Integers, at: Integers, is_llc: Truths) -> Carried:
    """Read the header of IEEE 802.2 where there is one; after SNAP's there is an EtherType."""
    if not is_llc.any():
        return kind, at
    access_point = frames.byte(at)
    snap = (frames.short(at) == _SNAP << 8 | _SNAP) & (frames.byte(at + 2) == _UNNUMBERED)
    organization = frames.word(at + 2) & 0xFFFFFF
    of_ethernet = snap & (organization == 0)
    carried_kind = np.where(of_ethernet, frames.short(at + 6), LLC + access_point)
    return np.where(is_llc, carried_kind, kind), np.where(is_llc, at + np.where(snap, 8, 3), at)


def _raw(frames: Frames) -> Carried:
    version = frames.byte(frames.at) >> 4
    kind = np.select([version == 4, version == 6], [IPV4, IPV6], UNKNOWN)  # noqa: PLR2004 - IP's version
    return kind, np.where(frames.captured > 0, frames.at, frames.at + 1)


def _only(kind: int, frames: Frames) -> Carried:
    return np.full(len(frames.at), kind, np.int64), frames.at


def _linux_cooked(frames: Frames) -> Carried:
    return _cooked(frames, frames.short(frames.at + 14), frames.short(frames.at + 2), frames.at + 16)


def _linux_cooked_2(frames: Frames) -> Carried:
    return _cooked(frames, frames.short(frames.at), frames.short(frames.at + 8), frames.at + 20)


def _cooked(frames: Frames, kind: Integers, interface: Integers, at: Integers) -> Carried:
    kind = np.where(interface == _NETLINK, UNKNOWN, kind)
    kind, after = _after_tags(frames, kind, at)
    is_length = (after > at) & (kind >= 0) & (kind <= _MAX_LENGTH)
    return _after_llc(frames, kind, after, is_length | (kind == _COOKED_LLC))


def _bsd_loopback(frames: Frames) -> Carried:
    family = np.minimum(frames.word(frames.at), swapped(frames.word(frames.at)))
    return _looked_up(_FAMILIES, family), frames.at + 4


def _looked_up(kinds: dict[int, int], values: Integers) -> Integers:
    return np.select([values == value for value in kinds], list(kinds.values()), UNKNOWN)


def _ppp(frames: Frames) -> Carried:
    framed = frames.short(frames.at) == 0xFF03  # noqa: PLR2004 - RFC 1662: all stations, unnumbered
    at = frames.at + np.where(framed, 2, 0)
    compressed = (frames.byte(at) & 1) == 1  # RFC 1661, 6.5
    protocol = np.where(compressed, frames.byte(at), frames.short(at))
    kind, at = _looked_up(_PPP_KINDS, protocol), at + np.where(compressed, 1, 2)
    cisco_kind, cisco_at = _cisco_hdlc(frames)
    is_cisco = np.isin(frames.short(frames.at), (0x0F00, 0x8F00))
    return np.where(is_cisco, cisco_kind, kind), np.where(is_cisco, cisco_at, at)


def _cisco_hdlc(frames: Frames) -> Carried:
    kind = frames.short(frames.at + 2)
    kind = np.where(kind == _CISCO_OSI, LLC + _OSI, np.where(kind == _CISCO_SLARP, UNKNOWN, kind))
    return kind, frames.at + 4


def _nflog(frames: Frames) -> Carried:
    """Find the payload attribute. The attributes are in the byte order of the machine that captured them."""
    at, payload = frames.at + 4, frames.end + 1
    kind = _looked_up({2: IPV4, 10: IPV6}, frames.byte(frames.at))
    first = frames.short(at)
    little = (first >> 8 | (first & 0xFF) << 8) < first  # the first attribute is short

    def number(where: Integers) -> Integers:
        return np.where(little, frames.byte(where) | frames.byte(where + 1) << 8, frames.short(where))

    going = at + 4 <= frames.end
    for _ in range(_MAX_ATTRIBUTES):
        length, attribute = number(at), number(at + 2) & _TYPE
        going = going & (length >= 4) & (at + 4 <= frames.end)  # noqa: PLR2004 - an attribute's own header
        if not going.any():
            break
        bridged = going & (attribute == _PACKET_HEADER) & (kind == UNKNOWN)
        kind = np.where(bridged, frames.short(at + 4), kind)
        payload = np.where(going & (attribute == _PAYLOAD), at + 4, payload)
        going = going & (attribute != _PAYLOAD)
        at = np.where(going, at + (length + 3) // 4 * 4, at)
    return kind, payload


LINKS: dict[int, tuple[str, Callable[[Frames], Carried]]] = {
    0: ("loopback", _bsd_loopback),
    ETHERNET: ("Ethernet", _ethernet),
    9: ("PPP", _ppp),
    12: ("raw IP", _raw),  # LINKTYPE_RAW on some BSDs
    14: ("raw IP", _raw),
    50: ("PPP", _ppp),
    101: ("raw IP", _raw),
    104: ("Cisco HDLC", _cisco_hdlc),
    108: ("loopback", _bsd_loopback),
    113: ("Linux cooked", _linux_cooked),
    228: ("raw IPv4", partial(_only, IPV4)),
    229: ("raw IPv6", partial(_only, IPV6)),
    239: ("NFLOG", _nflog),
    276: ("Linux cooked", _linux_cooked_2),
}
UNREAD_LINKS = {
    6: "Token Ring", 7: "ARCNET", 8: "SLIP", 10: "FDDI", 51: "PPPoE", 100: "ATM", 105: "IEEE 802.11",
    107: "Frame Relay", 119: "IEEE 802.11, Prism", 123: "SunATM", 127: "IEEE 802.11, radiotap", 129: "ARCNET, Linux",
    163: "IEEE 802.11, AVS", 189: "USB", 192: "PPI", 195: "IEEE 802.15.4", 201: "Bluetooth", 219: "MPLS",
    220: "USB", 227: "CAN", 242: "IP over InfiniBand", 249: "USBPcap", 253: "netlink", 258: "PKTAP", 271: "VSOCK",
    272: "nRF sniffer",
}  # fmt: skip
