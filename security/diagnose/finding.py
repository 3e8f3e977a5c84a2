"""A finding: one cause, with its evidence, what it breaks and how to repair it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """The kinds of causes. Their order is the ranking: an earlier one may be the reason for a later one.

    Beside each: what the object of a finding is. The place is a namespace or "host"; of programs it is the node.
    """

    DISK_FULL = "disk-full"  # the mount point
    NAMESPACE_MISSING = "namespace-missing"  # the namespace; place: host
    LINK_MISSING = "link-missing"  # the interface
    LINK_DOWN = "link-down"  # the interface, or the bridge
    WRONG_BRIDGE = "wrong-bridge"  # the port
    PORT_SETTING = "port-setting"  # the port: isolated, not forwarding, learning, flooding, hairpin ...
    BRIDGE_SETTING = "bridge-setting"  # the bridge: nf_call, link-local learning
    WRONG_MAC = "wrong-mac"  # the interface
    FORWARDING_ENTRY = "forwarding-entry"  # the port that the bridge should forward the MAC to
    MTU = "mtu"  # the interface
    RATE_LIMIT = "rate-limit"  # the interface: a qdisc
    ADDRESS_MISSING = "address-missing"  # the wanted address with its prefix length, as in the table
    ADDRESS_DUPLICATE = "address-duplicate"  # the address without prefix length; place: of the second one
    ADDRESS_SURPLUS = "address-surplus"  # the address with its prefix length
    NEIGHBOUR = "neighbour"  # the address of the neighbour; place: of the entry
    ARP_OFF = "arp-off"  # the interface
    ROUTE_MISSING = "route-missing"  # default, or the network
    ROUTE_SURPLUS = "route-surplus"  # the destination, as `ip route` prints it
    ROUTING_RULE = "routing-rule"  # the priority
    SYSCTL = "sysctl"  # the key, with dots
    CONNTRACK_FULL = "conntrack-full"  # nf_conntrack
    HOOK_BEHIND = "hook-behind"  # the built-in chain: TABLE CHAIN
    FOREIGN_RULE = "foreign-rule"  # the rule as iptables-save or nft prints it
    RULE_MISSING = "rule-missing"  # TABLE CHAIN
    RULE_SURPLUS = "rule-surplus"  # TABLE CHAIN
    CONNTRACK_ENTRY = "conntrack-entry"  # PROTOCOL ADDRESS:PORT of its original destination
    RATE_EXHAUSTED = "rate-exhausted"  # the id of the policy line
    RESOLVER = "resolver"  # the file
    HOSTS_FILE = "hosts-file"  # the name
    REGISTRY_ENTRY = "registry-entry"  # the service's name; place: the registry's node
    SUPERVISOR_STOPPED = "supervisor-stopped"  # supervisord; place: host
    CONFIGURATION = "configuration"  # the file
    DESCRIPTORS = "descriptors"  # the node
    PROGRAM_FROZEN = "program-frozen"  # the node
    PROGRAM_CRASHING = "program-crashing"  # the node
    PROGRAM_STOPPED = "program-stopped"  # the node
    WRONG_LISTENER = "wrong-listener"  # PORT/PROTOCOL
    WRONG_PASSWORD = "wrong-password"  # noqa: S105 - the store's node; place: the node that has the wrong one
    CONNECTIONS_EXHAUSTED = "connections-exhausted"  # the node of the database
    DATABASE_SETTING = "database-setting"  # the setting; place: the node of the database
    LOCK_HELD = "lock-held"  # the node of the database
    PROGRAM_SLOW = "program-slow"  # the node
    UNKNOWN_DIFFERENCE = "unknown-difference"  # any other difference from a table
    # Consequences: another finding usually explains them.
    NOT_READY = "not-ready"  # the node
    NAME_UNRESOLVED = "name-unresolved"  # the name; place: the namespace
    UNREACHABLE = "unreachable"  # PROTOCOL/PORT; place: FROM to TO


RANK = {kind: rank for rank, kind in enumerate(Kind)}
CONSEQUENCES = (Kind.NOT_READY, Kind.NAME_UNRESOLVED, Kind.UNREACHABLE)


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """A command, and the line of its output that shows the cause."""

    command: str
    line: str


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One cause. `kind`, `object` and `place` are for machines: a fault of the catalogue names the same three."""

    kind: Kind
    object: str  # the interface, address, chain, file or program
    place: str  # a namespace or node, or "host"
    cause: str  # a sentence
    breaks: str  # what does not work because of it
    repair: tuple[str, ...]  # commands, or one sentence
    evidence: tuple[Evidence, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the finding for JSON."""
        return asdict(self)


def ranked(findings: Iterable[Finding]) -> list[Finding]:
    """Return each finding once, causes before their consequences."""
    unique = {(finding.kind, finding.object, finding.place): finding for finding in findings}
    return sorted(unique.values(), key=lambda finding: RANK[finding.kind])
