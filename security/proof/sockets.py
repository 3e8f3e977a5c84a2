"""The sockets of a proof in every namespace: senders of packets and frames, and watchers that receive them."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterable
from contextlib import ExitStack

from lab.namespace import inside
from lab.topology import Topology
from security.policy.drops import PROOF_GROUP
from security.policy.frames import wires
from security.policy.model import HOST, WORLD
from security.proof import packets
from security.proof.family import Family, families_of, family_of
from security.proof.nflog import DropLog, enlarge_buffer
from security.proof.probe import Outside

HOST_BY_FRAME = "host, by frame"
FOREIGN = "foreign"  # a namespace that is neither the lab's nor the proof's

_ETH_P_ALL = 3
_LOCAL_PROTOCOLS = (packets.TCP, packets.UDP, packets.IN_IPV4, *packets.OTHER_PROTOCOLS)


class ProofSockets:
    """Opens all sockets; `stack` closes them. Raises OSError without root."""

    def __init__(self, topology: Topology, outside: Outside, stack: ExitStack, foreign: str = "") -> None:
        self._stack = stack
        self._families = families_of(topology)
        self._packet_senders: dict[tuple[str, Family], socket.socket] = {}
        self.frame_senders: dict[str, socket.socket] = {}
        self.watchers: dict[int, tuple[socket.socket, frozenset[str]]] = {}
        self.poll = select.epoll()
        stack.callback(self.poll.close)
        self.drop_log = DropLog(PROOF_GROUP)
        stack.callback(self.drop_log.close)
        self.poll.register(self.drop_log.socket, select.EPOLLIN)
        self._open_wires(topology)
        self._open_outside(outside, foreign)
        self._open_host(topology)

    def send(self, source: str, to: str, packet: bytes) -> None:
        """Send a packet to an address, or a whole frame if `to` is empty."""
        if to:
            self._packet_senders[source, family_of(to)].sendto(packet, (to, 0))
        else:
            self.frame_senders[source].send(packet)

    def _open_wires(self, topology: Topology) -> None:
        for nodes in wires(topology).values():
            names = [node.name for node in nodes]
            with inside(nodes[0].namespace):
                self._open_senders(names)
                tap = self._tap(nodes[0].interface)
            self._watch(tap, names)
            self.frame_senders |= dict.fromkeys(names, tap)

    def _open_outside(self, outside: Outside, foreign: str) -> None:
        with inside(outside.namespace):
            self._open_senders([WORLD])
            self._watch(self._tap(outside.interface), [WORLD])
        if foreign:
            with inside(foreign):
                self._watch(self._tap(outside.interface), [FOREIGN])

    def _open_host(self, topology: Topology) -> None:
        self._open_senders([HOST])
        for family in self._families:
            for protocol in (family.icmp, *_LOCAL_PROTOCOLS):
                # A raw socket gets a copy of each packet that is delivered, after INPUT (raw(7)).
                opened = socket.socket(family.sockets, socket.SOCK_RAW, protocol)
                self._watch(self._register(opened), [HOST])
        for bridge in topology.bridges:
            self.frame_senders[bridge.name] = self._tap(bridge.name)
            self._watch(self.frame_senders[bridge.name], [HOST_BY_FRAME])

    def _register(self, opened: socket.socket) -> socket.socket:
        self._stack.callback(opened.close)
        enlarge_buffer(opened)
        return opened

    def _open_senders(self, names: Iterable[str]) -> None:
        """Open a socket of each family that sends packets with the IP header that they have."""
        for family in self._families:
            sender = self._register(socket.socket(family.sockets, socket.SOCK_RAW, socket.IPPROTO_RAW))
            sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            self._packet_senders |= {(name, family): sender for name in names}

    def _tap(self, interface: str) -> socket.socket:
        tap = self._register(socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL)))
        tap.bind((interface, _ETH_P_ALL))
        return tap

    def _watch(self, watcher: socket.socket, names: Iterable[str]) -> None:
        watcher.setblocking(False)
        self.watchers[watcher.fileno()] = watcher, frozenset(names)
        self.poll.register(watcher, select.EPOLLIN)
