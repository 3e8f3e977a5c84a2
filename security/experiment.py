"""Sends one probe and watches for it: in both namespaces, on every interface of the host, in the log."""

from __future__ import annotations

import random
import select
import socket
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from scripts.topology import Topology
from security import packets, probes
from security.compiler import LOG_PREFIX, PROOF_GROUP
from security.foretell import Foretelling, by_policy
from security.namespace import inside
from security.nflog import DropLog, Occupied
from security.policy import HOST, WORLD
from security.probes import Outside
from security.story import Ending, Flow, Kind, Story, Telling, with_experiment
from security.trace import Met, Trace

_ETH_P_ALL = 3
_PATIENCE_SECONDS = 0.35
_SETTLED_SECONDS = 0.03
_ERROR, _HOST_UNREACHABLE, _RST = 3, 1, 0x04
_LOCAL_PROTOCOLS = (packets.ICMP, packets.TCP, packets.UDP)


@dataclass
class Observation:
    """What was seen of the probe: where, whether it arrived, what answered, who dropped it."""

    seen_at: set[str] = field(default_factory=set)
    arrived: bool = False
    answer: str = ""  # accepted, refused, unreachable or unresolved
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
        self._number = random.randrange(1, packets.MOST)  # noqa: S311 - to be told apart, not to be secret
        self._sockets: list[tuple[socket.socket, str]] = []
        self._observation = Observation()

    def run(self) -> Observation:
        """Do it. Raises OSError without root."""
        with ExitStack() as stack, Trace(packets.identification(self._number)) as trace:
            sender, log = self._open(stack)
            deadline = time.monotonic() + _PATIENCE_SECONDS
            self._send(sender)
            while time.monotonic() < deadline and not self._observation.settled:
                self._look(log)
            time.sleep(_SETTLED_SECONDS)
            self._look(log)
            self._observation.met = trace.read()
        return self._observation

    def _namespace(self, name: str) -> str | None:
        node = self._topology.node(name)
        return node.namespace if node else self._outside.namespace if name == WORLD else None

    def _targets(self) -> set[str | None]:
        """Give the namespaces where it may arrive: a published port of the host leads to a node."""
        if self._flow.destination != HOST:
            return {self._namespace(self._flow.destination)}
        return {node.namespace for node in self._topology.nodes if node.publishes}

    def _open(self, stack: ExitStack) -> tuple[socket.socket, DropLog | None]:
        for name in dict.fromkeys((self._namespace(self._flow.source), *self._targets(), None)):
            with inside(name):
                self._keep(
                    stack,
                    socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL)),
                    name or HOST,
                )
        for protocol in _LOCAL_PROTOCOLS:
            self._keep(stack, socket.socket(socket.AF_INET, socket.SOCK_RAW, protocol), "delivered")
        with inside(self._namespace(self._flow.source)):
            sender = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW))
        try:
            log = DropLog(PROOF_GROUP)
        except Occupied:
            return sender, None
        stack.callback(log.close)
        return sender, log

    def _keep(self, stack: ExitStack, made: socket.socket, place: str) -> None:
        stack.enter_context(made).setblocking(False)
        self._sockets.append((made, place))

    def _send(self, sender: socket.socket) -> None:
        packet = probes.packet(self._flow.protocol, self._own, self._to, self._flow.port)(self._number)[0]
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
                kind, data = int.from_bytes(data[12:14], "big"), data[14:]
                if kind == packets.IPV4:
                    self._note(data, place, str(address[0]), outgoing=address[2] == socket.PACKET_OUTGOING)
            else:
                self._note(data, place, "", outgoing=False)

    def _note(self, data: bytes, place: str, interface: str, *, outgoing: bool) -> None:
        answer = answer_in(data, self._number)
        seen = packets.recognise(data)
        if answer:
            if not outgoing or place == "delivered":
                self._observation.answer = answer
        elif seen and seen.number == self._number and not seen.answer:
            self._place(place, interface, outgoing=outgoing)

    def _place(self, place: str, interface: str, *, outgoing: bool) -> None:
        """Note where the probe was, and whether that is where it was to go."""
        if place == "delivered":
            self._observation.arrived |= self._flow.destination == HOST
            return
        self._observation.seen_at |= {interface, place if place in (HOST,) else f"namespace {place}"}
        if place == self._outside.namespace:
            self._observation.seen_at.add(WORLD)
        self._observation.arrived |= place in self._targets() and not outgoing


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


