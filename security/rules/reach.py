"""The lab's packets that pass by a hook of the host, and which of them a rule's matches leave. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, summarize_address_range

from lab.topology import Topology
from security.policy.model import HOST, WORLD

Way = tuple[str, str]  # from where a packet is, and to where: the bridge of a node, HOST or WORLD
_LAB = "lab"  # here for each bridge
# The lab's packets that pass by each hook, with answers. To the host from elsewhere is to a published port.
_WAYS: dict[str, tuple[Way, ...]] = {
    "PREROUTING": ((_LAB, _LAB), (_LAB, HOST), (_LAB, WORLD), (WORLD, HOST)),
    "INPUT": ((_LAB, HOST),),
    "FORWARD": ((_LAB, _LAB), (_LAB, WORLD), (WORLD, _LAB)),
    "OUTPUT": ((HOST, _LAB), (HOST, HOST)),
    "POSTROUTING": ((_LAB, _LAB), (_LAB, WORLD), (WORLD, _LAB), (HOST, _LAB)),
}
HOOKS = tuple(_WAYS)
_TO_PUBLISHED = ((WORLD, HOST), (HOST, HOST))
# Of what comes to the hooks of the lab's chains, where that goes which then meets no later rule of the table.
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
    """Where a packet may be from or for by one match, and where from every packet matches."""

    some: frozenset[str]
    all: frozenset[str]


class Ours:
    """What a rule may name of the lab."""

    def __init__(self, topology: Topology) -> None:
        self._networks = {bridge.name: bridge.address.network for bridge in topology.bridges}
        self._gateways = [bridge.address.ip for bridge in topology.bridges]
        self._bridge_of = {node.bridge_interface: node.bridge for node in topology.nodes}
        self._bridge_of |= {name: name for name in self._networks}
        self._listens = {
            (node.bridge, each.protocol, each.port) for node in topology.nodes for each in node.listens
        }
        self._published = {
            (each.protocol, each.host_port) for node in topology.nodes for each in node.publishes
        }
        self.bridges = frozenset(self._networks)
        self.anywhere = self.bridges | {HOST, WORLD}

    def ways_at(self, hook: str, *, translated: bool = False) -> set[Way]:
        """Give the ways of the lab's packets at a hook: once translated, a published port is a node's."""
        ways = _WAYS.get(hook, [way for each in _WAYS.values() for way in each])
        if translated:
            ways = [(way[0], _LAB) if way in _TO_PUBLISHED else way for way in ways]
        ends = {_LAB: self.bridges}
        return {
            (start, end)
            for way in ways
            for start in ends.get(way[0], (way[0],))
            for end in ends.get(way[1], (way[1],))
        }

    def has_address(self, text: str) -> bool:
        """Tell whether an address, network or range (A-B) overlaps with the lab's; 0.0.0.0/0 names nobody."""
        networks = _networks(text)
        return any(
            each.prefixlen and each.overlaps(ours) for each in networks for ours in self._networks.values()
        )

    def places_of_addresses(self, texts: Sequence[str]) -> Places:
        """Tell whose they may be; a bridge's own is the host's."""
        networks = [each for text in texts for each in _networks(text)]
        if not networks or any(not each.prefixlen for each in networks):
            return Places(self.anywhere, self.anywhere if networks else frozenset())
        of_lab = self._networks.items()
        some = {name for name, ours in of_lab if any(each.overlaps(ours) for each in networks)}
        if any(gateway in each for each in networks for gateway in self._gateways):
            some.add(HOST)
        if not all(any(each.subnet_of(ours) for ours in self._networks.values()) for each in networks):
            some |= {HOST, WORLD}
        whole = {name for name, ours in of_lab if any(ours.subnet_of(each) for each in networks)}
        return Places(frozenset(some), frozenset(whole))

    def has_interface(self, text: str) -> bool:
        """Tell whether it is a bridge or port of the lab; `veth+` (iptables) and `veth*` (nft) are patterns."""
        return text not in ("+", "*") and any(_is_like(name, text) for name in self._bridge_of)

    def places_of_interfaces(self, texts: Sequence[str]) -> Places:
        """Tell who is behind them: behind a bridge, or all of its ports, is all of it."""
        if "+" in texts or "*" in texts:
            return Places(self.anywhere, self.anywhere)
        found = {name for name in self._bridge_of if any(_is_like(name, text) for text in texts)}
        some = {self._bridge_of[name] for name in found}
        if not found.issuperset(texts):
            some |= {HOST, WORLD}
        whole = {
            name for name in some & self.bridges if name in found or found.issuperset(self.ports_of(name))
        }
        return Places(frozenset(some), frozenset(whole))

    def ports_of(self, bridge: str) -> list[str]:
        """Name the ports of a bridge."""
        return sorted(name for name, of in self._bridge_of.items() if of == bridge != name)

    def has_port(self, way: Way, protocol: str, first: int, last: int) -> bool:
        """Tell whether a range holds a port that the lab's packets on a way go to, as far as the tables know them."""
        ports = [(each, port) for bridge, each, port in self._listens if bridge == way[1]]
        if way in _TO_PUBLISHED:
            ports += self._published
        return any(protocol in (each, "") and first <= port <= last for each, port in ports)

    def decided_by(self, chain: str, ways: Iterable[Way]) -> set[Way]:
        """Give the ways whose packets meet no later rule once they were sent to a chain of the lab's."""
        ends = {
            end for each in _DECIDED.get(chain, ()) for end in (self.bridges if each == _LAB else (each,))
        }
        return {way for way in ways if way[1] in ends and (way[1] != HOST or way in _TO_PUBLISHED)}


