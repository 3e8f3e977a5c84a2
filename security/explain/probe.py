"""Send one probe and watch for it: in both namespaces, on every interface of the host, in the log of drops."""

from __future__ import annotations

import random
import select
import socket
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Any

from lab.namespace import inside
from security.explain.kernel_trace import TracedRule, kernel_trace
from security.explain.lab_state import Lab
from security.policy.drops import LOG_PREFIX, PROOF_GROUP
from security.policy.model import HOST, WORLD, Flow
from security.proof import packets
from security.proof.family import IPV4
from security.proof.nflog import DropLog, GroupTakenError
from security.proof.recognise import recognise

_ETH_P_ALL = 3
_DELIVERED = "delivered"  # the host accepted the packet: a raw socket gets a copy after INPUT (raw(7))
_TIMEOUT_SECONDS = 0.35
_SETTLE_SECONDS = 0.03
_PROBE = "probe"
_ICMP_BYTES = 8  # size of the ICMP header
_ERROR, _HOST_UNREACHABLE, _RST = 3, 1, 0x04
_ARP_REQUEST, _ARP_REPLY, _ARP_BYTES = 1, 2, 28
_PACKET_OTHERHOST = 3  # linux/if_packet.h: the frame is for another MAC
# Ephemeral ports of programs begin here (ip_local_port_range); the probe uses a lower one.
_FIRST_EPHEMERAL = 32768 - packets.FIRST_PORT
_LOCAL_PROTOCOLS = (IPV4.icmp, packets.TCP, packets.UDP)


@dataclass
class Observation:
    """Observations of a probe and of its reply."""

    seen_at: set[str] = field(default_factory=set)
    arrived: bool = False
    untranslated: bool = False  # the packet arrived in the world with a node's address
    other_mac: str = ""  # destination MAC of a received frame, if not the interface's
    reply: str = ""  # received by the sender: accepted, refused, unreachable or unresolved
    replied: bool = False  # a reply was seen somewhere
    arp_requests: set[str] = field(default_factory=set)  # addresses that the sender requested
    arp_replies: set[str] = field(default_factory=set)  # addresses that replied
    dropped_by: str = ""  # id of the policy line that dropped the packet
    send_error: str = ""
    rules: list[TracedRule] = field(default_factory=list)

    @property
    def is_settled(self) -> bool:
        """Return whether the result is final."""
        return bool(self.reply or self.dropped_by or self.send_error)


