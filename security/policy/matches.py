"""Write the names, protocols, ports and rates of a policy line as matches of iptables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set

from lab.family import Family
from lab.topology import Topology
from security.policy.model import WITH_PORTS, Line, Rate

_MAX_PORTS = 15  # ports per multiport match; a range counts as two


def place_matches(
    flag: str, topology: Topology, family: Family, wanted: Set[str], possible: Set[str]
) -> list[str]:
    """Match the wanted nodes among the possible: no match if all are wanted, a network for all of a bridge."""
    if wanted >= possible:
        return [""]
    matches = []
    nodes = list(family.addresses(topology.nodes))
    for bridge, address in family.addresses(topology.bridges):
        of_bridge = {node.name for node, _ in nodes if node.bridge == bridge.name} & possible
        if of_bridge and of_bridge <= wanted:
            matches.append(f"{flag} {address.network}")
            wanted = wanted - of_bridge
    return matches + [f"{flag} {address.ip}/{family.alone}" for node, address in nodes if node.name in wanted]


def flow_matches(line: Line, family: Family) -> Iterator[str]:
    """Match protocol and port."""
    if line.any_protocol:
        yield ""
    for protocol in line.protocols:
        if protocol in WITH_PORTS:
            yield from (f"-p {protocol} {ports}".rstrip() for ports in _port_matches(protocol, line.ports))
        elif protocol == "icmp":
            yield family.icmp.format(family.echo[0])


def _port_matches(protocol: str, ports: Sequence[tuple[int, int]]) -> Iterator[str]:
    shown = [str(first) if first == last else f"{first}:{last}" for first, last in ports]
    if len(shown) < 2:  # noqa: PLR2004 - none means any port
        yield f"-m {protocol} --dport {shown[0]}" if shown else ""
        return
    for at in range(0, len(shown), _MAX_PORTS // 2):
        yield f"-m multiport --dports {','.join(shown[at : at + _MAX_PORTS // 2])}"


def rate_match(policy_id: str, rate: Rate, prefix: int = 0) -> str:
    """Match new connections of one source up to a rate; a source is an address, or all with the same prefix."""
    limit = f"--hashlimit-upto {rate.count}/{rate.unit} --hashlimit-burst {rate.burst}"
    matches = f"-m hashlimit {limit} --hashlimit-mode srcip --hashlimit-name {rate_name(policy_id, rate)}"
    return f"{matches}-{prefix} --hashlimit-srcmask {prefix}" if prefix else matches


def rate_name(policy_id: str, rate: Rate) -> str:
    """Return the name of a rate's counter table in each family.

    The kernel finds an old table by its family and name, and keeps its old rate and prefix.
    """
    return f"cnet-{policy_id}-{rate.count}-{rate.unit}-{rate.burst}"