def _networks(text: str) -> list[IPv4Network]:
    """Read an address, a network or a range (A-B); nothing where it is none of them."""
    first, _, last = text.partition("-")
    try:
        if last:
            return list(summarize_address_range(IPv4Address(first), IPv4Address(last)))
        return [IPv4Network(text, strict=False)]
    except ValueError:
        return []


def _is_like(name: str, pattern: str) -> bool:
    start = pattern.rstrip("+*")
    return name == pattern if start == pattern else name.startswith(start)


class Matches:
    """What the matches of a rule leave of the lab's packets."""

    def __init__(self, ours: Ours) -> None:
        self._ours = ours
        self._some = [set(ours.anywhere), set(ours.anywhere)]  # of the source and of the destination
        self._all = [set(ours.anywhere), set(ours.anywhere)]
        self._names = False  # an address or interface of the lab
        self._elsewhere = False  # or one of somebody else
        self.by_state = False  # of the connection
        self.by_more = False
        self.ports: list[tuple[str, int, int]] = []

    def address(self, end: int, texts: Sequence[str], *, negated: bool) -> None:
        """Match by the source (0) or destination (1)."""
        self._names |= not negated and any(map(self._ours.has_address, texts))
        self._match(end, self._ours.places_of_addresses(texts), negated=negated)

    def interface(self, end: int, texts: Sequence[str], *, negated: bool) -> None:
        """Match by where it enters (0) or leaves (1)."""
        self._names |= not negated and any(map(self._ours.has_interface, texts))
        self._match(end, self._ours.places_of_interfaces(texts), negated=negated)

    def _match(self, end: int, places: Places, *, negated: bool) -> None:
        some, whole = places.some, places.all
        if negated:
            some, whole = self._ours.anywhere - whole, self._ours.anywhere - some
        self._some[end] &= some
        self._all[end] &= whole
        self._elsewhere |= not some & self._ours.bridges

    def local(self, end: int, *, negated: bool) -> None:
        """Match what is an address of the host."""
        places = self._ours.anywhere - {HOST} if negated else {HOST}
        self._some[end] &= places
        self._all[end] &= places

    def nothing(self) -> None:
        """Match no packet of the lab."""
        self._some[0].clear()

    def of(self, ways: Iterable[Way]) -> set[Way]:
        """Give the ways on which a packet may match."""
        return {way for way in ways if way[0] in self._some[0] and way[1] in self._some[1]}

    def decided(self, ways: Iterable[Way]) -> set[Way]:
        """Give the ways on which every packet matches. Which states one lets pass for the lab, is one's own care."""
        if self.by_more or (self.by_state and not self._names):
            return set()
        return {way for way in ways if way[0] in self._all[0] and way[1] in self._all[1]}

    def name_lab(self, ways: Iterable[Way]) -> bool:
        """Tell whether they name the lab. A port alone does not, beside an address of somebody else."""
        by_port = any(self._ours.has_port(way, *port) for way in ways for port in self.ports)
        return self._names or (by_port and not self._elsewhere)
