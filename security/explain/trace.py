"""A packet on its path through the lab: its headers, its receiver, and the recorded hops."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NoReturn

from lab.topology import Node
from security.explain.lab_state import Lab
from security.explain.result import Hop, Kind, Outcome, Problem, Result
from security.policy.model import Flow
from security.rules.matches import Packet


class PathEndError(Exception):
    """The packet's path has ended: it is delivered, dropped or lost."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.why)
        self.outcome = outcome


@dataclass
class PacketTrace:
    """The state of a packet between two stages; a stage changes it, or raises PathEndError."""

    lab: Lab
    flow: Flow
    packet: Packet
    receiver: str  # a node, host or world
    sender: Node | None = None  # None: host or world
    target: Node | None = None  # the receiving node; None: host or world
    hops: list[Hop] = field(default_factory=list)
    not_simulated: list[str] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)

    @property
    def after_nat(self) -> Flow:
        """Return the flow as the receiver sees it."""
        return Flow(self.flow.source, self.receiver, self.flow.protocol, self.packet.port)

    @property
    def is_switched(self) -> bool:
        """Decide whether sender and receiver are ports of one bridge."""
        return bool(self.sender and self.target and self.sender.bridge == self.target.bridge)

    def hop(self, where: str, what: str, shown_by: str = "") -> None:
        """Record a hop."""
        self.hops.append(Hop(where, what, shown_by))

    def end(self, outcome: Outcome, where: str = "") -> NoReturn:
        """End the path; `where` adds a hop."""
        if where:
            self.hop(where, outcome.why)
        raise PathEndError(outcome)

    def result(self, outcome: Outcome) -> Result:
        """Return the result. After a rule that was not simulated, the outcome is unknown."""
        if self.not_simulated:
            why = f"a rule above is not simulated; if it does not match: {outcome.kind}, {outcome.why}"
            fix = "send a probe: run it again without --static and --state"
            outcome = Outcome(Kind.UNKNOWN, why, fix, outcome.policy_id)
        return Result(
            self.flow,
            self.after_nat,
            tuple(self.hops),
            outcome,
            not_simulated=tuple(dict.fromkeys(self.not_simulated)),
            warnings=tuple(each for each in dict.fromkeys(self.warnings) if each.what != outcome.why),
        )