def try_it(foretelling: Foretelling, story: Story, own: str, to: str) -> Story:
    """Send a probe, and lay what was seen beside the story."""
    experiment = Experiment(foretelling.topology, foretelling.outside, story.flow, own, to)
    observation = experiment.run()
    evidence = tuple(f"{met.table} {met.chain}: {met.why} -> {met.verdict}" for met in observation.met)
    seen_at = observation.seen_at | {f"{met.table} {met.chain}" for met in observation.met}
    return with_experiment(story, ending_of(observation, foretelling, story), seen_at, evidence)


def ending_of(seen: Observation, foretelling: Foretelling, story: Story) -> Ending:
    """Say how it really ended, by what was seen alone; the state only names what silence cannot."""
    foretold, flow = story.ending, story.flow
    if seen.dropped_by:
        return by_policy(Telling(flow), foretelling.policy, seen.dropped_by).ending
    if seen.answer == "accepted" or (
        seen.arrived and (flow.destination == WORLD or _is_silent_udp(seen, flow))
    ):
        return Ending(
            Kind.ALLOWED,
            "it arrived" + (", and was answered" if seen.answer else ""),
            foretelling.allowing_id(flow),
        )
    answered = seen.answer not in ("", "unresolved")
    if answered and seen.arrived:
        return Ending(
            Kind.NO_LISTENER,
            f"it arrived at {flow.destination}, and was refused: nobody listens on port {flow.port}",
            fix=foretold.fix,
        )
    dropped = foreign_drop(seen.met)
    if dropped or answered:
        why = (
            f"{dropped.table} {dropped.chain}: {dropped.why} -> {dropped.verdict}"
            if dropped
            else "a rule refused it"
        )
        return Ending(Kind.FOREIGN, why, fix=foretold.fix)
    if seen.not_sent and not seen.seen_at:
        kind = (
            foretold.kind if foretold.kind in (Kind.NO_ROUTE, Kind.LINK_DOWN, Kind.FOREIGN) else Kind.NO_ROUTE
        )
        return Ending(kind, f"it could not be sent: {seen.not_sent}", fix=foretold.fix)
    return _silence(seen, foretold)


def _is_silent_udp(seen: Observation, flow: Flow) -> bool:
    return flow.protocol == "udp" and not seen.answer


def _silence(seen: Observation, foretold: Ending) -> Ending:
    """Name a silence: by the state, if what was seen agrees with it."""
    if seen.arrived:
        kind = foretold.kind if foretold.kind in (Kind.FOREIGN, Kind.NO_ANSWER) else Kind.NO_ANSWER
        return Ending(kind, f"it arrived, and no answer came; {foretold.why}", fix=foretold.fix)
    fits = foretold.kind in (Kind.LINK_DOWN, Kind.NOT_FORWARDED, Kind.NO_ROUTE, Kind.FOREIGN)
    last = ", ".join(sorted(seen.seen_at)) or "nowhere"
    unheard = "; nobody answered ARP for its address" if seen.answer == "unresolved" else ""
    return Ending(
        foretold.kind if fits else Kind.LOST,
        f"it was seen at {last}, and no further{unheard}; {foretold.why}",
        fix=foretold.fix,
    )


def foreign_drop(met: Sequence[Met]) -> Met | None:
    """Find what dropped it, if that was a rule."""
    return next((each for each in met if each.verdict in ("DROP", "REJECT")), None)
