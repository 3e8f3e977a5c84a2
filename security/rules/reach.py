"""Compute the packets of the lab that pass a hook of the host, and those that match a rule. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network, summarize_address_range

from lab.ruleset.model import Condition, Field
from lab.topology import Topology
from security.policy.model import HOST, WORLD

Network = IPv4Network | IPv6Network
Way = tuple[str, str]  # source and destination of packets: the bridge of a node, HOST or WORLD
_LAB = "lab"  # placeholder for each bridge
# The lab's packets that pass each hook, with answers. A packet from the world to the host is for a published port.
_WAYS: dict[str, tuple[Way, ...]] = {
    "PREROUTING": ((_LAB, _LAB), (_LAB, HOST), (_LAB, WORLD), (WORLD, HOST)),
    "INPUT": ((_LAB, HOST),),
    "FORWARD": ((_LAB, _LAB), (_LAB, WORLD), (WORLD, _LAB)),
    "OUTPUT": ((HOST, _LAB), (HOST, HOST)),
    "POSTROUTING": ((_LAB, _LAB), (_LAB, WORLD), (WORLD, _LAB), (HOST, _LAB)),
}
_TO_PUBLISHED = ((WORLD, HOST), (HOST, HOST))
# Destinations of packets that no later rule of the table can match after a call of the lab's chain.
_DECIDED: dict[str, tuple[str, ...]] = {
    "CNET-FORWARD": (_LAB, WORLD),
    "CNET-POSTROUTING": (_LAB, WORLD),
    "CNET-PUBLISH": (HOST,),
    "CNET-NODES": (_LAB,),
    "CNET-ORIGIN-NODES": (_LAB,),
    "CNET-FROM-BRIDGES": (_LAB,),
}


@dataclass(frozen=True)
class Places:
    """Places (bridges, HOST, WORLD) with some matching packets, and places with only matching packets."""

    some: frozenset[str]
    all: frozenset[str]
    of_lab: bool = (
        False  # the condition names an address or interface of the lab; 0.0.0.0/0 and `+` name nothing
    )


class LabTraffic:
    """The ways of the lab's packets of one IP version, and the lab's addresses, interfaces and ports."""

    def __init__(self, topology: Topology, version: int = 4) -> None:
        self.family = "ip6" if version == 6 else "ip"  # noqa: PLR2004 - as nft calls it
        gateways = {
            bridge.name: address
            for bridge in topology.bridges
            for address in bridge.addresses
            if address.version == version
        }
        self._networks = {name: address.network for name, address in gateways.items()}
        self._gateways = [address.ip for address in gateways.values()]
        self._bridge_of = {
            node.bridge_interface: node.bridge for node in topology.nodes if node.bridge in gateways
        }
        self._bridge_of |= {name: name for name in self._networks}
        self._listens = {
            (node.bridge, listener.protocol, listener.port)
            for node in topology.nodes
            for listener in node.listens
        }
        self._published = {
            (published.protocol, published.host_port)
            for node in topology.nodes
            for published in node.publishes
        }
        self.bridges = frozenset(self._networks)
        self.anywhere = self.bridges | {HOST, WORLD}

    def ways_at(self, hook: str, *, is_translated: bool = False) -> set[Way]:
        """Return the ways of the lab's packets at a hook; after translation a published port is a node's."""
        ways = _WAYS.get(hook, [way for group in _WAYS.values() for way in group])
        if is_translated:
            ways = [(way[0], _LAB) if way in _TO_PUBLISHED else way for way in ways]
        ends = {_LAB: self.bridges}
        return {
            (start, end)
            for way in ways
            for start in ends.get(way[0], (way[0],))
            for end in ends.get(way[1], (way[1],))
        }

    def places_of_addresses(self, texts: Sequence[str]) -> Places:
        """Return the places of the addresses; a bridge's own address is the host's."""
        networks = [network for text in texts for network in networks_of(text)]
        if not networks or any(not network.prefixlen for network in networks):
            return Places(self.anywhere, self.anywhere if networks else frozenset())
        of_lab = self._networks.items()
        some = {name for name, ours in of_lab if any(network.overlaps(ours) for network in networks)}
        if any(gateway in network for network in networks for gateway in self._gateways):
            some.add(HOST)
        if not all(any(is_within(network, ours) for ours in self._networks.values()) for network in networks):
            some |= {HOST, WORLD}
        whole = {name for name, ours in of_lab if any(is_within(ours, network) for network in networks)}
        return Places(frozenset(some), frozenset(whole), bool(some & self.bridges))

    def places_of_interfaces(self, texts: Sequence[str]) -> Places:
        """Return the places behind the interfaces; a bridge, or all of its ports, mean all of its nodes.

        `veth+` (iptables) and `veth*` (nft) are patterns.
        """
        if "+" in texts or "*" in texts:
            return Places(self.anywhere, self.anywhere)
        found = {name for name in self._bridge_of if any(is_like(name, text) for text in texts)}
        some = {self._bridge_of[name] for name in found}
        if not found.issuperset(texts):
            some |= {HOST, WORLD}
        whole = {
            name for name in some & self.bridges if name in found or found.issuperset(self.ports_of(name))
        }
        return Places(frozenset(some), frozenset(whole), bool(found))

    def ports_of(self, bridge: str) -> list[str]:
        """Return the names of the ports of a bridge."""
        return sorted(name for name, of in self._bridge_of.items() if of == bridge != name)

    def has_port(self, way: Way, protocol: str, first: int, last: int) -> bool:
        """Decide whether a range of ports contains a port of the table that is a destination of packets on a way."""
        ports = [(name, port) for bridge, name, port in self._listens if bridge == way[1]]
        if way in _TO_PUBLISHED:
            ports += self._published
        return any(protocol in (name, "") and first <= port <= last for name, port in ports)

    def decided_by(self, chain: str, ways: Iterable[Way]) -> set[Way]:
        """Return the ways whose packets meet no later rule once they were sent to a chain of the lab."""
        ends = {
            end for place in _DECIDED.get(chain, ()) for end in (self.bridges if place == _LAB else (place,))
        }
        return {way for way in ways if way[1] in ends and (way[1] != HOST or way in _TO_PUBLISHED)}


def networks_of(text: str) -> list[Network]:
    """Read an address, a network or a range (A-B); return nothing for any other text."""
    first, _, last = text.partition("-")
    try:
        if last:
            return list(summarize_address_range(ip_address(first), ip_address(last)))
        return [ip_network(text, strict=False)]
    except (ValueError, TypeError):
        return []


def is_within(one: Network, other: Network) -> bool:
    """Decide whether a network is a part of another."""
    return one.prefixlen >= other.prefixlen and one.network_address in other


def is_like(name: str, pattern: str) -> bool:
    """Decide whether an interface has a name, or one that begins like it: eth+ (iptables), eth* (nft)."""
    start = pattern.rstrip("+*")
    return name == pattern if start == pattern else name.startswith(start)


class Matches:
    """The packets of the lab that match a rule's conditions."""

    def __init__(self, conditions: Iterable[Condition], lab: LabTraffic) -> None:
        self._lab = lab
        self._some = [set(lab.anywhere), set(lab.anywhere)]  # for the source, for the destination
        self._all = [set(lab.anywhere), set(lab.anywhere)]
        self._names_lab = False  # an address or interface of the lab
        self._names_others = False
        self._by_state = False
        self._by_more = False
        self._ports: list[tuple[str, int, int]] = []
        for condition in conditions:
            self._add(condition)

    def _add(self, condition: Condition) -> None:
        field, texts, named = condition.field, condition.values, not condition.negated
        match field:
            case Field.SOURCE | Field.DESTINATION:
                self._match(field == Field.DESTINATION, self._lab.places_of_addresses(texts), named=named)
            case Field.IN_INTERFACE | Field.OUT_INTERFACE:
                self._match(field == Field.OUT_INTERFACE, self._lab.places_of_interfaces(texts), named=named)
            case Field.SOURCE_TYPE | Field.DESTINATION_TYPE if texts == ("LOCAL",):
                places = {HOST} if named else self._lab.anywhere - {HOST}
                self._some[field == Field.DESTINATION_TYPE] &= places
                self._all[field == Field.DESTINATION_TYPE] &= places
            case Field.FAMILY:
                if (self._lab.family in texts) != named:
                    self._some[0].clear()
            case Field.STATE:
                self._by_state = True
            case _:
                self._by_more = True
        if field in (Field.PORT, Field.EITHER_PORT) and named:
            ranges = [text.partition("-") for text in texts if text[:1].isdigit()]
            self._ports += [(condition.protocol, int(first), int(last or first)) for first, _, last in ranges]

    def _match(self, end: int, places: Places, *, named: bool) -> None:
        some, whole = places.some, places.all
        self._names_lab |= named and places.of_lab
        if not named:
            some, whole = self._lab.anywhere - whole, self._lab.anywhere - some
        self._some[end] &= some
        self._all[end] &= whole
        self._names_others |= not some & self._lab.bridges

    def of(self, ways: Iterable[Way]) -> set[Way]:
        """Return the ways on which a packet may match."""
        return {way for way in ways if way[0] in self._some[0] and way[1] in self._some[1]}

    def decided(self, ways: Iterable[Way]) -> set[Way]:
        """Return the ways on which every packet matches.

        A rule that names the lab and matches some connection states counts as if it matched all of them.
        """
        if self._by_more or (self._by_state and not self._names_lab):
            return set()
        return {way for way in ways if way[0] in self._all[0] and way[1] in self._all[1]}

    def name_lab(self, ways: Iterable[Way]) -> bool:
        """Decide whether the conditions name the lab: by a port alone only if they name no address of others."""
        by_port = any(self._lab.has_port(way, *port) for way in ways for port in self._ports)
        return self._names_lab or (by_port and not self._names_others)
