"""Run probes: send them from their sources, and watch every namespace and the drop log for them."""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from lab.topology import Topology
from security.policy.drops import LOG_PREFIX
from security.policy.model import HOST
from security.proof.family import IPV6
from security.proof.kernel_tables import flush_neighbours
from security.proof.packets import ip
from security.proof.probe import Probe, ProbeResult
from security.proof.recognise import FAMILY_OF, recognise, source_of
from security.proof.sockets import HOST_BY_FRAME, ProofSockets

_BATCH = 128  # probes between two reads of the receivers
_TIMEOUT_SECONDS = 0.4  # wait after the last packet before a retry
_RETRY_TIMEOUT_SECONDS = 1.2
_SETTLE_SECONDS = 0.01  # wait for packets that open a connection
_MAX_PAIRS = 400  # pairs per batch; each may take two of the kernel's 1024 neighbour entries


class ProbeRunner:
    """Sends probes by sockets in every namespace.

    Ports and ids come from the number of a probe. Runs that follow each other closely need different numbers (`first`):
    conntrack would take a probe for a part of a connection of the run before.
    """

    def __init__(self, topology: Topology, sockets: ProofSockets, first: int = 0) -> None:
        self._topology = topology
        self._sockets = sockets
        self._number = first
        self._results: dict[int, ProbeResult] = {}
        self._open_numbers: set[int] = set()
        self._pairs: set[tuple[str, str]] = set()

    def run(
        self, probes: Iterable[Probe], progress: Callable[[int], None] = lambda _: None
    ) -> list[ProbeResult]:
        """Send all probes; retry those without a result, or over a rate that an earlier proof exhausted, once."""
        results = [ProbeResult(probe) for probe in probes]
        self._send_and_watch(results, _TIMEOUT_SECONDS, progress)
        again = [result for result in results if not result.is_settled or result.is_over_rate]
        time.sleep(max((result.probe.refill_seconds for result in again), default=0))
        for result in again:
            result.arrived, result.replied, result.dropped_by, result.wrong_source = False, False, "", ""
        self._send_and_watch(again, _RETRY_TIMEOUT_SECONDS, lambda _: None)
        return results

    def repeat(self, probe: Probe, count: int) -> list[ProbeResult]:
        """Send copies of one probe at once."""
        results = [ProbeResult(probe) for _ in range(count)]
        self._send_and_watch(results, _TIMEOUT_SECONDS, lambda _: None)
        return results

    # --- send ---

    def _send_and_watch(
        self, results: Sequence[ProbeResult], timeout: float, progress: Callable[[int], None]
    ) -> None:
        self._read(0)  # discard packets of earlier probes
        self._results, self._open_numbers = {}, set()
        for at in range(0, len(results), _BATCH):
            batch = results[at : at + _BATCH]
            self._limit_neighbours(batch)
            self._open_connections(batch)
            for result in batch:
                self._send(result)
            self._read(0)
            progress(len(batch))
        deadline = time.monotonic() + timeout
        while self._open_numbers and time.monotonic() < deadline:
            if self._read(0.02):
                deadline = time.monotonic() + timeout
        self._read(0.02)

    def _limit_neighbours(self, batch: Sequence[ProbeResult]) -> None:
        """Flush neighbour entries before there are too many: all namespaces share one table (arp(7), gc_thresh3)."""
        of_batch = {result.probe.flow.ends for result in batch}
        self._pairs |= of_batch
        if len(self._pairs) < _MAX_PAIRS:
            return
        while self._read(_SETTLE_SECONDS):
            pass
        names = {name for pair in self._pairs for name in pair}
        nodes = (node for node in self._topology.nodes if node.name in names)
        flush_neighbours((node.namespace, node.interface) for node in nodes)
        self._pairs = of_batch

    def _open_connections(self, batch: Sequence[ProbeResult]) -> None:
        numbered = enumerate(batch, start=self._number + 1)
        steps = [(number, step) for number, result in numbered for step in result.probe.first]
        for number, step in steps:
            with suppress(OSError):  # a host firewall may refuse the packet; the probe fails then
                self._sockets.send(step.source, step.to, step.build(number))
        if steps:
            time.sleep(_SETTLE_SECONDS)

    def _send(self, result: ProbeResult) -> None:
        probe = result.probe
        self._number += 1
        self._results[self._number] = result
        if not result.is_settled:
            self._open_numbers.add(self._number)
        with suppress(OSError):  # no route or no neighbour: the probe is reported as lost
            self._sockets.send(probe.by or probe.flow.source, probe.to, probe.build(self._number))

    # --- watch ---

    def _read(self, seconds: float) -> bool:
        """Read all waiting packets; return whether any of them belongs to a probe."""
        has_probe = False
        while ready := self._sockets.poll.poll(seconds):
            seconds = 0
            for descriptor, _ in ready:
                if descriptor == self._sockets.drop_log.socket.fileno():
                    has_probe |= self._read_drop_log()
                else:
                    has_probe |= self._read_watcher(*self._sockets.watchers[descriptor])
        return has_probe

    def _read_drop_log(self) -> bool:
        has_probe = False
        for logged in self._sockets.drop_log.read():
            number, result, is_reply = self._find(logged.payload, logged.ethertype)
            if result and not (is_reply and result.probe.awaits_reply):
                result.dropped_by = logged.prefix.removeprefix(LOG_PREFIX).strip()
                has_probe = True
                self._settle(number, result)
        return has_probe

    def _find(self, data: bytes, kind: int) -> tuple[int, ProbeResult | None, bool]:
        seen = recognise(data, kind)
        return (seen.number, self._results.get(seen.number), seen.answer) if seen else (0, None, False)

    def _read_watcher(self, watcher: socket.socket, names: frozenset[str]) -> bool:
        has_probe = False
        while True:
            try:
                data, address = watcher.recvfrom(2048)
            except OSError as error:
                if error.errno in (errno.EAGAIN, errno.ENETDOWN):  # ENETDOWN: the interface was set down
                    return has_probe
                raise
            if watcher.family == socket.AF_PACKET:
                if address[2] == socket.PACKET_OUTGOING:
                    continue
                kind, data = int.from_bytes(data[12:14], "big"), data[14:]
                if address[2] == socket.PACKET_OTHERHOST:
                    self._note_leak(data, kind, names)
                    continue
            else:
                kind, data = _with_header(watcher, data, address[0])
            has_probe |= self._note(data, kind, names)

    def _note_leak(self, data: bytes, kind: int, names: frozenset[str]) -> None:
        """Note a node that received a frame for another MAC: root in its namespace could read it."""
        _, result, _ = self._find(data, kind)
        if result and names & self._sockets.frame_senders.keys():
            result.leaked_to = ", ".join(sorted(names))

    def _note(self, data: bytes, kind: int, names: frozenset[str]) -> bool:
        """Record that a place received a packet; return whether it belongs to a probe."""
        number, result, is_reply = self._find(data, kind)
        if not result:
            return False
        probe = result.probe
        if HOST_BY_FRAME in names:  # a frame probe to the host; packets are seen by the host's raw sockets
            names = frozenset({HOST} if probe.flow.destination == HOST and not probe.to else ())
        if is_reply and probe.awaits_reply:
            result.replied |= probe.flow.source in names
        elif probe.flow.destination in names or (probe.attack and names and probe.flow.source not in names):
            result.arrived = True
            family = FAMILY_OF.get(kind)
            if probe.seen_as and family and (source := source_of(data, family)) != probe.seen_as:
                result.wrong_source = source
        self._settle(number, result)
        return True

    def _settle(self, number: int, result: ProbeResult) -> None:
        if result.is_settled:
            self._open_numbers.discard(number)


def _with_header(watcher: socket.socket, data: bytes, source: str) -> tuple[int, bytes]:
    """Return the EtherType and the packet that a raw socket received; in IPv6 it lacks its header (ipv6(7))."""
    family = next(family for family in FAMILY_OF.values() if family.sockets == watcher.family)
    return family.ethertype, ip(source, source, watcher.proto, data, 0) if family is IPV6 else data
