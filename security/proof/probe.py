"""Probes: a flow, its packet, the expected verdict, and the observed result.

A probe arrives, or a rule of a policy id drops it; the runner watches for both.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from security.policy.model import ACCEPT, Flow
from security.proof.packets import Build

# Ids of drops without a rule: by the bridge's forwarding table, and by the port's settings.
FORWARDING, LINK_LOCAL = "forwarding-table", "link-local"


@dataclass(frozen=True)
class Outside:
    """The world of the proof: a namespace on the other side of the host."""

    namespace: str
    interface: str
    address: str
    host_address: str


def outside_from_environment() -> Outside:
    """Read the namespace that security/prove.sh created from the environment. Raise KeyError if it is not set."""
    names = ("OUTSIDE_NAMESPACE", "OUTSIDE_INTERFACE", "OUTSIDE", "HOST_FOR_OUTSIDE")
    return Outside(*(os.environ[name] for name in names))


class Step(NamedTuple):
    """A packet that is sent shortly before a probe; without `to`, `build` makes a whole frame."""

    source: str
    to: str
    build: Build


@dataclass(frozen=True)
class Probe:
    """One packet to try. `to` is an address, or empty when `build` makes a whole frame."""

    flow: Flow
    expected: str
    expected_id: str
    build: Build
    to: str = ""
    attack: str = ""
    refill_seconds: float = 0  # seconds until an exhausted rate limit allows one more packet
    first: Sequence[Step] = ()
    unlogged: bool = False  # the kernel drops the packet without NFLOG
    by: str = ""  # the bridge of the host that sends a whole frame
    seen_as: str = ""  # the source address that the receiver must see; empty: any

    @property
    def awaits_reply(self) -> bool:
        """Return whether a reply must come back: the connection is accepted or refused."""
        return self.flow.protocol == "tcp" and self.expected == ACCEPT and bool(self.to)

    def __str__(self) -> str:
        """Format the probe as a readable line."""
        return f"{self.flow} ({self.attack})" if self.attack else str(self.flow)


@dataclass(frozen=True)
class Burst:
    """More new connections at once than the line `id` allows; with `limit` None all must arrive."""

    probe: Probe
    count: int
    limit: int | None
    id: str


@dataclass
class ProbeResult:
    """The result of one probe."""

    probe: Probe
    arrived: bool = False
    replied: bool = False
    dropped_by: str = ""
    leaked_to: str = ""  # a node that received a frame for another node
    closed_by_host: bool = False  # dropped by the policy of the host's chain INPUT, before the lab's policy
    wrong_source: str = ""  # wrong source address at the receiver

    @property
    def is_settled(self) -> bool:
        """Return whether the result is final."""
        if self.dropped_by or self.probe.unlogged:
            return True
        return self.arrived and (self.replied or not self.probe.awaits_reply)

    @property
    def is_over_rate(self) -> bool:
        """Return whether only a rate limit dropped the probe."""
        return self.probe.expected == ACCEPT and self.dropped_by == self.probe.expected_id

    @property
    def is_lost(self) -> bool:
        """Return whether the probe did not arrive and no rule of the policy dropped it."""
        return not self.arrived and not self.dropped_by and not self.probe.unlogged

    @property
    def is_lost_before_policy(self) -> bool:
        """Return whether the host's firewall dropped the probe before the policy, which would also drop it."""
        return self.is_lost and (self.closed_by_host or self.probe.expected != ACCEPT)

    @property
    def is_as_expected(self) -> bool:
        """Return whether the verdict was as expected, only the destination received it, and its source was right."""
        if self.leaked_to or self.wrong_source:
            return False
        if self.closed_by_host:
            return self.is_lost
        if self.probe.expected == ACCEPT:
            return self.is_settled and not self.dropped_by
        dropped_by = "" if self.probe.unlogged else self.probe.expected_id
        return self.is_lost_before_policy or (not self.arrived and self.dropped_by == dropped_by)

    @property
    def seen(self) -> str:
        """Return the observed result, as in the CSV."""
        if self.arrived:
            return "no answer" if self.probe.awaits_reply and not self.replied else "arrived"
        return "dropped" if self.dropped_by else "lost"
