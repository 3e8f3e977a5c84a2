"""Messages of neighbour discovery (RFC 4861) that a node may send or forge, and of multicast groups (RFC 3810)."""

from __future__ import annotations

import struct

from security.proof.family import packed
from security.proof.packets import icmp, mac_bytes, tag

ALL_NODES, ALL_NODES_MAC = "ff02::1", "33:33:00:00:00:01"
SOLICITATION, ADVERTISEMENT = 135, 136
SOURCE_LINK_LAYER, TARGET_LINK_LAYER = 1, 2  # options with a MAC
# The first word of a solicitation or advertisement, where receivers ignore all but three bits: a mark and the number.
WORD_MASK, WORD_MARK, NUMBER_MASK = 0x1F000000, 0x15000000, 0x00FFFFFF
_OVERRIDE = 0x20000000  # replace what the neighbour table has
_ROUTER_SOLICITATION, _ROUTER_ADVERTISEMENT, _REDIRECT, _REPORT = 133, 134, 137, 143
_PREFIX, _EXPERIMENTAL = 3, 253  # options; the last: RFC 4727
_ON_LINK_AND_AUTONOMOUS = 0xC0  # flags L and A of a prefix (RFC 4861, 4.6.2)
_LIFETIME_SECONDS = 0  # a router advertisement that gets through must not change the lab
HOPS = 255  # receivers discard a message that a router forwarded
UNSPECIFIED, _ALL_ROUTERS, _ALL_REPORTS = "::", "ff02::2", "ff02::16"


def neighbour(
    ends: tuple[str, str],
    kind: int,
    target: str,
    link: tuple[int, str] | None,
    number: int,
    *,
    hops: int = HOPS,
) -> bytes:
    """Build a solicitation or advertisement about `target`; `link` is an option and its MAC.

    Ends are source and destination. An advertisement without a MAC still renews an entry of the neighbour table.
    """
    word = WORD_MARK | number | (_OVERRIDE if kind == ADVERTISEMENT else 0)
    message = struct.pack("!BBHI", kind, 0, 0, word) + packed(target)
    return icmp(*ends, message + (_link_option(*link) if link else b""), number, hops=hops)


def router_solicitation(source: str, number: int) -> bytes:
    """Build a router solicitation."""
    return _tagged(source, _ALL_ROUTERS, struct.pack("!BBHI", _ROUTER_SOLICITATION, 0, 0, 0), number)


def router_advertisement(source: str, to: str, mac: str, prefix: str, number: int) -> bytes:
    """Build a router advertisement: send everything to `mac`, and make an address of `prefix`/64."""
    message = struct.pack("!BBHBBHII", _ROUTER_ADVERTISEMENT, 0, 0, 64, 0, _LIFETIME_SECONDS, 0, 0)
    lifetimes = struct.pack("!III", _LIFETIME_SECONDS, _LIFETIME_SECONDS, 0)
    option = struct.pack("!BBBB", _PREFIX, 4, 64, _ON_LINK_AND_AUTONOMOUS) + lifetimes + packed(prefix)
    return _tagged(source, to, message + _link_option(SOURCE_LINK_LAYER, mac) + option, number)


def redirect(source: str, to: str, target: str, mac: str, number: int) -> bytes:
    """Build a redirect: `target` is a neighbour, at `mac`."""
    message = struct.pack("!BBHI", _REDIRECT, 0, 0, 0) + packed(target) * 2
    return _tagged(source, to, message + _link_option(TARGET_LINK_LAYER, mac), number)


def group_report(source: str, number: int) -> bytes:
    """Build the report of a multicast group; a kernel without a link-local address sends it from `UNSPECIFIED`."""
    record = struct.pack("!BBH", 4, 0, 0) + packed(ALL_NODES)
    message = struct.pack("!BBHHH", _REPORT, 0, 0, 0, 1) + record
    return icmp(source, _ALL_REPORTS, message + tag(number), number, hops=1)


def _link_option(kind: int, mac: str) -> bytes:
    return struct.pack("!BB", kind, 1) + mac_bytes(mac)


def _tagged(source: str, to: str, message: bytes, number: int) -> bytes:
    """Add the number as an option that receivers skip: two units of 8 bytes."""
    option = struct.pack("!BB", _EXPERIMENTAL, 2) + tag(number)
    return icmp(source, to, message + option, number, hops=HOPS)
