"""How large a frame was, as text tells it or as it follows from what is told; and which IP it carried."""

from __future__ import annotations

from monitoring.traffic import lines
from monitoring.traffic.packets import IPV4, IPV6, UDP, UNKNOWN

ETHERNET, COOKED_2, HEADERS = 14, 20, {IPV4: 20, IPV6: 40}  # bytes
TELLS_NETWORK = ("network", "tagged", "ethertype", "brief", "next")
TELLS_SIZE = ("frame", "total", "payload", "interface")
_UDP_HEADER = 8
_LARGEST_WHOLE = 1514  # bytes of a frame that is no fragment for sure
_OPTION_SIZES = {b"nop": 1, b"eol": 1, b"mss": 4, b"wscale": 3, b"sackOK": 2, b"TS": 10}
_USUAL_OPTIONS, _USUAL_SIZE = b"nop,nop,TS val ", 12  # bytes; nothing follows timestamps in these


def network_of(network: bytes, tagged: bytes, ethertype: bytes, brief: bytes, following: bytes) -> int:
    """Tell IPV4 from IPV6."""
    is_ipv6 = following or (network or tagged or ethertype or brief) in (b"IP6 ", b"86dd", b"IPv6")
    return IPV6 if is_ipv6 else IPV4


def told_size(frame: bytes, total: bytes, payload: bytes, interface: bytes) -> int:
    """Give the frame's size, as -e or -v tell it."""
    link = COOKED_2 if interface else ETHERNET
    if frame:
        return int(frame)
    if total:
        return int(total) + link
    return int(payload) + HEADERS[IPV6] + link if payload else UNKNOWN


def worked_out_size(rest: bytes, word: bytes, protocol: int, headers: int) -> int:
    """Work out a frame's size from what is printed of its content."""
    if word in (b"frag", b"tcp") or word.startswith((b"ip-proto", b"[")):
        return UNKNOWN
    said = (lines.IN_BRACKETS.search(rest) if protocol == UDP else None) or lines.LENGTH.search(rest)
    if not said:
        return UNKNOWN
    size = headers + int(said[1]) + (_UDP_HEADER if protocol == UDP else 0)
    return size if size <= _LARGEST_WHOLE else UNKNOWN  # a first fragment tells the whole datagram's length


def options_size(options: bytes) -> int:
    """Give the bytes of TCP's options, padded to words."""
    if options[:15] == _USUAL_OPTIONS:
        return _USUAL_SIZE
    size = 0
    for option in options.split(b","):
        name = option.split(b" ", 1)[0]
        size += 2 + 8 * option.count(b"{") if name == b"sack" else _OPTION_SIZES.get(name, 0)
    return (size + 3) // 4 * 4
