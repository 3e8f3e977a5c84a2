"""Write the names, protocols, ports and rates of a policy line as matches of iptables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set

from lab.topology import Topology
from security.policy.model import WITH_PORTS, Line, Rate

_MAX_PORTS = 15  # ports per multiport match; a range counts as two


def place_matches(flag: str, topology: Topology, wanted: Set[str], possible: Set[str]) -> list[str]:
    """Match the wanted nodes among the possible: no match if all are wanted, a network for all of a bridge."""
    if wanted >= possible:
        return [""]
    matches = []
    for bridge in topology.bridges:
        of_bridge = {node.name for node in topology.nodes if node.bridge == bridge.name} & possible
        if of_bridge and of_bridge <= wanted:
            matches.append(f"{flag} {bridge.address.network}")
            wanted = wanted - of_bridge
    return matches + [f"{flag} {node.address.ip}/32" for node in topology.nodes if node.name in wanted]


def flow_matches(line: Line) -> Iterator[str]:
    """Match protocol and port."""
    if line.any_protocol:
        yield ""
    for protocol in line.protocols:
        if protocol in WITH_PORTS:
            yield from (f"-p {protocol} {ports}".rstrip() for ports in _port_matches(protocol, line.ports))
        elif protocol == "icmp":
            yield "-p icmp -m icmp --icmp-type 8"


def _port_matches(protocol: str, ports: Sequence[tuple[int, int]]) -> Iterator[str]:
    shown = [str(first) if first == last else f"{first}:{last}" for first, last in ports]
    if len(shown) < 2:  # noqa: PLR2004 - none means any port
        yield f"-m {protocol} --dport {shown[0]}" if shown else ""
        return
    for at in range(0, len(shown), _MAX_PORTS // 2):
        yield f"-m multiport --dports {','.join(shown[at : at + _MAX_PORTS // 2])}"


def rate_match(policy_id: str, rate: Rate) -> str:
    """Match new connections of one source up to a rate."""
    limit = f"--hashlimit-upto {rate.count}/{rate.unit} --hashlimit-burst {rate.burst}"
    return f"-m hashlimit {limit} --hashlimit-mode srcip --hashlimit-name {rate_name(policy_id, rate)}"


def rate_name(policy_id: str, rate: Rate) -> str:
    """Return the name of a rate's counter table: the kernel finds an old one by name, and keeps its old rate."""
    return f"cnet-{policy_id}-{rate.count}-{rate.unit}-{rate.burst}"
