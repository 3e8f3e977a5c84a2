"""Compute the rules of NAT and port forwarding from the topology table, and compare them with the live ones, for bash.

    python3 -m lab.nat STATE [GUARDED...] -- [GUARDED...]    prints what lab.ruleset prints

STATE is what scripts/nat.sh saved before its first change; GUARDED are the interfaces that forward only for the lab,
for IPv4 and for IPv6.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Mapping, Sequence

from lab.family import FAMILIES, IPV4, IPV6, Family
from lab.ruleset.__main__ import print_comparison
from lab.ruleset.host import outputs_of
from lab.topology import Topology, load

CHAINS = "PUBLISH|POSTROUTING|FORWARD|INPUT|NODES"

# A rule is two lines: RANGE TABLE CHAIN COMMENT, then the rest of the rule. It is written once for each item of RANGE,
# for iptables, and for ip6tables where the table has IPv6 addresses. Rules of a chain stay in this order.
#
# The client limit counts half-open connections too, which nginx does not see before their header is complete.
# CNET-NODES accepts packets between nodes in each table, so that no other rule translates, marks or drops them;
# br_netfilter passes frames between two ports of a bridge here. A guard drops only new connections that enter by its
# interface. It does not drop connections to ports that others publish (DNAT), as Docker does if it starts later.
# A reply to the host's own connection to [::1] would be lost: with a policy, br_netfilter translates its destination to
# ::1 on the bridge, and the kernel drops packets to ::1 that do not come from loopback (ip6_rcv_core; RFC 4291, 2.5.3).
# With `! -d ::1` the connection is refused at once, and clients of `localhost` use 127.0.0.1.
# Docker sets FORWARD to DROP and inserts its own chains first; DOCKER-USER is its chain for rules of the user.
_RULES = """
state filter CNET-FORWARD before up: {words}

publication nat CNET-PUBLISH {node}: forward port {host_port} of the host to port {port} of the node
  -p {protocol} -m {protocol} --dport {host_port} -j DNAT --to-destination {to}
publication nat CNET-POSTROUTING {node}: hairpin: masquerade so that the reply returns through the host
  -s {network} {to_port} -m conntrack --ctstate DNAT -j MASQUERADE
ipv4-publication nat CNET-POSTROUTING {node}: localhost gets the address of the bridge: 127.0.0.1 is not routable
  -s {loopback} {to_port} -j MASQUERADE
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
tcp-publication filter CNET-FORWARD {node}: one client may hold 256 connections to port {host_port} of the host
  {to_port} -m connlimit --connlimit-above 256 --connlimit-mask {client} -j REJECT --reject-with tcp-reset
bridge filter CNET-FORWARD {bridge}: clients may connect to published ports
  -o {bridge} -m conntrack --ctstate DNAT -j ACCEPT
ipv4-bridge filter CNET-INPUT {bridge}: nodes must not reach loopback services of the host through route_localnet
  -d 127.0.0.0/8 -i {bridge} -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP
guarded-bridge filter CNET-FORWARD {interface} did not forward before up: traffic to {bridge} may pass
  -i {interface} -o {bridge} -j RETURN
guarded filter CNET-FORWARD {interface} did not forward before up: drop its new connections to other interfaces
  -i {interface} -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP

once nat PREROUTING forward published ports for clients outside and for nodes
  -m addrtype --dst-type LOCAL -j CNET-PUBLISH
ipv4-once nat OUTPUT forward published ports for the host itself
  -m addrtype --dst-type LOCAL -j CNET-PUBLISH
ipv6-once nat OUTPUT forward published ports for the host itself, not at ::1: the kernel would drop the replies
  ! -d ::1/128 -m addrtype --dst-type LOCAL -j CNET-PUBLISH
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
    topology: Topology, state: str, guarded: Mapping[int, Sequence[str]], with_docker: Collection[str]
) -> Iterator[str]:
    """Yield the rules as "TOOL TABLE -A CHAIN ...".

    `guarded` has the interfaces by IP version; `with_docker` are the tools in whose rules Docker has its chain.
    """
    for family in FAMILIES:
        ranges = _ranges(topology, family)
        ranges["state"] = [{"words": words} for words in _state_lines(state) if family == IPV4]
        ranges["docker"] = ranges["once"] if family.tool in with_docker else []
        ranges["guarded"] = [{"interface": name} for name in guarded[family.version] if ranges["once"]]
        ranges["guarded-bridge"] = [one | bridge for one in ranges["guarded"] for bridge in ranges["bridge"]]
        for name, table, chain, comment, rest in _templates():
            for values in ranges[name]:
                why, matches = comment.format(**values), rest.format(**values)
                yield f'{family.tool} {table} -A {chain} -m comment --comment "cnet: {why}" {matches}'


def _templates() -> Iterator[tuple[str, ...]]:
    """Yield RANGE, TABLE, CHAIN, COMMENT and the rest of each rule."""
    for template in _RULES.replace("\n  ", "\t").split("\n"):
        if template:
            head, _, rest = template.partition("\t")
            yield (*head.split(" ", 3), rest)


def _ranges(topology: Topology, family: Family) -> dict[str, list[Values]]:
    """Return the values of each rule's placeholders, by the name of the RANGE; all are empty without a bridge."""
    networks = {bridge.name: address.network for bridge, address in family.addresses(topology.bridges)}
    bridges: list[Values] = [{"bridge": name, "network": network} for name, network in networks.items()]
    publications = list(_publications(topology, family, networks))
    once: list[Values] = [{}] if bridges else []
    return {
        "once": once,
        "ipv4-once": once if family == IPV4 else [],
        "ipv6-once": once if family == IPV6 else [],
        "bridge": bridges,
        "ipv4-bridge": bridges if family == IPV4 else [],
        "publication": publications,
        "ipv4-publication": publications if family == IPV4 else [],
        "tcp-publication": [values for values in publications if values["protocol"] == "tcp"],
    }


def _publications(topology: Topology, family: Family, networks: Mapping[str, object]) -> Iterator[Values]:
    for node, own in family.addresses(topology.nodes):
        for publication in node.publishes:
            protocol, match = publication.protocol, f"-d {own.ip}/{family.alone} -o {node.bridge}"
            yield {
                "node": node.name,
                "network": networks[node.bridge],
                "to": family.destination.format(own.ip, publication.port),
                "to_port": f"{match} -p {protocol} -m {protocol} --dport {publication.port}",
                **publication._asdict(),
                **family._asdict(),
            }


def _state_lines(state: str) -> Iterator[str]:
    """Yield the saved words for one comment each: a comment has at most 255 characters."""
    words = state.split()
    first = [word for word in words if word.startswith(("boot=", "chains="))]
    yield " ".join(first)
    yield from (word for word in words if word not in first)


def main(arguments: Sequence[str]) -> int:
    """Print the assignments for bash."""
    state, *words = arguments
    at = words.index("--")
    tools = [family.tool for family in FAMILIES]
    saved = dict(zip(tools, outputs_of(*((f"{tool}-save",) for tool in tools)), strict=True))
    with_docker = [tool for tool, text in saved.items() if "\n:DOCKER-USER " in text]
    wanted = wanted_rules(load(), state, {4: words[:at], 6: words[at + 1 :]}, with_docker)
    return print_comparison(saved, CHAINS, wanted)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