def send_probe(lab: Lab, flow: Flow) -> Observation:
    """Send one probe and return its observed result. Raises OSError without root."""
    turn = random.randrange(packets.MAX_PROBES // packets.SOURCE_PORTS)  # noqa: S311 - a mark, no secret
    number = turn * packets.SOURCE_PORTS + random.randrange(1, _FIRST_EPHEMERAL)  # noqa: S311
    with ExitStack() as stack:
        traced = kernel_trace(packets.identification(number), packets.source_port(number))
        read_rules = stack.enter_context(traced)
        watch = _Watch(lab, flow, number, stack)
        watch.send()
        deadline = time.monotonic() + _TIMEOUT_SECONDS
        while time.monotonic() < deadline and not watch.seen.is_settled:
            watch.read()
        time.sleep(_SETTLE_SECONDS)
        watch.read()
        watch.seen.rules = read_rules()
    if flow.source != WORLD and not watch.seen.seen_at and not watch.seen.arp_requests:
        watch.seen.arp_requests |= _pending_arp_requests(lab, flow)
    return watch.seen


class _Watch:
    """The sockets that receive the probe, and the received packets."""

    def __init__(self, lab: Lab, flow: Flow, number: int, stack: ExitStack) -> None:
        self.seen = Observation()
        self._lab, self._flow, self._number, self._stack = lab, flow, number, stack
        self._own, self._to = lab.address(*flow.ends), lab.address(flow.destination, flow.source)
        self.source_namespace = _namespace_of(lab, flow.source)
        self._targets = _possible_targets(lab, flow)
        self._sockets: dict[socket.socket, str] = {}
        for name in dict.fromkeys((self.source_namespace, *self._targets, None)):
            with inside(name):
                tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
            self._add(tap, name or HOST)
        for protocol in _LOCAL_PROTOCOLS:
            self._add(socket.socket(socket.AF_INET, socket.SOCK_RAW, protocol), _DELIVERED)
        self._log: DropLog | None = None
        with suppress(GroupTakenError):
            self._log = DropLog(PROOF_GROUP)
            stack.callback(self._log.close)

    def _add(self, made: socket.socket, place: str) -> None:
        self._stack.enter_context(made).setblocking(False)
        self._sockets[made] = place

    def send(self) -> None:
        """Send the probe from the source's namespace."""
        packet = packets.packet(self._flow.protocol, self._own, self._to, self._flow.port)(self._number)
        with inside(self.source_namespace):
            sender = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        with sender:
            with suppress(OSError):  # the address may be missing
                sender.bind((self._own, 0))
            try:
                sender.sendto(packet, (self._to, 0))
            except OSError as error:
                self.seen.send_error = error.strerror or str(error)

    def read(self) -> None:
        """Read the packets from every socket and from the log."""
        waiting: list[socket.socket] = [*self._sockets, *([self._log.socket] if self._log else [])]
        select.select(waiting, [], [], 0.01)
        for watcher, place in self._sockets.items():
            self._read_socket(watcher, place)
        for logged in self._log.read() if self._log else ():
            if logged.ethertype == IPV4.ethertype and identify(logged.payload, self._number) == _PROBE:
                self.seen.dropped_by = logged.prefix.removeprefix(LOG_PREFIX).strip()

    def _read_socket(self, watcher: socket.socket, place: str) -> None:
        while True:
            try:
                data, address = watcher.recvfrom(2048)
            except BlockingIOError:
                return
            if watcher.family == socket.AF_PACKET:
                self._note_frame(data, place, address)
            else:
                self._note_packet(data, place, "", is_outgoing=False)

    def _note_frame(self, data: bytes, place: str, address: Sequence[Any]) -> None:
        interface, kind = str(address[0]), address[2]
        ethertype, payload = int.from_bytes(data[12:14], "big"), data[14:]
        if ethertype == packets.ARP:
            if place == (self.source_namespace or HOST) and len(payload) >= _ARP_BYTES:
                self._note_arp(payload)
        elif ethertype != IPV4.ethertype:
            return
        elif kind == _PACKET_OTHERHOST and place != HOST:
            if place in self._targets and identify(payload, self._number) == _PROBE:
                self.seen.other_mac = data[:6].hex(":")
        else:
            self._note_packet(payload, place, interface, is_outgoing=kind == socket.PACKET_OUTGOING)

    def _note_arp(self, payload: bytes) -> None:
        operation, sender, target = payload[7], payload[14:18], payload[24:28]
        if operation == _ARP_REQUEST:
            self.seen.arp_requests.add(socket.inet_ntoa(target))
        elif operation == _ARP_REPLY:
            self.seen.arp_replies.add(socket.inet_ntoa(sender))

    def _note_packet(self, data: bytes, place: str, interface: str, *, is_outgoing: bool) -> None:
        found = identify(data, self._number)
        if found == _PROBE and place == _DELIVERED:
            self.seen.arrived |= None in self._targets
        elif found == _PROBE:
            self.seen.seen_at |= {interface, HOST if place == HOST else f"namespace {place}"}
            if place == self._lab.outside.namespace:
                self.seen.seen_at.add(WORLD)
            if place in self._targets and not is_outgoing:
                self._note_arrival(data)
        elif found:
            self.seen.replied |= found in ("accepted", "refused")
            if not is_outgoing and place == (self.source_namespace or _DELIVERED):
                self.seen.reply = found

    def _note_arrival(self, data: bytes) -> None:
        self.seen.arrived = True
        has_own_address = socket.inet_ntoa(data[12:16]) == self._own
        if self._flow.destination == WORLD and self._lab.topology.node(self._flow.source):
            self.seen.untranslated |= has_own_address


def _namespace_of(lab: Lab, name: str) -> str | None:
    node = lab.topology.node(name)
    return node.namespace if node else lab.outside.namespace if name == WORLD else None


def _possible_targets(lab: Lab, flow: Flow) -> set[str | None]:
    """Return the namespaces where the probe may arrive: a published port of the host leads to a node."""
    if flow.destination != HOST:
        return {_namespace_of(lab, flow.destination)}
    nodes = [node for node in lab.publishers(flow) if lab.place(node).exists]
    return {node.namespace for node in nodes} or {None}


def _pending_arp_requests(lab: Lab, flow: Flow) -> set[str]:
    """Find ARP requests from before the probe that had no reply: neighbours without a MAC."""
    node, to = lab.topology.node(flow.source), lab.address(flow.destination, flow.source)
    place = lab.place(node) if node else lab.host
    hops = {(place.route(to) or {}).get("gateway", to)}
    if flow.destination == HOST:  # the host may forward the packet to a node
        hops |= {str(node.address.ip) for node in lab.topology.nodes}
    return hops & {entry["dst"] for entry in place.neighbours if "lladdr" not in entry}


def identify(data: bytes, number: int) -> str:
    """Classify an IPv4 packet: the probe itself, a kind of reply to the probe, or unrelated (empty).

    ICMP type 3 code 1 is "unresolved": ARP found no neighbour (RFC 1812, 4.3.3.1). The host whose ARP request failed
    sends it, also to itself.
    """
    begin = (data[0] & 15) * 4 if data else 0
    if len(data) < begin + _ICMP_BYTES:
        return ""
    if data[9] == IPV4.icmp and data[begin] == _ERROR:
        quoted = recognise(data[begin + 8 :]) if len(data) >= begin + 28 else None
        if not quoted or quoted.number != number:
            return ""
        return "unresolved" if data[begin + 1] == _HOST_UNREACHABLE else "unreachable"
    seen = recognise(data)
    if not seen or seen.number != number:
        return ""
    if not seen.answer:
        return _PROBE
    return "refused" if data[9] == packets.TCP and data[begin + 13] & _RST else "accepted"
