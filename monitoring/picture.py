"""The live lab compared with its table: a card for each node, with its differences from the table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from lab import topology
from lab.topology import Topology
from monitoring.live import Bridge, Lab, Node
from monitoring.publications import Publication

DOWN, MISSING, UNKNOWN = "down", "missing", "not in the table"
_MAX_NOT_SHOWN = 5  # maximum number of listed rules


@dataclass(frozen=True)
class Card(Node):
    """The drawing of a node; `remarks` is empty when it matches the table."""

    name: str
    remarks: tuple[str, ...]

    def programs(self) -> list[str]:
        """Return PROGRAM:PORT of each listener."""
        return [f"{listener.program}:{listener.port}" for listener in self.listeners]


@dataclass(frozen=True)
class Picture:
    """The live lab, and a card for each node: first the table's nodes in its order, then others."""

    lab: Lab
    cards: tuple[Card, ...]

    def uplinks(self) -> list[str]:
        """Return INTERFACE ADDRESS of the host's interfaces other than the lab's bridges."""
        bridges = {bridge.name for bridge in self.lab.bridges}
        return [f"{item.interface} {item.address}" for item in self.lab.host if item.interface not in bridges]

    def published(self) -> list[str]:
        """Return each published port of the host with the node and port that it leads to."""
        return [
            f"{item.host_port}/{item.protocol} \u2192 {self.name_at(item)}:{item.port}"
            + (" (IPv6)" if ":" in item.address else "")
            for item in self.lab.published
        ]

    def not_shown(self) -> list[str]:
        """Return how many rules the picture cannot show, and the first few of them as text."""
        rules = self.lab.not_shown
        if not rules:
            return []
        what = (
            f"rules that forward, or may forward, into the lab, but not one port to one port: {len(rules):,}"
        )
        more = len(rules) - _MAX_NOT_SHOWN
        return [what, *rules[:_MAX_NOT_SHOWN], *([f"and {more:,} more; --json has all"] if more > 0 else [])]

    def name_at(self, publication: Publication) -> str:
        """Return the name of the node that a published port leads to, or the address if no node has it."""
        for card in self.cards:
            if publication.address in {address.partition("/")[0] for address in card.addresses}:
                return card.name
        return publication.address


def compose(lab: Lab, table: Topology) -> Picture:
    """Compare the live nodes with the table's."""
    serves = any(node.listeners for node in lab.nodes)
    cards: list[Card] = []
    for planned in table.nodes:
        live = [_part_of(node, planned, table) for node in lab.nodes if node.namespace == planned.namespace]
        cards += [_card(planned.name, node, _drift(planned, node, serves=serves)) for node in live]
        cards += [] if live else [_missing(planned)]
    unknown = (node for node in lab.nodes if not table.node_in(node.namespace))
    cards += [_card(node.namespace, node, [UNKNOWN]) for node in unknown]
    return Picture(lab, tuple(cards))


def _card(name: str, node: Node, remarks: Iterable[str]) -> Card:
    return Card(**vars(node), name=name, remarks=(*remarks, *([] if node.up else [DOWN])))


def _drift(planned: topology.Node, node: Node, *, serves: bool) -> Iterator[str]:
    """Yield the differences from the table; `serves` is False when no service runs, so none is missing."""
    for address in planned.addresses:
        if str(address) not in node.addresses:
            yield f"{address} is missing"
    if node.bridge != planned.bridge:
        yield f"not on {planned.bridge}"
    ports = {listener.port for listener in node.listeners}
    for listener in planned.listens:
        if serves and listener.protocol == "tcp" and listener.port not in ports:
            yield f"nothing listens on {listener.port}"


def _missing(planned: topology.Node) -> Card:
    return Card(
        name=planned.name,
        namespace=planned.namespace,
        bridge=planned.bridge,
        port=planned.bridge_interface,
        interface=planned.interface,
        addresses=tuple(map(str, planned.addresses)),
        up=False,
        listeners=(),
        remarks=(MISSING,),
    )


def _part_of(node: Node, planned: topology.Node, table: Topology) -> Node:
    """Omit the addresses of other nodes of the table in the same namespace, and the listeners on them."""
    others = [
        address
        for other in table.nodes
        if other.namespace == node.namespace and other != planned
        for address in other.addresses
    ]
    networks, bare = set(map(str, others)), {str(other.ip) for other in others}
    return replace(
        node,
        addresses=tuple(address for address in node.addresses if address not in networks),
        listeners=tuple(listener for listener in node.listeners if listener.address.strip("[]") not in bare),
    )


def words_of(bridge: Bridge) -> list[str]:
    """Return a bridge's name, its addresses, and "down" if it is."""
    return [bridge.name, *bridge.addresses, *([] if bridge.up else [DOWN])]
