"""What root in redis-cache can put on its wire in IPv6. For tests/bats/ipv6_policy.bats.

python -m tests.lab.ipv6_frames [KIND...]   send each, and print "VERDICT KIND": arrives if product-3 receives it, or
                                            the id that NFLOG names for the drop
"""

from __future__ import annotations

import select
import socket
import sys
import time

from scapy.layers.inet import UDP
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoRequest,
    ICMPv6MLReport2,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6ND_RA,
    ICMPv6ND_Redirect,
    ICMPv6ND_RS,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptSrcLLAddr,
    ICMPv6NIQueryName,
    ICMPv6PacketTooBig,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    RouterAlert,
)
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from lab.namespace import inside
from security.policy.drops import LOG_PREFIX, PROOF_GROUP
from security.proof.nflog import DropLog

OWN, PEER, THIRD = "fd00:cafe::50", "fd00:cafe::32", "fd00:cafe::60"
OWN_MAC, PEER_MAC, THIRD_MAC = "02:42:0a:00:00:32", "02:42:0a:00:00:20", "02:42:0a:00:00:3c"
ALL_NODES, ALL_ROUTERS, REPORTS, MDNS = "ff02::1", "ff02::2", "ff02::16", "ff02::fb"
PORT, PEER_PORT = ("redis-cache", "veth-redis"), ("product3", "veth-prod3")
ON_THE_WAY_SECONDS, COPY_SECONDS = 1.0, 0.05  # a copy of a dropped packet may precede the packet
_ETH_P_IPV6 = 0x86DD

PING = ICMPv6EchoRequest(data=b"what the peer must see ...")


def ip(destination: str = PEER, source: str = OWN, hop_limit: int = 255) -> Packet:
    """Address a packet, and the frame: a group's MAC is 33:33 and the last four bytes of the group (RFC 2464)."""
    group = socket.inet_pton(socket.AF_INET6, destination)
    mac = "33:33:" + group[12:].hex(":") if group[0] == 0xFF else PEER_MAC
    return Ether(src=OWN_MAC, dst=mac) / IPv6(src=source, dst=destination, hlim=hop_limit)


def claim(target: str = OWN, mac: str = OWN_MAC) -> Packet:
    return ICMPv6ND_NA(tgt=target, R=0) / ICMPv6NDOptDstLLAddr(lladdr=mac)


def ask(mac: str = OWN_MAC) -> Packet:
    return ICMPv6ND_NS(tgt=PEER) / ICMPv6NDOptSrcLLAddr(lladdr=mac)


