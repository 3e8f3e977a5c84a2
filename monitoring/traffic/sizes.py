"""How large a packet was, as it follows from what is told of its content; and which IP it was."""

from __future__ import annotations

import re

from monitoring.traffic.lines import LENGTH
from monitoring.traffic.packets import IPV4, IPV6, UDP, UNKNOWN

HEADERS = {IPV4: 20, IPV6: 40}  # bytes
UDP_HEADER, _TCP_HEADER = 8, 20
LARGEST_WHOLE = 1500  # bytes of a packet that is no fragment for sure
_OPTION_SIZES = {b"nop": 1, b"eol": 1, b"mss": 4, b"wscale": 3, b"sackOK": 2, b"TS": 10, b"md5": 18}
_USUAL_OPTIONS, _USUAL_SIZE = b"nop,nop,TS val ", 12  # bytes; nothing follows timestamps in these
_DATAGRAM = re.compile(
    rb"(?:\[[^\]\n]{0,40}\][ ])?(?:(?:UDP|NTPv\d|BOOTP/DHCP|SYSLOG)\b[^\n]{0,80}?,[ ]length[ ](?P<told>"
    + LENGTH
    + rb")"
    rb"|\d++[^\n]*[ ]\((?P<question>" + LENGTH + rb")\)\Z)"  # DNS
)
_MESSAGE = re.compile(rb"(?:ICMP|ICMP6|GREv0)\b[^\n]*?,[ ]length[ ](" + LENGTH + rb")")


def length_of(rest: bytes, protocol: int, header: int, segment: re.Match[bytes] | None) -> int:
    """Work out an IP packet's size from its content; UNKNOWN where that does not tell it."""
    size = UNKNOWN
    if segment and segment["whole"]:
        options = options_size(segment["options"]) if segment["options"] else 0
        return UNKNOWN if options == UNKNOWN else header + _TCP_HEADER + options + int(segment["length"])
    if protocol == UDP and (found := _DATAGRAM.match(rest)):
        size = header + UDP_HEADER + int(found["told"] or found["question"])
    elif found := _MESSAGE.match(rest):
        size = header + int(found[1])
    return size if size <= LARGEST_WHOLE else UNKNOWN  # a first fragment tells the whole datagram's length


def options_size(options: bytes) -> int:
    """Give the bytes of TCP's options, padded to words; UNKNOWN when one is not known."""
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
