"""Tries probes for real: sends each from its source, and watches every namespace and the drop log for it."""

from __future__ import annotations

import select
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress

from lab.topology import Node, Topology
from security.policy.compiler import LOG_PREFIX, PROOF_GROUP, wires
from security.policy.model import HOST, WORLD
from security.proof import packets
from security.proof.namespace import inside
from security.proof.nflog import DropLog
from security.proof.outcome import Outcome
from security.proof.probe import OTHER_PROTOCOLS, Outside, Probe

_ETH_P_ALL = 3
_SO_RCVBUFFORCE = 33
_BUFFER_BYTES = 1 << 23
_AT_ONCE = 128  # packets between two looks at what arrived
_PATIENCE_SECONDS = 0.4  # after the last packet, before what is silent is tried again
_LONG_PATIENCE_SECONDS = 1.2
_MOST_PAIRS = 400  # each may take two of the 1024 entries that the kernel keeps
_FLUSHERS = 4
_SETTLING_SECONDS = 0.01  # for packets that open a connection to be on their way
_HOST_BY_FRAME = frozenset({"host, by frame"})
_LOCAL_PROTOCOLS = (packets.ICMP, packets.TCP, packets.UDP, *OTHER_PROTOCOLS)


def _forget_neighbours(node: Node) -> None:
    command = ["ip", "-n", node.namespace, "neigh", "flush", "dev", node.interface]
    subprocess.run(command, check=False, capture_output=True)


