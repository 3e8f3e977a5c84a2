"""Sends one probe and watches for it: in both namespaces, on every interface of the host, in the log."""

from __future__ import annotations

import json
import random
import select
import socket
import subprocess
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.topology import Topology
from security.explain.kernel_trace import Met, Trace
from security.explain.result import Flow
from security.explain.snapshot import exists
from security.policy.compiler import LOG_PREFIX, PROOF_GROUP
from security.policy.model import HOST, WORLD
from security.proof import builders, packets
from security.proof.namespace import inside
from security.proof.nflog import DropLog, GroupTakenError
from security.proof.probe import Outside

_ETH_P_ALL = 3
DELIVERED = "delivered"  # to the host itself, past its rules
_PATIENCE_SECONDS = 0.35
_SETTLED_SECONDS = 0.03
_ERROR, _HOST_UNREACHABLE, _RST = 3, 1, 0x04
_ARP_REQUEST, _ARP_REPLY, _ARP_BYTES = 1, 2, 28
_PACKET_OTHERHOST = 3  # linux/if_packet.h: its MAC is not the interface's
_FIRST_EPHEMERAL = (
    32768 - packets.FIRST_PORT
)  # the kernel gives no program a port below (ip_local_port_range)
_LOCAL_PROTOCOLS = (packets.ICMP, packets.TCP, packets.UDP)


@dataclass
class Observation:
    """What was seen of the probe: where, whether it arrived, what answered the sender, who dropped it."""

    seen_at: set[str] = field(default_factory=set)
    arrived: bool = False
    untranslated: bool = False  # it came to the world with the address of a node
    for_another: str = ""  # the MAC of a frame that came to the right wire, and was for nobody there
    answer: str = ""  # that came to the sender: accepted, refused, unreachable or unresolved
    answered: bool = False  # an answer was seen somewhere
    asked: set[str] = field(default_factory=set)  # addresses that the sender asked for by ARP
    told: set[str] = field(default_factory=set)  # those that somebody answered for
    dropped_by: str = ""
    not_sent: str = ""
    met: list[Met] = field(default_factory=list)

    @property
    def settled(self) -> bool:
        """Tell whether nothing more will come."""
        return bool(self.answer or self.dropped_by or self.not_sent)


