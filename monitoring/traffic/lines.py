"""How tcpdump prints a packet, as one pattern: timestamps, -e, -v, -q, -S, IPv4 and IPv6.

Written after tcpdump 4.99 (print.c, print-ether.c, print-ip.c, print-ip6.c, print-tcp.c, print-udp.c). What
repeats is possessive or bounded, so that no input, however damaged, takes more than linear time.
"""

from __future__ import annotations

import re

_NUMBER = rb"(?:[ ]*+\d++[ ]{2})?"  # -#
_TIME = rb"(?P<time>[ ]?+(?:\d{4}-\d\d-\d\d[ ])?[\d:]++\.\d++[ ])?"  # whether it makes sense, the clock tells
_INTERFACE = rb"(?:(?P<interface>[^\s:,]++)[ ]++(?:In|Out|B|M|P|\?)[ ]++)?"  # -i any
_COOKED = rb"(?:ifindex[ ]\d++[ ][0-9a-f:]++[ ])?"
_ETHERNET = (
    _COOKED + rb"(?:[0-9a-f:]++[ ]>[ ][0-9a-f:]++,[ ])?"
    rb"(?:(?:ethertype[ ][^(\n]*+\(0x(?P<ethertype>[0-9a-f]{4})\)|(?P<brief>[A-Za-z0-9.]++))"
    rb",[ ]length[ ](?P<frame>\d++):[ ])?"
    rb"(?:vlan[ ]\d++,[ ]p[ ]\d,(?:[ ]DEI,)?[ ]"
    rb"(?:(?:ethertype[ ][^(\n]*+\(0x(?P<tagged>[0-9a-f]{4})\)|IPv4|ARP)(?:,[ ]|:[ ]))?)*"
)
_IPV4 = (
    rb"(?:\(tos[ ][^\n(]*?offset[ ](?P<offset>\d++),[ ]flags[ ]\[[^\]\n]{0,20}+\],[ ]proto[ ][^(\n]{1,40}+"
    rb"\((?P<proto>\d++)\),[ ]length[ ](?P<total>\d++)[^\n]*+\n[ ]{4})?"
)
_IPV6 = rb"(?:\([^()\n]*?next-header[ ][^(\n]{0,40}+\((?P<next>\d++)\)[ ]payload[ ]length:[ ](?P<payload>\d++)\)[ ])?"
_ENDS = rb"(?P<source>\S++)[ ]>[ ](?P<destination>\S++)(?<=:)[ ]"
_TCP = (
    rb"Flags[ ]\[(?P<flags>[^\]\n]{0,20}+)\](?:,[ ]cksum[ ][^\s(]{1,20}+[ ]\([^)\n]{0,60}+\))?"
    rb"(?:,[ ]seq[ ](?P<sequence>\d++)(?::\d++)?)?"
    rb"(?:,[ ]ack[ ]\d++)?(?:,[ ]win[ ]\d++)?(?:,[ ]urg[ ]\d++)?(?:,[ ]options[ ]\[(?P<options>[^\]\n]{0,300}+)\])?"
    rb",[ ]length[ ](?P<length>\d++)"
)


def _line(before: bytes, verbose: bytes) -> re.Pattern[bytes]:
    """Make the pattern of a line. Every line matches: as a packet (with -v, two lines are one), or as `other`."""
    return re.compile(
        rb"^(?:" + before + rb"(?P<network>IP6?[ ])?" + verbose + _ENDS
        + rb"(?:" + _TCP + rb"[^\n]*+|(?P<rest>[^\n]*+))|(?P<other>[^\n]*+))\n",
        re.MULTILINE,
    )  # fmt: skip


# The plainer a text, the fewer parts to look for: without -v, with it, with everything (-#, -e, -i any). `network` is
# IP, IP6, or empty after -e.
BARE, VERBOSE = _line(_TIME, b""), _line(_TIME, _IPV4 + _IPV6)
LINE = _line(_NUMBER + _TIME + _INTERFACE + _ETHERNET, _IPV4 + _IPV6)
STYLES = (BARE, VERBOSE, LINE)

# What is not IP, or IP that is cut short: a name, and what follows it.
OTHER = re.compile(_NUMBER + _TIME + _INTERFACE + _ETHERNET + rb"(?P<name>[A-Za-z0-9.]++)(?P<rest>[^\n]*+)")

NOTE = re.compile(
    rb"(?:tcpdump: |reading from |listening on |dropped privs |\d+ packets? (?:captured|received|dropped))"
)
CONTINUED = (b"\t", b"    ", b"\r")
FLAG_BITS = {ord(letter): bit for letter, bit in zip("FSRP.UEW", (1, 2, 4, 8, 16, 32, 64, 128), strict=True)}
LENGTH = re.compile(rb"length[: ]++(\d++)")
IN_BRACKETS = re.compile(rb"\((\d++)\)\s*$")

# First words of what follows the addresses, for what is neither TCP nor UDP.
PROTOCOLS = {
    b"ICMP": 1, b"icmp": 1, b"igmp": 2, b"tcp": 6, b"[|tcp]": 6, b"udp": 17, b"[|udp]": 17, b"UDP": 17,
    b"GREv0": 47, b"GREv1": 47, b"gre": 47, b"ESP": 50, b"esp": 50, b"AH": 51, b"ah": 51, b"ICMP6": 58, b"EIGRP": 88,
    b"OSPFv2": 89, b"OSPFv3": 89, b"PIMv1": 103, b"PIMv2": 103, b"pim": 103, b"VRRPv2": 112, b"VRRPv3": 112,
    b"sctp": 132,
}  # fmt: skip
ETHER_NAMES = {b"ARP": 0x0806, b"Request": 0x0806, b"Reply": 0x0806, b"Ethernet": 0x0806, b"RARP": 0x8035,
               b"LLDP": 0x88CC, b"EAPOL": 0x888E, b"MPLS": 0x8847, b"PPPoE": 0x8863,
               b"IP": 0x0800, b"IP6": 0x86DD}  # fmt: skip
