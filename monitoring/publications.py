"""Ports of the host that any rule forwards into the lab: read from iptables-save -c and nft -j list ruleset.

A rule that forwards one port to one port of one address is a publication. Any other rule that forwards, or may forward,
to an address of the lab (a range of ports or addresses, a map, a rule that cannot be read) is kept as text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from lab.ruleset import from_iptables, from_nft
from lab.ruleset.iptables import Saved
from lab.ruleset.model import Destination, Field, Step

Network = IPv4Network | IPv6Network
Range = tuple[IPv4Address | IPv6Address, IPv4Address | IPv6Address]  # first, last


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
    saved: Saved, ruleset: Iterable[Mapping[str, Any]], networks: Sequence[Network]
) -> Publications:
    """Return the rules that forward into `networks`; `ruleset` is the list that `nft -j list ruleset` prints."""
    ports: list[Publication] = []
    others = [
        f"table {table} has rules made with nft, so iptables-save does not print it; see nft list table ip {table}"
        for table in sorted(saved.incompatible)
    ]
    others += [f"{line.text or 'iptables-save'} (not read: {line.reason})" for line in saved.unread]
    for chains in (from_iptables.chains_of(saved), from_nft.chains_of(ruleset)):
        for step in (step for steps in chains.steps.values() for step in steps):
            if step.destination and _may_be_in(step.destination, networks):
                found = list(_ports_of(step, step.destination))
                ports += found
                others += [] if found else [_text_of(step)]
    return Publications(tuple(ports), tuple(others))


def _may_be_in(destination: Destination, networks: Iterable[Network]) -> bool:
    """Decide whether a destination is, or may be, in one of the networks."""
    ranges = [_range(text) for text in destination.addresses]
    known = [pair for pair in ranges if pair]
    return (
        len(known) < len(ranges)
        or not known
        or any(_overlaps(net, pair) for net in networks for pair in known)
    )


def _overlaps(network: Network, pair: Range) -> bool:
    first, last = (int(address) for address in pair)
    return (
        pair[0].version == network.version
        and first <= int(network.broadcast_address)
        and last >= int(network.network_address)
    )


def _range(text: str) -> Range | None:
    """Read ADDRESS, ADDRESS-ADDRESS or ADDRESS/MASK; return None for anything else."""
    try:
        if "/" in text:
            network = ip_network(text, strict=False)
            return network.network_address, network.broadcast_address
        first, _, last = text.partition("-")
        return ip_address(first), ip_address(last or first)
    except ValueError:
        return None


def _ports_of(step: Step, destination: Destination) -> Iterator[Publication]:
    """Yield what a rule publishes; nothing unless it forwards single ports to one port of one address."""
    port_matches = [condition for condition in step.conditions if condition.field == Field.PORT]
    if (
        len(port_matches) != 1
        or port_matches[0].negated
        or not port_matches[0].protocol
        or len(destination.addresses) != 1
    ):
        return
    address, ports = destination.addresses[0], port_matches[0].values
    if not all(text.isdigit() for text in (*ports, destination.port or "0")) or not _is_address(address):
        return
    for port in ports:
        yield Publication(int(port), port_matches[0].protocol, address, int(destination.port or port))


def _is_address(text: str) -> bool:
    return not set(text) & set("-/") and _range(text) is not None


def _text_of(step: Step) -> str:
    if isinstance(step.rule, from_nft.NftRule):
        place = step.rule.place
        return f"nft rule {place} handle {step.rule.handle}; see nft -a list chain {place}"
    return step.rule.text.removeprefix("nat ")