class Experiment:
    """One probe, from one place to another."""

    def __init__(self, topology: Topology, outside: Outside, flow: Flow, own: str, to: str) -> None:
        self._topology, self._outside, self._flow, self._own, self._to = topology, outside, flow, own, to
        turns = random.randrange(packets.MOST // packets.SOURCE_PORTS)  # noqa: S311 - to be told apart alone
        place = random.randrange(1, _FIRST_EPHEMERAL)  # noqa: S311
        self._number = turns * packets.SOURCE_PORTS + place
        self._sockets: list[tuple[socket.socket, str]] = []
        self._observation = Observation()

    def run(self) -> Observation:
        """Do it. Raises OSError without root."""
        with ExitStack() as stack, self._trace() as trace:
            sender, log = self._open(stack)
            deadline = time.monotonic() + _PATIENCE_SECONDS
            self._send(sender)
            while time.monotonic() < deadline and not self._observation.settled:
                self._look(log)
            time.sleep(_SETTLED_SECONDS)
            self._look(log)
            self._observation.met = trace.read()
        if not self._observation.seen_at and not self._observation.asked:
            self._observation.asked |= self._asked_before()
        return self._observation

    def _asked_before(self) -> set[str]:
        """Find for whom the sender asks since before the probe, which waits for the answer (proc_net(5), arp)."""
        with inside(self._namespace(self._flow.source)):
            lines = Path("/proc/thread-self/net/arp").read_text(encoding="ascii").splitlines()[1:]
            route = subprocess.run(
                ["ip", "-j", "route", "get", self._to], capture_output=True, check=False
            ).stdout
        unresolved = {words[0] for words in map(str.split, lines) if int(words[2], 16) == 0}
        hops = {hop.get("gateway", self._to) for hop in json.loads(route or "[]")}
        if self._flow.destination == HOST:  # which may send it on to a node
            hops |= {str(node.address.ip) for node in self._topology.nodes}
        return unresolved & hops

    def _trace(self) -> Trace:
        return Trace(packets.identification(self._number), packets.source_port(self._number))

    def _namespace(self, name: str) -> str | None:
        node = self._topology.node(name)
        return node.namespace if node else self._outside.namespace if name == WORLD else None

    def _targets(self) -> set[str | None]:
        """Give the namespaces where it may arrive: a published port of the host leads to a node."""
        if self._flow.destination != HOST:
            return {self._namespace(self._flow.destination)}
        flow = (self._flow.port, self._flow.protocol)
        published = {
            node.namespace
            for node in self._topology.nodes
            if any((item.host_port, item.protocol) == flow for item in node.publishes)
        }
        return {name for name in published if exists(name)} or {None}

    def _open(self, stack: ExitStack) -> tuple[socket.socket, DropLog | None]:
        for name in dict.fromkeys((self._namespace(self._flow.source), *self._targets(), None)):
            with inside(name):
                self._keep(
                    stack,
                    socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL)),
                    name or HOST,
                )
        for protocol in _LOCAL_PROTOCOLS:
            self._keep(stack, socket.socket(socket.AF_INET, socket.SOCK_RAW, protocol), DELIVERED)
        with inside(self._namespace(self._flow.source)):
            sender = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW))
            with suppress(OSError):  # an address that is not there any more
                sender.bind((self._own, 0))
        try:
            log = DropLog(PROOF_GROUP)
        except GroupTakenError:
            return sender, None
        stack.callback(log.close)
        return sender, log

    def _keep(self, stack: ExitStack, made: socket.socket, place: str) -> None:
        stack.enter_context(made).setblocking(False)
        self._sockets.append((made, place))

    def _send(self, sender: socket.socket) -> None:
        packet = builders.packet(self._flow.protocol, self._own, self._to, self._flow.port)(self._number)[0]
        try:
            sender.sendto(packet, (self._to, 0))
        except OSError as error:
            self._observation.not_sent = error.strerror or str(error)

    def _look(self, log: DropLog | None) -> None:
        waiting: list[socket.socket] = [each for each, _ in self._sockets]
        if log:
            waiting.append(log.socket)
        select.select(waiting, [], [], 0.01)
        for watcher, place in self._sockets:
            self._read(watcher, place)
        for logged in log.read() if log else ():
            seen = packets.recognise(logged.payload, logged.ethertype)
            if seen and seen.number == self._number and not seen.answer:
                self._observation.dropped_by = logged.prefix.removeprefix(LOG_PREFIX).strip()

    def _read(self, watcher: socket.socket, place: str) -> None:
        while True:
            try:
                data, address = watcher.recvfrom(2048)
            except BlockingIOError:
                return
            if watcher.family == socket.AF_PACKET:
                self._frame(data, place, address)
            else:
                self._note(data, place, "", outgoing=False)

    def _frame(self, data: bytes, place: str, address: Sequence[Any]) -> None:
        """Look at a frame; one that came to a node with another's MAC is taken by nobody."""
        kind, payload, outgoing = (
            int.from_bytes(data[12:14], "big"),
            data[14:],
            address[2] == socket.PACKET_OUTGOING,
        )
        if kind == packets.ARP and place == self._sender_place() and len(payload) >= _ARP_BYTES:
            self._arp(payload)
        elif kind == packets.IPV4 and address[2] == _PACKET_OTHERHOST and place != HOST:
            seen = packets.recognise(payload)
            if seen and seen.number == self._number and place in self._targets():
                self._observation.for_another = data[:6].hex(":")
        elif kind == packets.IPV4:
            self._note(payload, place, str(address[0]), outgoing=outgoing)

    def _sender_place(self) -> str:
        return self._namespace(self._flow.source) or HOST

    def _arp(self, payload: bytes) -> None:
        operation, sender, target = payload[7], payload[14:18], payload[24:28]
        if operation == _ARP_REQUEST:
            self._observation.asked.add(socket.inet_ntoa(target))
        elif operation == _ARP_REPLY:
            self._observation.told.add(socket.inet_ntoa(sender))

    def _note(self, data: bytes, place: str, interface: str, *, outgoing: bool) -> None:
        answer = answer_in(data, self._number)
        seen = packets.recognise(data)
        if answer:
            self._observation.answered |= answer in ("accepted", "refused")
            if not outgoing and self._is_senders(place):
                self._observation.answer = answer
        elif seen and seen.number == self._number and not seen.answer:
            self._place(place, interface, data, outgoing=outgoing)

    def _is_senders(self, place: str) -> bool:
        """Tell whether what is seen there came to the sender: on its interface, or taken by the host itself."""
        return place == (self._namespace(self._flow.source) or DELIVERED)

    def _place(self, place: str, interface: str, data: bytes, *, outgoing: bool) -> None:
        """Note where the probe was, and whether that is where it was to go."""
        if place == DELIVERED:
            self._observation.arrived |= None in self._targets()
            return
        self._observation.seen_at |= {interface, place if place in (HOST,) else f"namespace {place}"}
        if place == self._outside.namespace:
            self._observation.seen_at.add(WORLD)
        if place in self._targets() and not outgoing:
            self._observation.arrived = True
            node_sent = self._topology.node(self._flow.source) is not None
            is_own = socket.inet_ntoa(data[12:16]) == self._own
            self._observation.untranslated |= self._flow.destination == WORLD and node_sent and is_own


def answer_in(data: bytes, number: int) -> str:
    """Tell what a packet answers to a probe; empty when it does not.

    A host that nobody answers for (ARP found no neighbour) is "unresolved": the kernel that looked for
    it sends ICMP type 3 code 1 (RFC 1812, 4.3.3.1), to itself, too.
    """
    seen = packets.recognise(data)
    begin = (data[0] & 15) * 4
    if data[9] == packets.ICMP and data[begin] == _ERROR:
        quoted = packets.recognise(data[begin + 8 :]) if len(data) >= begin + 28 else None
        if not quoted or quoted.number != number:
            return ""
        return "unresolved" if data[begin + 1] == _HOST_UNREACHABLE else "unreachable"
    if not seen or seen.number != number or not seen.answer:
        return ""
    return "refused" if data[9] == packets.TCP and data[begin + 13] & _RST else "accepted"
