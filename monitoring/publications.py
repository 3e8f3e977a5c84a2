"""Ports of the host that any rule forwards into the lab: read from iptables-save -c and nft -j list ruleset.

A rule that forwards one port to one port of one address is a publication. Any other rule that forwards, or may forward,
to an address of the lab (a range of ports or addresses, a map, a rule that cannot be read) is kept as text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network, summarize_address_range
from typing import Any

from lab.ruleset import from_iptables, from_nft
from lab.ruleset.iptables import Saved
from lab.ruleset.model import Destination, Field, Step

Network = IPv4Network | IPv6Network


@dataclass(frozen=True)
class Publication:
    """A port of the host that is forwarded to a node."""

    host_port: int
    protocol: str
    address: str
    port: int


@dataclass(frozen=True)
class Publications:
    """Publications into the lab, and the text of other rules that forward, or may forward, into it."""

    ports: tuple[Publication, ...] = ()
    others: tuple[str, ...] = ()


def publications(
    saved: Saved,
    ruleset: Iterable[Mapping[str, Any]],
    networks: Sequence[Network],
    tool: str = "iptables",
) -> Publications:
    """Return the rules that forward into `networks`.

    `saved` is what iptables-save prints, or ip6tables-save for that `tool`; `ruleset` is the list of
    `nft -j list ruleset`.
    """
    family = "ip6" if tool == "ip6tables" else "ip"
    ports: list[Publication] = []
    others = [
        f"table {table} has rules made with nft, so {tool}-save does not print it; see nft list table {family} {table}"
        for table in sorted(saved.incompatible)
    ]
    others += [f"{line.text or f'{tool}-save'} (not read: {line.reason})" for line in saved.unread]
    for chains in (from_iptables.chains_of(saved, tool), from_nft.chains_of(ruleset)):
        for step in (step for steps in chains.steps.values() for step in steps):
            if step.destination and _may_be_in(step.destination, networks):
                found = _ports_of(step, step.destination)
                ports += found
                others += [] if found else [_text_of(step)]
    return Publications(tuple(ports), tuple(others))


def _may_be_in(destination: Destination, networks: Iterable[Network]) -> bool:
    """Decide whether a destination is, or may be, in one of the networks."""
    try:
        parts = [part for text in destination.addresses for part in _networks_of(text)]
    except (ValueError, TypeError):
        return True
    return not parts or any(network.overlaps(part) for network in networks for part in parts)


def _networks_of(text: str) -> Iterable[Network]:
    """Read ADDRESS, ADDRESS-ADDRESS or ADDRESS/MASK. Raises ValueError or TypeError for anything else."""
    first, dash, last = text.partition("-")
    return (
        summarize_address_range(ip_address(first), ip_address(last))
        if dash
        else [ip_network(text, strict=False)]
    )


def _ports_of(step: Step, destination: Destination) -> list[Publication]:
    """Return the publications of a rule; none unless it forwards single ports to one port of one address."""
    try:
        (match,) = (condition for condition in step.conditions if condition.field == Field.PORT)
        (address,) = destination.addresses
        ip_address(address)
        ports = [(int(port), int(destination.port or port)) for port in match.values]
    except ValueError:  # no port, several ports, or a range
        return []
    if match.negated or not match.protocol:
        return []
    return [Publication(host_port, match.protocol, address, port) for host_port, port in ports]


def _text_of(step: Step) -> str:
    if isinstance(step.rule, from_nft.NftRule):
        place = step.rule.place
        return f"nft rule {place} handle {step.rule.handle}; see nft -a list chain {place}"
    return step.rule.text.removeprefix("nat ")
