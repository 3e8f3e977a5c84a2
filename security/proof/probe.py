"""What a probe is: who sends which packet to whom, what must happen to it, and what did.

It arrives, or it is dropped under a policy id; the runner watches both.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import NamedTuple

from security.policy.model import ACCEPT
from security.proof.builders import Build

# Ids of what decides where no rule of a policy does: the bridge's forwarding table, and the port's settings.
FORWARDING, LINK_LOCAL = "forwarding-table", "link-local"


@dataclass(frozen=True)
class Outside:
    """The world of the proof: a namespace on the other side of the host."""

    namespace: str
    interface: str
    address: str
    host_address: str


def outside_from_environment() -> Outside:
    """Read from the environment which namespace security/prove.sh has made. Raise KeyError if it has not."""
    names = ("OUTSIDE_NAMESPACE", "OUTSIDE_INTERFACE", "OUTSIDE", "HOST_FOR_OUTSIDE")
    return Outside(*(os.environ[name] for name in names))


class Flow(NamedTuple):
    """Source, destination, protocol and port; the port is 0 for protocols without ports."""

    source: str
    destination: str
    protocol: str
    port: int = 0

    def __str__(self) -> str:
        """Format for people."""
        what = f"{self.protocol}/{self.port}" if self.port else self.protocol
        return f"{self.source} -> {self.destination} {what}"


class Step(NamedTuple):
    """What is sent shortly before a probe; without `to`, `build` makes whole frames."""

    source: str
    to: str
    build: Build


@dataclass(frozen=True)
class Probe:
    """One packet to try. `to` is an address, or empty when `build` makes whole frames."""

    flow: Flow
    expected: str
    expected_id: str
    build: Build
    to: str = ""
    attack: str = ""
    refill_seconds: float = 0  # until a rate that is used up lets one more pass
    first: Step | None = None
    unlogged: bool = False  # the kernel itself drops it, without NFLOG
    by: str = ""  # the bridge of the host that a whole frame is sent by
    seen_as: str = ""  # the source address that the receiver must see; empty: any

    @property
    def awaits_reply(self) -> bool:
        """Whether a reply must come back: the connection is accepted or refused."""
        return self.flow.protocol == "tcp" and self.expected == ACCEPT and bool(self.to)

    def __str__(self) -> str:
        """Format for people."""
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
    """What happened to one probe."""

    probe: Probe
    arrived: bool = False
    replied: bool = False
    dropped_by: str = ""
    leaked_to: str = ""  # a node that received a frame for another node
    closed_by_host: bool = False  # dropped by the policy of the host's chain INPUT, before the lab's policy
    wrong_source: str = ""  # the source address that the receiver saw, if it is not the right one

    @property
    def is_settled(self) -> bool:
        """Whether there is nothing more to wait for."""
        if self.dropped_by or self.probe.unlogged:
            return True
        return self.arrived and (self.replied or not self.probe.awaits_reply)

    @property
    def is_over_rate(self) -> bool:
        """Whether only a rate dropped it."""
        return self.probe.expected == ACCEPT and self.dropped_by == self.probe.expected_id

    @property
    def is_lost(self) -> bool:
        """Whether it did not arrive and no rule of the policy dropped it."""
        return not self.arrived and not self.dropped_by and not self.probe.unlogged

    @property
    def is_lost_before_policy(self) -> bool:
        """Whether it was lost before the policy, which would have dropped it: by a firewall of the host."""
        return self.is_lost and (self.closed_by_host or self.probe.expected != ACCEPT)

    @property
    def is_as_expected(self) -> bool:
        """Whether the policy did what it says, only the destination received it, and the source was right."""
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
        """What was seen, for the CSV."""
        if self.arrived:
            return "no answer" if self.probe.awaits_reply and not self.replied else "arrived"
        return "dropped" if self.dropped_by else "lost"