def fragments(destination: str, protocol: int, payload: bytes, at: int = 16) -> list[Packet]:
    """Divide a payload in two."""
    first, second = (
        IPv6ExtHdrFragment(nh=protocol, id=at, offset=offset, m=more)
        for offset, more in ((0, 1), (at // 8, 0))
    )
    return [ip(destination) / first / payload[:at], ip(destination) / second / payload[at:]]


def about(inner: Packet) -> Packet:
    """Quote a packet that an error is about."""
    return IPv6(src=PEER, dst=OWN) / inner


def payload_of(packet: Packet) -> bytes:
    """Return what follows the IPv6 header, with its checksum."""
    return bytes(packet)[54:]


OPTIONS = payload_of(ip() / IPv6ExtHdrDestOpt() / PING)
KINDS: dict[str, Packet | list[Packet]] = {
    "ping": ip() / PING,
    "ping-in-fragments": fragments(PEER, 58, payload_of(ip() / PING)),
    "claim": ip(ALL_NODES) / claim(),
    "claim-without-mac": ip() / ICMPv6ND_NA(tgt=OWN, R=0),
    "ask": ip("ff02::1:ff00:32") / ask(),
    "address-of-another": ip(source=THIRD) / PING,
    "address-mapped": ip(source="::ffff:10.0.0.50") / PING,
    "address-compatible": ip(source="::10.0.0.50") / PING,
    "address-link-local": ip(source="fe80::50") / PING,
    "address-none": ip("ff02::1:ff00:99", "::") / ICMPv6ND_NS(tgt="fd00:cafe::99"),
    "mac-of-another": Ether(src=THIRD_MAC, dst=PEER_MAC) / IPv6(src=OWN, dst=PEER) / PING,
    "claim-of-another": ip(ALL_NODES) / claim(THIRD),
    "claim-of-the-host": ip() / claim("fd00:cafe::1"),
    "claim-without-mac-of-another": ip() / ICMPv6ND_NA(tgt=THIRD, R=0),
    "claim-with-mac-of-another": ip(ALL_NODES) / claim(mac=THIRD_MAC),
    "claim-with-two-macs": ip(ALL_NODES) / claim() / ICMPv6NDOptDstLLAddr(lladdr=THIRD_MAC),
    "claim-in-fragments": fragments(ALL_NODES, 58, payload_of(ip(ALL_NODES) / claim(THIRD))),
    "claim-forwarded": ip(ALL_NODES, hop_limit=254) / claim(),
    "ask-with-mac-of-another": ip() / ask(THIRD_MAC),
    "ask-without-mac": ip() / ICMPv6ND_NS(tgt=PEER),
    "ask-forwarded": ip(hop_limit=254) / ask(),
    "router-advertisement": ip(ALL_NODES) / ICMPv6ND_RA() / ICMPv6NDOptSrcLLAddr(lladdr=OWN_MAC),
    "router-solicitation": ip(ALL_ROUTERS) / ICMPv6ND_RS(),
    "redirect": ip() / ICMPv6ND_Redirect(tgt=OWN, dst="2001:db8::1"),
    "node-information": ip() / ICMPv6NIQueryName(),
    "group-report": ip(REPORTS, hop_limit=1) / IPv6ExtHdrHopByHop(options=RouterAlert()) / ICMPv6MLReport2(),
    "group-report-without-address": ip(REPORTS, "::")
    / IPv6ExtHdrHopByHop(options=RouterAlert())
    / ICMPv6MLReport2(),
    "hop-by-hop": ip() / IPv6ExtHdrHopByHop() / PING,
    "routing": ip() / IPv6ExtHdrRouting(addresses=[THIRD], segleft=1) / PING,
    "destination-options": ip() / IPv6ExtHdrDestOpt() / PING,
    "destination-options-in-fragments": fragments(PEER, 60, OPTIONS),
    "destination-options-alone": fragments(PEER, 60, OPTIONS, at=8)[
        :1
    ],  # too short a fragment to be reassembled
    "multicast": ip(MDNS) / UDP(sport=5353, dport=5353) / Raw(b"what every node would see"),
    "ping-to-all": ip(ALL_NODES) / PING,
    "too-big-unasked": ip() / ICMPv6PacketTooBig(mtu=1280) / about(UDP(sport=1, dport=2)),
    "unreachable-unasked": ip() / ICMPv6DestUnreach() / about(UDP(sport=1, dport=2)),
}


def tap(place: tuple[str, str]) -> socket.socket:
    """Open a socket for the frames of a node's interface."""
    namespace, interface = place
    with inside(namespace):
        made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_IPV6))
        made.bind((interface, _ETH_P_IPV6))
    return made


def verdict(frames: list[bytes], taps: tuple[socket.socket, socket.socket], log: DropLog) -> str:
    """Send frames, and wait for the end of the last one at the peer, or for the id that drops it."""
    port, peer = taps
    for frame in frames:
        port.send(frame)
    found, tail, end = "lost", frames[-1][-16:], time.monotonic() + ON_THE_WAY_SECONDS
    while (left := end - time.monotonic()) > 0:
        ready = select.select([peer, log.socket], [], [], left)[0]
        if peer in ready and peer.recv(2048).endswith(tail):
            return "arrives"
        for logged in log.read() if log.socket in ready else ():
            if logged.payload.endswith(tail):
                found, end = logged.prefix.removeprefix(LOG_PREFIX).strip(), time.monotonic() + COPY_SECONDS
    return found


def main(kinds: list[str]) -> None:
    """Print the verdict on each kind."""
    log = DropLog(PROOF_GROUP)
    with tap(PORT) as port, tap(PEER_PORT) as peer:
        for kind in kinds or KINDS:
            wanted = KINDS[kind]
            frames = [bytes(frame) for frame in (wanted if isinstance(wanted, list) else [wanted])]
            print(verdict(frames, (port, peer), log), kind)


if __name__ == "__main__":
    main(sys.argv[1:])
