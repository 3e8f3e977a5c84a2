"""Probes: a flow, its packet, the expected verdict, and the observed result.

A probe arrives, or a rule of a policy id drops it; the runner watches for both.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from security.policy.model import ACCEPT, Flow
from security.proof.family import IPV4, IPV6, Family
from security.proof.packets import Build

# Ids of drops without a rule: by the bridge's forwarding table, and by the port's settings.
FORWARDING, LINK_LOCAL = "forwarding-table", "link-local"


@dataclass(frozen=True)
class Outside:
    """The world of the proof: a namespace on the other side of the host. Without IPv6 in the table, it has none."""

    namespace: str
    interface: str
    address: str
    host_address: str
    address6: str = ""
    host_address6: str = ""
    forwards6: bool = True  # the host forwards IPv6; before Linux 6.17 it may not (scripts/lib/forwarding.sh)

    def ends(self, family: Family) -> tuple[str, str]:
        """Return the addresses of the namespace and of the host in one family; empty if they have none."""
        return (self.address6, self.host_address6) if family is IPV6 else (self.address, self.host_address)


def outside_from_environment() -> Outside:
    """Read the namespace that security/prove.sh created from the environment. Raise KeyError if it is not set."""
    names = ("OUTSIDE_NAMESPACE", "OUTSIDE_INTERFACE", "OUTSIDE", "HOST_FOR_OUTSIDE")
    in_ipv6 = ("OUTSIDE6", "HOST_FOR_OUTSIDE6", "FORWARDS6")
    namespace, interface, address, host_address = (os.environ[name] for name in names)
    address6, host_address6, forwards6 = (os.environ.get(name, "") for name in in_ipv6)
    return Outside(namespace, interface, address, host_address, address6, host_address6, bool(forwards6))


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
    family: Family = IPV4  # of the addresses; frames of other protocols count for IPv4

    @property
    def awaits_reply(self) -> bool:
        """Return whether a reply must come back: the connection is accepted or refused."""
        return self.flow.protocol == "tcp" and self.expected == ACCEPT and bool(self.to)

    def __str__(self) -> str:
        """Format the probe as a readable line."""
        over = "" if self.family is IPV4 else f" over {self.family.name}"
        return f"{self.flow}{over} ({self.attack})" if self.attack else f"{self.flow}{over}"


@dataclass(frozen=True)
class Burst:
    """More new connections at once than the line `id` allows; with `limit` None all must arrive."""

    probe: Probe
    count: int
    limit: int | None
    id: str


@dataclass(frozen=True)
class Difference:
    """A flow with a result that differs from the policy, and the reason."""

    flow: str
    why: str


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