class Prover:
    """Sockets in every namespace, opened once; use it as a context manager. Raises OSError without root."""

    def __init__(self, topology: Topology, outside: Outside, stranger: str = "") -> None:
        self._topology = topology
        self._outside = outside
        self._stranger = stranger  # a namespace that is neither the lab's nor the proof's
        self._stack = ExitStack()
        self._senders: dict[str, socket.socket] = {}
        self._framers: dict[str, socket.socket] = {}
        self._watchers: dict[int, tuple[socket.socket, frozenset[str]]] = {}
        self._poll = select.epoll()
        self._number = 0
        self._known: dict[int, Outcome] = {}
        self._open_numbers: set[int] = set()
        self._met: set[tuple[str, str]] = set()

    def __enter__(self) -> Prover:
        try:
            self._open()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def run(self, probes: Iterable[Probe], progress: Callable[[int], None] = lambda _: None) -> list[Outcome]:
        """Try all; who is silent, or over a rate that an earlier proof used up, is tried once more."""
        outcomes = [Outcome(probe) for probe in probes]
        self._try(outcomes, _PATIENCE_SECONDS, progress)
        again = [outcome for outcome in outcomes if not outcome.settled or outcome.over_its_rate]
        time.sleep(max((outcome.probe.refill_seconds for outcome in again), default=0))
        for outcome in again:
            outcome.arrived, outcome.answered, outcome.dropped_by, outcome.translated = False, False, "", ""
        self._try(again, _LONG_PATIENCE_SECONDS, lambda _: None)
        return outcomes

    def repeat(self, probe: Probe, count: int) -> list[Outcome]:
        """Send copies of one probe at once."""
        outcomes = [Outcome(probe) for _ in range(count)]
        self._try(outcomes, _PATIENCE_SECONDS, lambda _: None)
        return outcomes

    # --- sockets ---

    def _open(self) -> None:
        self._stack.callback(self._poll.close)
        self._log = DropLog(PROOF_GROUP)
        self._stack.callback(self._log.close)
        self._poll.register(self._log.socket, select.EPOLLIN)
        for nodes in wires(self._topology).values():
            self._open_wire(nodes)
        with inside(self._outside.namespace):
            self._senders[WORLD] = self._raw()
            self._watch(self._tap(self._outside.interface), {WORLD})
        if self._stranger:
            with inside(self._stranger):
                self._watch(self._tap(self._outside.interface), {"stranger"})
        self._senders[HOST] = self._raw()
        for protocol in _LOCAL_PROTOCOLS:  # a copy of what is delivered to the host, after INPUT (raw(7))
            self._watch(self._kept(socket.socket(socket.AF_INET, socket.SOCK_RAW, protocol)), {HOST})
        for bridge in self._topology.bridges:
            self._framers[bridge.name] = self._tap(bridge.name)
            self._watch(self._framers[bridge.name], _HOST_BY_FRAME)

    def _open_wire(self, nodes: Sequence[Node]) -> None:
        with inside(nodes[0].namespace):
            sender, tap = self._raw(), self._tap(nodes[0].interface)
        self._watch(tap, {node.name for node in nodes})
        for node in nodes:
            self._senders[node.name] = sender
            self._framers[node.name] = tap

    def _kept(self, made: socket.socket) -> socket.socket:
        self._stack.callback(made.close)
        made.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
        return made

    def _raw(self) -> socket.socket:
        made = self._kept(socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW))
        made.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        return made

    def _tap(self, interface: str) -> socket.socket:
        tap = self._kept(socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL)))
        tap.bind((interface, _ETH_P_ALL))
        return tap

    def _watch(self, watcher: socket.socket, names: Set[str]) -> None:
        watcher.setblocking(False)
        self._watchers[watcher.fileno()] = watcher, frozenset(names)
        self._poll.register(watcher, select.EPOLLIN)

    # --- sending and seeing ---

    def _try(self, outcomes: Sequence[Outcome], patience: float, progress: Callable[[int], None]) -> None:
        self._look(0)  # what is still on its way from before is nobody's
        self._known, self._open_numbers = {}, set()
        for at in range(0, len(outcomes), _AT_ONCE):
            batch = outcomes[at : at + _AT_ONCE]
            self._make_room(batch)
            self._open_connections(batch)
            for outcome in batch:
                self._send(outcome)
            self._look(0)
            progress(len(batch))
        deadline = time.monotonic() + patience
        while self._open_numbers and time.monotonic() < deadline:
            if self._look(0.02):
                deadline = time.monotonic() + patience
        self._look(0.02)

    def _make_room(self, batch: Sequence[Outcome]) -> None:
        """Forget neighbours before there are too many: one table is for all (arp(7), gc_thresh3)."""
        self._met |= {outcome.probe.flow[:2] for outcome in batch}
        if len(self._met) < _MOST_PAIRS:
            return
        while self._look(_SETTLING_SECONDS):
            pass
        names = {name for pair in self._met for name in pair}
        with ThreadPoolExecutor(_FLUSHERS) as pool:
            list(pool.map(_forget_neighbours, (node for node in self._topology.nodes if node.name in names)))
        self._met = {outcome.probe.flow[:2] for outcome in batch}

    def _open_connections(self, batch: Sequence[Outcome]) -> None:
        first = [(at, step) for at, outcome in enumerate(batch, start=1) if (step := outcome.probe.first)]
        for at, step in first:
            for packet in step.build(self._number + at):
                with suppress(OSError):  # a firewall tells its own host; the probe will tell the rest
                    self._transmit(step.source, step.to, packet)
        if first:
            time.sleep(_SETTLING_SECONDS)

    def _send(self, outcome: Outcome) -> None:
        probe = outcome.probe
        self._number += 1
        self._known[self._number] = outcome
        if not outcome.settled:
            self._open_numbers.add(self._number)
        for packet in probe.build(self._number):
            try:
                self._transmit(probe.by or probe.flow.source, probe.to, packet)
            except OSError:
                return  # no route, no neighbour: it is lost, and said to be

    def _transmit(self, source: str, to: str, packet: bytes) -> None:
        """Send a packet to an address, or a whole frame."""
        if to:
            self._senders[source].sendto(packet, (to, 0))
        else:
            self._framers[source].send(packet)

    def _look(self, seconds: float) -> bool:
        """Read whatever there is; tell whether there was something of ours."""
        found = False
        while ready := self._poll.poll(seconds):
            seconds = 0
            for descriptor, _ in ready:
                if descriptor == self._log.socket.fileno():
                    found |= self._read_log()
                else:
                    found |= self._read_watcher(*self._watchers[descriptor])
        return found

    def _read_log(self) -> bool:
        found = False
        for logged in self._log.read():
            number, outcome, answer = self._recognised(logged.payload, logged.ethertype)
            if outcome and not (answer and outcome.probe.awaits_answer):
                outcome.dropped_by = logged.prefix.removeprefix(LOG_PREFIX).strip()
                found = True
                self._settle(number, outcome)
        return found

    def _recognised(self, data: bytes, kind: int) -> tuple[int, Outcome | None, bool]:
        seen = packets.recognise(data, kind)
        return (seen.number, self._known.get(seen.number), seen.answer) if seen else (0, None, False)

    def _read_watcher(self, watcher: socket.socket, names: frozenset[str]) -> bool:
        found = False
        while True:
            try:
                data, address = watcher.recvfrom(2048)
            except BlockingIOError:
                return found
            kind = packets.IPV4
            if watcher.family == socket.AF_PACKET:
                if address[2] == socket.PACKET_OUTGOING:
                    continue
                kind, data = int.from_bytes(data[12:14], "big"), data[14:]
                if address[2] == socket.PACKET_OTHERHOST:
                    self._note_stray(data, kind, names)
                    continue
            found |= self._note(data, kind, names)

    def _note_stray(self, data: bytes, kind: int, names: frozenset[str]) -> None:
        """Remember who got a frame that is for the MAC of another: whoever is root there could read it."""
        _, outcome, _ = self._recognised(data, kind)
        if outcome and names & self._framers.keys():
            outcome.strayed = ", ".join(sorted(names))

    def _note(self, data: bytes, kind: int, names: frozenset[str]) -> bool:
        number, outcome, answer = self._recognised(data, kind)
        if not outcome:
            return False
        probe = outcome.probe
        if names == _HOST_BY_FRAME:
            names = frozenset({HOST}) if probe.flow.destination == HOST and not probe.to else frozenset()
        if answer and probe.awaits_answer:
            outcome.answered |= probe.flow.source in names
        elif probe.flow.destination in names or (probe.attack and probe.flow.source not in names and names):
            outcome.arrived = True
            if probe.seen_as and kind == packets.IPV4 and packets.source_of(data) != probe.seen_as:
                outcome.translated = packets.source_of(data)
        self._settle(number, outcome)
        return True

    def _settle(self, number: int, outcome: Outcome) -> None:
        if outcome.settled:
            self._open_numbers.discard(number)
