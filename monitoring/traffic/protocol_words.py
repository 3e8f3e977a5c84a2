"""Translate the words that tcpdump prints for protocols to EtherTypes, LLC + DSAP and IP protocols."""

from __future__ import annotations

import re
import socket

from monitoring.traffic.packets import ARP, IPV4, IPV6, LLC, UNKNOWN

VLAN_TYPES = (0x8100, 0x9100, 0x9200, 0x88A8)
SNAP, RAW_IPX = LLC + 0xAA, LLC + 0xFF
_RARP, _SLOW, _PPPOE_DISCOVERY = 0x8035, 0x8809, 0x8863

# ethertype_values of print-ether.c: -q and tags of VLANs under -i any print the name alone.
TYPE_NAMES = {
    b"IPv4": IPV4, b"IPv6": IPV6, b"ARP": ARP, b"Reverse ARP": _RARP, b"MPLS unicast": 0x8847,
    b"MPLS multicast": 0x8848, b"802.1Q": 0x8100, b"802.1Q-9100": 0x9100, b"802.1Q-QinQ": 0x88A8,
    b"802.1Q-9200": 0x9200, b"802.1AE MACsec": 0x88E5, b"PUP": 0x0200, b"NS": 0x0600, b"Sprite": 0x0500,
    b"Trail": 0x1000, b"MOP DL": 0x6001, b"MOP RC": 0x6002, b"DN": 0x6003, b"LAT": 0x6004, b"SCA": 0x6007,
    b"TEB": 0x6558, b"Lanbridge": 0x8038, b"DEC DNS": 0x803C, b"DEC DTS": 0x803E, b"VEXP": 0x805B, b"VPROD": 0x805C,
    b"Appletalk": 0x809B, b"Appletalk ARP": 0x80F3, b"IPX": 0x8137, b"PPP": 0x880B, b"MPCP": 0x8808,
    b"Slow Protocols": _SLOW, b"PPPoE D": _PPPOE_DISCOVERY, b"PPPoE S": 0x8864, b"EAPOL": 0x888E,
    b"Realtek protocols": 0x8899, b"MS NLB heartbeat": 0x886F, b"Jumbo": 0x8870, b"NSH": 0x894F, b"Loopback": 0x9000,
    b"OSI": 0x00FE, b"GRE-OSI": 0xFEFE, b"CFM (old)": 0xABCD, b"CFM": 0x8902, b"IEEE1905.1": 0x893A, b"LLDP": 0x88CC,
    b"TIPC": 0x88CA, b"GeoNet (old)": 0x0707, b"GeoNet": 0x8947, b"CALM FAST": 0x1111, b"AoE": 0x88A2, b"PTP": 0x88F7,
    b"Arista Vendor Specific Protocol": 0xD28B, b"802.3": LLC, b"802.2": LLC,
}  # fmt: skip

# llc_values of print-llc.c.
POINTS = {
    b"Null": 0x00, b"Global": 0xFF, b"802.1B I": 0x02, b"802.1B G": 0x03, b"SNA": 0x04, b"IP": 0x06,
    b"ProWay NM": 0x0E, b"STP": 0x42, b"RS511": 0x4E, b"ISO8208": 0x7E, b"ProWay": 0x8E, b"SNAP": 0xAA, b"IPX": 0xE0,
    b"NetBeui": 0xF0, b"OSI": 0xFE,
}  # fmt: skip

