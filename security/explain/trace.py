"""A packet on its path through the lab: its headers, its place, and the recorded hops. Immutable."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Flag, auto

from lab.topology import Node
from security.explain.result import Hop, Kind, Outcome, Problem, Result
from security.policy.model import Flow
from security.rules.matches import Packet


class At(Flag):
    """Where a packet is."""

    SENDER = auto()  # in the namespace that sends it
    LOOPBACK = auto()  # sender and receiver share a namespace
    BRIDGE_PORT = auto()  # at the host's end of the sender's veth pair
    UPLINK = auto()  # comes from outside the lab
    HOST_OUTPUT = auto()  # sent by the host
    HOST_INPUT = auto()
    HOST_SOCKET = auto()
    FORWARD = auto()
    VETH = auto()  # at the host's end of the receiver's veth pair
    RECEIVER = auto()  # in the namespace that receives it
    WORLD = auto()


@dataclass(frozen=True)
class PacketTrace:
    """The state of a packet between two stages."""

    flow: Flow
    packet: Packet
    at: At
    receiver: str  # a node, host or world
    sender: Node | None = None  # None: host or world
    target: Node | None = None  # the receiver, if it is a node
    next_hop: str = ""
    hops: tuple[Hop, ...] = ()
    not_simulated: tuple[str, ...] = ()
    warnings: tuple[Problem, ...] = ()

    @property
    def after_nat(self) -> Flow:
        """Return the flow as the receiver sees it."""
        return Flow(self.flow.source, self.receiver, self.flow.protocol, self.packet.port)

    @property
    def sending_node(self) -> Node:
        """Return the sender where it must be a node."""
        if self.sender is None:
            raise LookupError(f"{self.flow.source} is not a node")
        return self.sender

    @property
    def receiving_node(self) -> Node:
        """Return the receiver where it must be a node."""
        if self.target is None:
            raise LookupError(f"{self.receiver} is not a node")
        return self.target

    @property
    def is_switched(self) -> bool:
        """Decide whether sender and receiver are ports of one bridge."""
        return bool(self.sender and self.target and self.sender.bridge == self.target.bridge)

    def hop(self, where: str, what: str, shown_by: str = "") -> PacketTrace:
        """Record a hop."""
        return replace(self, hops=(*self.hops, Hop(where, what, shown_by)))

    def warn(self, *problems: Problem) -> PacketTrace:
        """Record problems that do not decide the outcome; no duplicates."""
        return replace(self, warnings=tuple(dict.fromkeys((*self.warnings, *problems))))

    def skip(self, *rules: str) -> PacketTrace:
        """Record rules that cannot be simulated; no duplicates."""
        return replace(self, not_simulated=tuple(dict.fromkeys((*self.not_simulated, *rules))))

    def end(self, outcome: Outcome, where: str = "") -> Result:
        """Return the result; `where` adds a hop. After a rule that was not simulated, the outcome is unknown."""
        if where:
            return self.hop(where, outcome.why).end(outcome)
        if self.not_simulated:
            why = f"a rule above is not simulated; if it does not match: {outcome.kind}, {outcome.why}"
            fix = "send a probe: run it again without --static and --state"
            outcome = Outcome(Kind.UNKNOWN, why, fix, outcome.policy_id)
        return Result(
            self.flow,
            self.after_nat,
            self.hops,
            outcome,
            not_simulated=self.not_simulated,
            warnings=tuple(warning for warning in self.warnings if warning.what != outcome.why),
        )


Step = PacketTrace | Result  # what a stage returns: the packet goes on, or it ends
