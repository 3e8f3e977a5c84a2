"""Translate a policy into rules, TOOL TABLE -A CHAIN ..., in the order in which a packet meets them.

ebtables, table nat        CNET-FRAMES        each port may send only its own MAC and addresses
ip(6)tables, raw           CNET-ORIGIN        packets from elsewhere may not use an address of the lab
                           CNET-ORIGIN-NODES  packets between nodes skip the other rules of this table
ip6tables, raw             CNET-ORIGIN-ICMP   which ICMPv6 nodes may send; CNET-ORIGIN-ND: about their own address
ip(6)tables, security      CNET-FROM-BRIDGES  calls CNET-FROM-NODES; what it allows between nodes skips other rules
                           CNET-FROM-NODES    node -> node, node -> world, by destination: CNET-TO-*
                           CNET-TO-HOST       node -> host
                           CNET-FROM-WORLD    world -> node, through a published port
                           CNET-FROM-HOST     host -> node
                           CNET-ALLOWED       allowed packets of nodes, dropped over the limit of connections
all of them                CNET-DROP-ID       log, NFLOG, drop

One line of the policy means both families, for the nodes that have an address in it. A chain has the same name in both:
CNET-TO-ADDRESS has the node's IPv4 address. A node without one has its IPv6 address there, or LINE-N, its line in the
table, if the name would have more than 28 characters.

Table security comes after table filter (man iptables: mandatory rules after discretionary ones). So a packet
that Docker, a VPN's script or the lab's own NAT accepts in filter is still checked here, whatever the order in
which the rules were loaded, and a packet that the host's firewall drops stays dropped.
Packets of established connections return first; a new connection is checked, and counted against a rate, once.
"""

from __future__ import annotations

from lab.family import FAMILIES
from security.policy.frames import FrameRules
from security.policy.model import Policy
from security.policy.packets import packet_rules
from security.policy.rule_list import RuleList


def compile_rules(policy: Policy, state: str = "") -> list[str]:
    """Return all rules in their order within the chains; `state` (what `down` restores) becomes a comment."""
    parts: list[FrameRules | RuleList] = [FrameRules(policy.topology)]
    parts += (packet_rules(policy, family, state) for family in FAMILIES)
    return [
        *(rule for part in parts for rule in part.chains),
        *(rule for part in parts for rule in part.hooks),
        *(rule for part in parts for rule in part.drops()),
    ]
