"""The rules of ebtables: each port sends only its own MAC and addresses."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from lab.network.facts import mac_of
from lab.topology import Node, Topology
from security.policy.drops import drop_chain, frame_drop
from security.policy.model import MLD

_TABLE = "ebtables nat"
# ebtables looks for the protocol behind the extension headers; the kernel reports its groups from no address.
_REPORT = "-p IPv6 --ip6-proto ipv6-icmp --ip6-icmp-type 143 "


def wires(topology: Topology) -> dict[str, list[Node]]:
    """Group the nodes by bridge port; nodes that share a namespace share a port."""
    found: defaultdict[str, list[Node]] = defaultdict(list)
    for node in topology.nodes:
        found[node.bridge_interface].append(node)
    return dict(found)


class FrameRules:
    """The rules of the ports, the hook and the drop chains."""

    def __init__(self, topology: Topology) -> None:
        self.chains: list[str] = []
        self.hooks = [f"{_TABLE} -A PREROUTING -j CNET-FRAMES"]
        self._ids: set[str] = set()
        for port, nodes in wires(topology).items():
            self.chains.append(f"{_TABLE} -A CNET-FRAMES -i {port} -j CNET-WIRE-{port}")
            self.chains += [f"{_TABLE} -A CNET-WIRE-{port} {rule}" for rule in self._port_rules(nodes)]

    def drops(self) -> Iterator[str]:
        """Yield the rules of the drop chains."""
        for policy_id in sorted(self._ids):
            yield from (f"{_TABLE} -A {drop_chain(policy_id)} {rule}" for rule in frame_drop(policy_id))

    def _port_rules(self, nodes: Sequence[Node]) -> Iterator[str]:
        mac = mac_of(nodes[0].address.ip)
        with_ipv6 = [node.address6.ip for node in nodes if node.address6]
        yield f"-s ! {mac} {self._drop('spoofed-mac')}"
        for address in (own.ip for node in nodes if (own := node.address_of(4))):
            yield f"-p IPv4 --ip-src {address} -j RETURN"
            yield f"-p ARP --arp-ip-src {address} --arp-mac-src {mac} -j RETURN"
        for address in with_ipv6:
            yield f"-p IPv6 --ip6-src {address} -j RETURN"
        if with_ipv6:
            yield _REPORT + self._drop(MLD)
        for match, policy_id in (
            ("-p IPv4 ", "spoofed-address"),
            ("-p ARP ", "spoofed-arp"),
            ("-p IPv6 ", "spoofed-address" if with_ipv6 else "ipv6"),
            ("", "ethertype"),
        ):
            yield match + self._drop(policy_id)

    def _drop(self, policy_id: str) -> str:
        self._ids.add(policy_id)
        return f"-j {drop_chain(policy_id)}"
