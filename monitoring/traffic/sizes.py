"""The size of an IP packet, computed from what tcpdump prints of its content."""

from __future__ import annotations

import re

from monitoring.traffic.lines import LENGTH
from monitoring.traffic.packets import IPV4, IPV6, UDP, UNKNOWN

HEADERS = {IPV4: 20, IPV6: 40}  # bytes
UDP_HEADER, _TCP_HEADER = 8, 20
LARGEST_WHOLE = 1500  # bytes; a larger length may be the whole datagram's, printed with its first fragment
_OPTION_SIZES = {b"nop": 1, b"eol": 1, b"mss": 4, b"wscale": 3, b"sackOK": 2, b"TS": 10, b"md5": 18}
_USUAL_OPTIONS, _USUAL_SIZE = b"nop,nop,TS val ", 12  # bytes, when no option follows the timestamps
_DATAGRAM = re.compile(
    rb"(?:\[[^\]\n]{0,40}\][ ])?(?:(?:UDP|NTPv\d|BOOTP/DHCP|SYSLOG)\b[^\n]{0,80}?,[ ]length[ ](?P<told>"
    + LENGTH
    + rb")"
    rb"|\d++[^\n]*[ ]\((?P<question>" + LENGTH + rb")\)\Z)"  # DNS
)
_MESSAGE = re.compile(rb"(?:ICMP|ICMP6|GREv0)\b[^\n]*?,[ ]length[ ](" + LENGTH + rb")")


def length_of(rest: bytes, protocol: int, header: int, segment: re.Match[bytes] | None) -> int:
    """Return the bytes of an IP packet with an IP header of `header` bytes; UNKNOWN when its content does not tell."""
    size = UNKNOWN
    if segment and segment["whole"]:
        options = options_size(segment["options"]) if segment["options"] else 0
        return UNKNOWN if options == UNKNOWN else header + _TCP_HEADER + options + int(segment["length"])
    if protocol == UDP and (found := _DATAGRAM.match(rest)):
        size = header + UDP_HEADER + int(found["told"] or found["question"])
    elif found := _MESSAGE.match(rest):
        size = header + int(found[1])
    return size if size <= LARGEST_WHOLE else UNKNOWN


def options_size(options: bytes) -> int:
    """Return the bytes of TCP options, padded to words; UNKNOWN when one of them is unknown."""
    if options[:15] == _USUAL_OPTIONS and options.count(b",") == 2:  # noqa: PLR2004 - nothing follows
        return _USUAL_SIZE
    size = 0
    for option in options.split(b","):
        name = option.split(b" ", 1)[0]
        if name == b"sack":
            size += 2 + 8 * option.count(b"{")
        elif name in _OPTION_SIZES:
            size += _OPTION_SIZES[name]
        else:
            return UNKNOWN
    return (size + 3) // 4 * 4