# The first words of packets other than IP, without -e.
_FIRST_WORDS = {
    b"IP": IPV4, b"IP6": IPV6, b"ARP": ARP, b"LLDP": 0x88CC, b"EAP": 0x888E, b"EAPOL": 0x888E, b"MPLS": 0x8847,
    b"PPPoE": 0x8864, b"Loopback": 0x9000, b"LACPv1": _SLOW, b"MARKERv1": _SLOW, b"OAM": _SLOW, b"MPCP": 0x8808,
    b"AoE": 0x88A2, b"TIPC": 0x88CA, b"PTPv2": 0x88F7, b"CFMv0": 0x8902, b"NSH": 0x894F, b"GeoNet": 0x8947,
    b"CALM": 0x1111, b"aarp": 0x80F3, b"STP": LLC + 0x42, b"IS-IS": LLC + 0xFE, b"ES-IS": LLC + 0xFE,
    b"CLNP": LLC + 0xFE, b"CDPv1": SNAP, b"CDPv2": SNAP, b"VTPv1": SNAP, b"VTPv2": SNAP, b"DTPv1": SNAP,
    b"UDLDv1": SNAP, b"802.1AE": 0x88E5, b"MS": 0x886F, b"PTPv18": 0x88F7, b"PTPv1": 0x88F7, b"ip": IPV4, b"ip6": IPV6,
    b"arp": ARP, b"macsec": 0x88E5, b"isoclns": LLC + 0xFE, b"clnp": LLC + 0xFE, b"decnet": 0x6003, b"lldp": 0x88CC,
    b"stp": LLC + 0x42, b"mpls": 0x8847, b"eap": 0x888E, b"cdp": SNAP, b"SNAP": SNAP, b"Arista": 0xD28B,
}  # fmt: skip
_FIRST_WORD = re.compile(rb"[ ]?(?:\[\|)?(802\.1AE|[A-Za-z0-9-]*)")  # "[|arp]" is an ARP that is cut short
_REVERSE = re.compile(rb"ARP, (?:[^\n,]{0,40}\(len \d++\), ){0,2}Reverse |RARP")
_SNAP_TYPE = re.compile(rb"SNAP, ethertype [^\n(]{0,60}\(0x([0-9a-f]{4})\)")
_BAD_IPV4 = re.compile(rb"IP\d(?:,[ ]wrong[ ]|[ ]\(invalid\))|IP[ ]bad-hlen[ ]")


def type_of_words(text: bytes) -> int:
    """Return the EtherType, or LLC + DSAP, of a packet by its first words; UNKNOWN."""
    if _REVERSE.match(text):
        return _RARP
    if snap := _SNAP_TYPE.match(text):
        return int(snap[1], 16)
    if text.startswith(b"PPPoE PAD"):
        return _PPPOE_DISCOVERY
    if _BAD_IPV4.match(text):
        return IPV4
    return _FIRST_WORDS.get(_FIRST_WORD.match(text)[1], UNKNOWN)  # type: ignore[index] # it matches anything


# The first words of packets within IP, without the version.
_CARRIED = {
    b"ICMP": 1, b"icmp": 1, b"igmp": 2, b"mtrace": 2, b"mresp": 2, b"IP": 4, b"Flags": 6, b"tcp": 6, b"egp": 8,
    b"igrp": 9, b"udp": 17, b"UDP": 17, b"DCCP": 33, b"dccp": 33, b"IP6": 41, b"RSVP": 46, b"rsvp": 46,
    b"ERROR: RSVP": 46, b"GRE": 47, b"gre": 47, b"ESP": 50, b"esp": 50, b"AH": 51, b"ah": 51, b"mobile": 55,
    b"ICMP6": 58, b"icmp6": 58, b"no next header": 59, b"nd": 77, b"EIGRP": 88, b"eigrp": 88, b"OSPF": 89, b"ospf": 89,
    b"ospf2": 89, b"ospf3": 89, b"PIM": 103, b"pim": 103, b"IPComp": 108, b"ipcomp": 108, b"VRRP": 112, b"vrrp": 112,
    b"CARP": 112, b"PGM": 113, b"pgm": 113, b"sctp": 132, b"mobility": 135,
}  # fmt: skip
_WORD = re.compile(
    rb"[ ]?(?:\[\|)?(ERROR: RSVP|no next header|[A-Za-z0-9]*?)(?:v\d++)?"
    rb"(?:-proto-(25[0-5]|2[0-4]\d|1\d\d|\d\d?))?(?![A-Za-z0-9])"
)
_LEADING = re.compile(rb"(?>(?:\[(?!\|)[^\]\n]{0,80}\][ ])*)")  # [udp sum ok], [bad icmp6 cksum ...]


def protocol_of_words(text: bytes) -> int:
    """Return the IP protocol by the first words of its packet; UNKNOWN."""
    word = _WORD.match(text, _LEADING.match(text).end())  # type: ignore[union-attr] # it matches anything
    if not word:
        return UNKNOWN
    if word[2]:
        return int(word[2]) & 0xFF
    return _CARRIED.get(word[1], UNKNOWN)


def protocol_of_name(name: bytes) -> int:
    """Return an IP protocol by its name in /etc/protocols, which tcpdump prints without -n; UNKNOWN."""
    try:
        return socket.getprotobyname(name.decode("ascii"))
    except (OSError, ValueError):
        return UNKNOWN
