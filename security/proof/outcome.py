"""What became of a probe, and whether that is as the policy says. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from security.policy.model import ACCEPT
from security.proof.probe import Probe


@dataclass
class Outcome:
    """What became of one probe."""

    probe: Probe
    arrived: bool = False
    answered: bool = False
    dropped_by: str = ""
    strayed: str = ""  # the node that got a frame of it that was for another
    closed: bool = False  # the policy of the host's chain INPUT dropped it, before the lab's policy was asked
    translated: str = ""  # the source address that the receiver saw, when it is another than it must see

    @property
    def settled(self) -> bool:
        """Tell whether nothing more is to be waited for."""
        if self.dropped_by or self.probe.unlogged:
            return True
        return self.arrived and (self.answered or not self.probe.awaits_answer)

    @property
    def over_its_rate(self) -> bool:
        """Tell whether a rate is all that spoke against it."""
        return self.probe.expected == ACCEPT and self.dropped_by == self.probe.expected_id

    @property
    def as_expected(self) -> bool:
        """Tell whether the policy does what it says, nobody else could read it, and the source is the right one."""
        if self.strayed or self.translated:
            return False
        if self.closed:
            return self.lost
        if self.probe.expected == ACCEPT:
            return self.settled and not self.dropped_by
        dropped_by = "" if self.probe.unlogged else self.probe.expected_id
        return self.closed_elsewhere or (not self.arrived and self.dropped_by == dropped_by)

    @property
    def lost(self) -> bool:
        """Tell whether it did not arrive, and no rule of the policy dropped it."""
        return not self.arrived and not self.dropped_by and not self.probe.unlogged

    @property
    def closed_elsewhere(self) -> bool:
        """Tell whether it was lost before the policy was asked, which would have dropped it: as a firewall does."""
        return self.lost and (self.closed or self.probe.expected != ACCEPT)

    @property
    def seen(self) -> str:
        """Say what was seen, in a word."""
        if self.arrived:
            return "no answer" if self.probe.awaits_answer and not self.answered else "arrived"
        return "dropped" if self.dropped_by else "lost"
