"""What root in one namespace can send by itself: run it there, on an interface. For tests/bats/attacks.bats.

python -m tests.lab.frames claim INTERFACE MAC               link-local frames from MAC
python -m tests.lab.frames keep-claiming INTERFACE MAC       the same again and again, until standard input ends
python -m tests.lab.frames hear INTERFACE ADDRESS            packets to ADDRESS that come by until standard input ends
python -m tests.lab.frames datagram INTERFACE ADDRESS PORT   a datagram to the host in a link-local frame
python -m tests.lab.frames neighbours INTERFACE ADDRESS      ARP requests of 300 invented neighbours, likewise
python -m tests.lab.frames query INTERFACE                   an IGMP query, as a multicast router sends it
python -m tests.lab.frames flood ADDRESS PORT COUNT          datagrams from COUNT ports
"""

from __future__ import annotations

import math
import select
import socket
import struct
import sys
import time
from collections.abc import Callable
from ipaddress import IPv4Address

from security.proof import packets
from security.proof.family import IPV4

INVENTED = IPv4Address("192.0.2.1")  # TEST-NET-1, RFC 5737
IGMP, QUERY, ALL_SYSTEMS = 2, 0x11, "224.0.0.1"
ON_THE_WAY_SECONDS = 0.3
AGAIN_SECONDS = 0.01
_ETH_P_ALL = 3


def tap(interface: str) -> socket.socket:
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
    made.bind((interface, _ETH_P_ALL))
    return made


def mac_of(wire: socket.socket) -> str:
    return bytes(wire.getsockname()[4]).hex(":")


def own_address() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect((str(INVENTED), 9))
        return str(sender.getsockname()[0])


def claim(interface: str, mac: str) -> None:
    with tap(interface) as wire:
        for group in packets.LINK_LOCAL:
            wire.send(packets.frame(mac, group, packets.EXPERIMENTAL, b"claim"))


def keep_claiming(interface: str, mac: str) -> None:
    claim(interface, mac)
    print("claiming", flush=True)
    while not select.select([sys.stdin], [], [], AGAIN_SECONDS)[0]:
        claim(interface, mac)


def hear(interface: str, address: str) -> None:
    wanted, heard, end = IPv4Address(address).packed, 0, math.inf
    with tap(interface) as wire:
        print("listening", flush=True)
        while (left := end - time.monotonic()) > 0:
            watched = [wire, sys.stdin] if math.isinf(end) else [wire]
            ready = select.select(watched, [], [], None if math.isinf(end) else left)[0]
            if wire in ready:
                data, where = wire.recvfrom(2048)
                is_ipv4 = data[12:14] == IPV4.ethertype.to_bytes(2, "big")
                heard += where[2] != socket.PACKET_OUTGOING and is_ipv4 and data[30:34] == wanted
            if sys.stdin in ready:
                end = time.monotonic() + ON_THE_WAY_SECONDS
    print(heard)


def datagram(interface: str, address: str, port: str) -> None:
    packet = packets.udp(str(INVENTED), address, int(port), 1)
    with tap(interface) as wire:
        wire.send(packets.frame(mac_of(wire), packets.LINK_LOCAL[-1], IPV4.ethertype, packet))


def neighbours(interface: str, address: str) -> None:
    with tap(interface) as wire:
        mac = mac_of(wire)
        for number in range(300):
            reply = packets.arp_reply(mac, str(INVENTED + number), address, number)
            request = reply[:7] + b"\x01" + reply[8:]
            wire.send(packets.frame(mac, packets.LINK_LOCAL[-1], packets.ARP, request))


def query(interface: str) -> None:
    message = struct.pack("!BBH4s", QUERY, 100, 0, bytes(4))
    message = message[:2] + struct.pack("!H", packets.checksum(message)) + message[4:]
    packet = packets.ip(own_address(), ALL_SYSTEMS, IGMP, message, 1)
    with tap(interface) as wire:
        wire.send(packets.frame(mac_of(wire), "01:00:5e:00:00:01", IPV4.ethertype, packet))


def flood(address: str, port: str, count: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as sender:
        own = own_address()
        for number in range(int(count)):
            sender.sendto(packets.udp(own, address, int(port), number), (address, 0))


COMMANDS: dict[str, Callable[..., None]] = {
    "claim": claim,
    "keep-claiming": keep_claiming,
    "hear": hear,
    "datagram": datagram,
    "neighbours": neighbours,
    "query": query,
    "flood": flood,
}

if __name__ == "__main__":
    COMMANDS[sys.argv[1]](*sys.argv[2:])
