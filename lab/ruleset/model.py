"""The matches and actions of iptables and nft rules, in the same terms for both tools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from lab.ruleset import OWN_PREFIX

PROTOCOL_NAMES = {"1": "icmp", "6": "tcp", "17": "udp", "33": "dccp", "132": "sctp"}


class Field(StrEnum):
    """The field of a packet that a condition compares."""

    SOURCE = "source"
    DESTINATION = "destination"
    IN_INTERFACE = "in-interface"
    OUT_INTERFACE = "out-interface"
    PROTOCOL = "protocol"
    PORT = "destination port"
    SOURCE_PORT = "source port"
    EITHER_PORT = "source or destination port"
    SOURCE_TYPE = "type of the source"
    DESTINATION_TYPE = "type of the destination"
    STATE = "state of the connection"
    FAMILY = "family"  # ip or ip6
    OTHER = "other"  # unread: may match or not


class Action(StrEnum):
    """The action of a rule on a matching packet."""

    ACCEPT = "accept"
    BLOCK = "block"  # drop or reject
    REDIRECT = "redirect"  # rewrite the destination
    CHANGE = "change"  # rewrite, divert, or a target that is not known here
    RETURN = "return"
    CALL = "call"  # call another chain
    NONE = "none"


@dataclass(frozen=True, kw_only=True)
class Condition:
    """One comparison. Values are text: addresses A, A/LENGTH and A-B, ports N and N-M, patterns of interfaces."""

    field: Field
    values: tuple[str, ...] = ()
    negated: bool = False
    protocol: str = ""  # the port's protocol; empty for any


class HostRule(Protocol):
    """A rule as the tool that made it shows it."""

    @property
    def text(self) -> str:
        """Return the rule as its tool writes it."""

    @property
    def removal(self) -> str:
        """Return the command that deletes the rule."""


@dataclass(frozen=True, kw_only=True)
class Destination:
    """The new destination of packets: addresses A, A/LENGTH or A-B (none if they cannot be read), and the port as text.

    The port is empty if it stays; it is no number for several ports.
    """

    addresses: tuple[str, ...]
    port: str = ""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One action of a rule, with its conditions. A rule with a map of verdicts has one step for each key."""

    conditions: tuple[Condition, ...]
    action: Action
    rule: HostRule
    chain: str = ""  # the chain that is called
    goto: bool = False
    of_map: bool = False
    destination: Destination | None = None  # the new destination, if the rule rewrites the address

    @property
    def own_chain(self) -> str:
        """Return the name of the lab's chain that is called; empty for any other."""
        name = self.chain.rpartition(" ")[2]
        return name if name.startswith(OWN_PREFIX) else ""


@dataclass(frozen=True, kw_only=True)
class BaseChain:
    """A chain that the kernel calls: `name` is "TABLE CHAIN" of iptables or "FAMILY TABLE CHAIN" of nft."""

    name: str
    hook: str  # PREROUTING, INPUT, FORWARD, OUTPUT or POSTROUTING
    family: str = "ip"
    is_translated: bool = False  # true if the hook comes after DNAT
    policy: str = "accept"
    devices: tuple[str, ...] = ()  # of a chain that the kernel calls for some interfaces (family netdev)


@dataclass(frozen=True, kw_only=True)
class Chains:
    """The chains of one tool, by name, each with the steps of its rules in order."""

    bases: Sequence[BaseChain] = ()
    steps: Mapping[str, Sequence[Step]] = field(default_factory=dict)


def protocol_name(text: str) -> str:
    """Return the name of a protocol that is written as its number."""
    return PROTOCOL_NAMES.get(text, text)
