"""Compute the rules of NAT and port forwarding from the topology table, and compare them with the live ones, for bash.

    python3 -m lab.nat STATE [GUARDED...]    prints what lab.ruleset prints

STATE is what scripts/nat.sh saved before its first change; GUARDED are the interfaces that forward only for the lab.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from lab.ruleset.__main__ import print_comparison
from lab.ruleset.host import output_of
from lab.topology import Topology, load

CHAINS = "PUBLISH|POSTROUTING|FORWARD|INPUT|NODES"

# A rule is two lines: RANGE TABLE CHAIN COMMENT, then the rest of the rule. It is written once for each item of RANGE.
# Rules of a chain stay in this order.
#
# The client limit counts half-open connections too, which nginx does not see before their header is complete.
# CNET-NODES accepts packets between nodes in each table, so that no other rule translates, marks or drops them;
# br_netfilter passes frames between two ports of a bridge here. A guard drops only new connections that enter by its
# interface. It does not drop connections to ports that others publish (DNAT), as Docker does if it starts later.
# Docker sets FORWARD to DROP and inserts its own chains first; DOCKER-USER is its chain for rules of the user.
_RULES = """
state filter CNET-FORWARD before up: {words}

publication nat CNET-PUBLISH {node}: forward port {host_port} of the host to port {port} of the node
  -p {protocol} -m {protocol} --dport {host_port} -j DNAT --to-destination {address}:{port}
publication nat CNET-POSTROUTING {node}: hairpin: masquerade so that the reply returns through the host
  -s {network} {to_port} -m conntrack --ctstate DNAT -j MASQUERADE
publication nat CNET-POSTROUTING {node}: localhost gets the address of the bridge: 127.0.0.1 is not routable
  -s 127.0.0.0/8 {to_port} -j MASQUERADE
bridge nat CNET-POSTROUTING {bridge}: packets to nodes keep their source address
  -o {bridge} -j ACCEPT
bridge nat CNET-POSTROUTING {bridge}: masquerade: outgoing traffic uses the address of the host
  -s {network} ! -o {bridge} -j MASQUERADE

bridge mangle CNET-NODES {bridge}: packets between nodes meet no other rule of this table
  -d {network} -m addrtype ! --dst-type LOCAL -j ACCEPT
bridge nat CNET-NODES {bridge}: packets between nodes meet no other rule of this table
  -d {network} -m addrtype ! --dst-type LOCAL -j ACCEPT
bridge mangle PREROUTING {bridge}: packets from nodes
  -i {bridge} -j CNET-NODES
bridge nat PREROUTING {bridge}: packets from nodes
  -i {bridge} -j CNET-NODES
bridge mangle FORWARD {bridge}: packets from nodes
  -i {bridge} -j CNET-NODES
bridge mangle POSTROUTING {bridge}: packets from nodes
  -s {network} -j CNET-NODES

bridge filter CNET-FORWARD {bridge}: nodes may open connections
  -i {bridge} -j ACCEPT
bridge filter CNET-FORWARD {bridge}: replies may pass
  -o {bridge} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
tcp-publication filter CNET-FORWARD {node}: one address may hold 256 connections to port {host_port} of the host
  {to_port} -m connlimit --connlimit-above 256 --connlimit-mask 32 --connlimit-saddr -j REJECT --reject-with tcp-reset
bridge filter CNET-FORWARD {bridge}: clients may connect to published ports
  -o {bridge} -m conntrack --ctstate DNAT -j ACCEPT
bridge filter CNET-INPUT {bridge}: nodes must not reach loopback services of the host through route_localnet
  -d 127.0.0.0/8 -i {bridge} -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP
guarded-bridge filter CNET-FORWARD {interface} did not forward before up: traffic to {bridge} may pass
  -i {interface} -o {bridge} -j RETURN
guarded filter CNET-FORWARD {interface} did not forward before up: drop its new connections to other interfaces
  -i {interface} -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP

once nat PREROUTING forward published ports for clients outside and for nodes
  -m addrtype --dst-type LOCAL -j CNET-PUBLISH
once nat OUTPUT forward published ports for the host itself
  -m addrtype --dst-type LOCAL -j CNET-PUBLISH
once nat POSTROUTING translate source addresses
  -j CNET-POSTROUTING
once filter INPUT packets to the host
  -j CNET-INPUT
once filter FORWARD forwarded packets
  -j CNET-FORWARD
docker filter DOCKER-USER forwarded packets, before the rules of Docker
  -j CNET-FORWARD
"""

Values = dict[str, object]


def wanted_rules(
    topology: Topology, state: str, guarded: Sequence[str], *, has_docker: bool
) -> Iterator[str]:
    """Yield the rules as "iptables TABLE -A CHAIN ..."."""
    ranges = _ranges(topology, state, guarded, has_docker=has_docker)
    for template in _RULES.replace("\n  ", "\t").split("\n"):
        if template:
            head, _, rest = template.partition("\t")
            range_name, table, chain, comment = head.split(" ", 3)
            for values in ranges[range_name]:
                why, matches = comment.format(**values), rest.format(**values)
                yield f'iptables {table} -A {chain} -m comment --comment "cnet: {why}" {matches}'


def _ranges(
    topology: Topology, state: str, guarded: Sequence[str], *, has_docker: bool
) -> dict[str, list[Values]]:
    """Return the values of each rule's placeholders, by the name of the RANGE."""
    bridges: list[Values] = [
        {"bridge": bridge.name, "network": bridge.address.network} for bridge in topology.bridges
    ]
    publications = list(_publications(topology))
    return {
        "once": [{}],
        "docker": [{}] if has_docker else [],
        "state": [{"words": words} for words in _state_lines(state)],
        "bridge": bridges,
        "publication": publications,
        "tcp-publication": [values for values in publications if values["protocol"] == "tcp"],
        "guarded": [{"interface": name} for name in guarded],
        "guarded-bridge": [{"interface": name, **bridge} for name in guarded for bridge in bridges],
    }


def _publications(topology: Topology) -> Iterator[Values]:
    for node in topology.nodes:
        for publication in node.publishes:
            protocol, match = publication.protocol, f"-d {node.address.ip}/32 -o {node.bridge}"
            yield {
                "node": node.name,
                "network": topology.bridge_of(node).address.network,
                "address": node.address.ip,
                "to_port": f"{match} -p {protocol} -m {protocol} --dport {publication.port}",
                **publication._asdict(),
            }


def _state_lines(state: str) -> Iterator[str]:
    """Yield the saved words for one comment each: a comment has at most 255 characters."""
    words = state.split()
    first = [word for word in words if word.startswith(("boot=", "chains="))]
    yield " ".join(first)
    yield from (word for word in words if word not in first)


def main(arguments: Sequence[str]) -> int:
    """Print the assignments for bash."""
    state, *guarded = arguments
    saved = output_of("iptables-save")
    wanted = wanted_rules(load(), state, guarded, has_docker="\n:DOCKER-USER " in saved)
    return print_comparison({"iptables": saved}, CHAINS, wanted)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
