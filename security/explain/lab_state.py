"""The lab, from a snapshot and the tables: addresses, routes, and decisions of the policy. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from lab.network.facts import mac_of
from lab.ruleset.iptables import parse
from lab.topology import Node, Topology
from security.explain.snapshot import NO_PLACE, Place, Snapshot
from security.policy.model import BUILT_IN, DIRECT, DROP, HOST, WORLD, Decision, Flow, Policy
from security.proof.probe import Outside
from security.rules.walk import Ruleset

LOCALHOST = "127.0.0.1"
OUTSIDE_PORT = "cnet-outside"  # the host's end of the veth pair to the namespace that a probe is sent from


@dataclass(frozen=True)
class Lab:
    """A snapshot, and the tables to compare it with."""

    snapshot: Snapshot
    topology: Topology
    table: Policy | None
    outside: Outside

    @property
    def host(self) -> Place:
        """Return the host's part of the snapshot."""
        return self.snapshot.host

    def place(self, node: Node) -> Place:
        """Return the snapshot of a node's namespace."""
        return self.snapshot.namespaces.get(node.namespace, NO_PLACE)

    @cached_property
    def policy(self) -> Policy | None:
        """Return the policy; None where none is loaded."""
        in_force = any(chain == "CNET-FROM-NODES" for _, chain, _ in self.host.saved_rules.policies)
        return self.table if in_force or self.host.policed else None

    @cached_property
    def rules(self) -> Ruleset:
        """Return the host's rules of iptables."""
        return Ruleset(
            self.host.saved_rules,
            self.is_host_address,
            within_rate=self._is_within_rate,
            open_connections=lambda source: self.host.open.get(source, 0),
            address_of=self._address_of_interface,
        )

    @cached_property
    def frame_rules(self) -> Ruleset:
        """Return the host's rules of ebtables."""
        return Ruleset(parse(self.host.frames), self.is_host_address, tool="ebtables")

    def mac(self, node: Node) -> str:
        """Return the MAC that the table gives to a node's interface."""
        return mac_of(self.topology.node_of_wire(node).address.ip)

    def gateway(self, node: Node) -> str:
        """Return the address of a node's bridge."""
        return str(self.topology.bridge_of(node).address.ip)

    def address(self, name: str, peer: str) -> str:
        """Return the address by which the peer reaches a node, the host or the world."""
        node, other = self.topology.node(name), self.topology.node(peer)
        if node:
            return str(node.address.ip)
        if name == WORLD:
            return self.outside.address
        if peer == HOST:
            return LOCALHOST
        return self.gateway(other) if other else self.outside.host_address

    def is_host_address(self, address: str) -> bool:
        """Decide whether the host has an address, including the address that a probe adds towards the outside."""
        return address == self.outside.host_address or self.host.has_address(address)

    def interface_to(self, address: str) -> str:
        """Return the interface by which the host sends to an address; empty without a route."""
        if address == self.outside.address:
            return OUTSIDE_PORT
        return str((self.host.route(address) or {}).get("dev", ""))

    def passes_to_iptables(self, bridge: str) -> bool:
        """Decide whether a bridge passes its packets to iptables."""
        data = self.host.link(bridge).get("linkinfo", {}).get("info_data", {})
        return bool(data.get("nf_call_iptables"))

    def owners(self, address: str) -> dict[str, str]:
        """Return the namespaces that have an address, each with `CIDR dev INTERFACE`."""
        return self.host.owners.get(address, {})

    def publishers(self, flow: Flow) -> list[Node]:
        """Return the nodes to which the flow's port of the host leads."""
        wanted = (flow.port, flow.protocol)
        nodes = self.topology.nodes
        return [
            node for node in nodes if wanted in ((item.host_port, item.protocol) for item in node.publishes)
        ]

    def decide(self, flow: Flow, after_nat: Flow) -> Decision | None:
        """Return the policy's decision on a flow; None if the policy does not apply."""
        source, target = self.topology.node(flow.source), self.topology.node(after_nat.destination)
        through_host = flow.destination == HOST
        within = source and target and source.namespace == target.namespace and not through_host
        if self.policy is None or within or not (source or target):
            return None
        if flow.source == WORLD and not through_host:
            return Decision(DROP, DIRECT, BUILT_IN[DIRECT])
        return self.policy.decide(*after_nat.ends, after_nat.protocol, after_nat.port)

    def _address_of_interface(self, interface: str) -> str:
        if interface == OUTSIDE_PORT:
            return self.outside.host_address
        return next((address for address, (_, name) in self.host.addresses.items() if name == interface), "")

    def _is_within_rate(self, name: str, source: str) -> bool:
        """Decide whether a source may open one more connection; the columns are those of /proc/net/ipt_hashlimit."""
        for line in self.host.rates.get(name, "").splitlines():
            words = line.split()
            if words[1].partition(":")[0] == source:
                return int(words[2]) >= int(words[4])
        return True
