"""The live lab compared with its table: a card for each node, with what differs from the table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from ipaddress import ip_interface

from lab import topology
from lab.topology import Topology
from monitoring.live import Bridge, Lab, Listener, Node
from monitoring.publications import Publication

DOWN, MISSING, UNKNOWN = "down", "missing", "not in the table"
_MAX_NOT_SHOWN = 5  # rules that are listed


@dataclass(frozen=True)
class Card:
    """The drawing of a node; `remarks` is empty when it matches the table."""

    name: str
    namespace: str
    bridge: str
    port: str
    interface: str
    addresses: tuple[str, ...] = ()
    listeners: tuple[Listener, ...] = ()
    remarks: tuple[str, ...] = ()

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
        interfaces = (item for item in self.lab.host if item.interface not in bridges)
        return [f"{item.interface} {item.address}" for item in interfaces if _is_shown(item.address)]

    def published(self) -> list[str]:
        """Return each published port of the host with the node and port that it leads to."""
        return [
            f"{item.host_port}/{item.protocol} \u2192 {self.name_at(item)}:{item.port}"
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
    planned = [
        _with_drift(card, node, serves=serves)
        for node in table.nodes
        for card in _cards_of(node, table, lab.nodes)
    ]
    unknown = [
        _card(node.namespace, node, (UNKNOWN,)) for node in lab.nodes if not table.node_in(node.namespace)
    ]
    return Picture(lab, (*planned, *unknown))


def _with_drift(card: Card, planned: topology.Node, *, serves: bool) -> Card:
    """Add what differs from the table to the remarks; `serves` is False when no service runs, so none is missing."""
    if MISSING in card.remarks:
        return card
    drift = []
    if str(planned.address) not in card.addresses:
        drift.append(f"{planned.address} is missing")
    if card.bridge != planned.bridge:
        drift.append(f"not on {planned.bridge}")
    ports = {listener.port for listener in card.listeners}
    tcp = [listener.port for listener in planned.listens if listener.protocol == "tcp"]
    drift += [f"nothing listens on {port}" for port in tcp if serves and port not in ports]
    return replace(card, remarks=(*drift, *card.remarks))


def _cards_of(planned: topology.Node, table: Topology, nodes: Iterable[Node]) -> list[Card]:
    others = {
        str(other.address)
        for other in table.nodes
        if other.namespace == planned.namespace and other != planned
    }
    live = [
        _card(planned.name, _without(node, others), ())
        for node in nodes
        if node.namespace == planned.namespace
    ]
    missing = Card(
        name=planned.name,
        namespace=planned.namespace,
        bridge=planned.bridge,
        port=planned.bridge_interface,
        interface=planned.interface,
        addresses=(str(planned.address),),
        remarks=(MISSING,),
    )
    return live or [missing]


def _without(node: Node, others: set[str]) -> Node:
    """Leave out the addresses of other nodes in the same namespace, and the listeners on them."""
    bare = {address.partition("/")[0] for address in others}
    return replace(
        node,
        addresses=tuple(address for address in node.addresses if address not in others),
        listeners=tuple(listener for listener in node.listeners if listener.address not in bare),
    )


def _card(name: str, node: Node, remarks: tuple[str, ...]) -> Card:
    return Card(
        name=name,
        namespace=node.namespace,
        bridge=node.bridge or "",
        port=node.port,
        interface=node.interface,
        addresses=tuple(filter(_is_shown, node.addresses)),
        listeners=node.listeners,
        remarks=remarks if node.up else (*remarks, DOWN),
    )


def _is_shown(address: str) -> bool:
    """Return whether to show an address; link-local ones of IPv6 are not shown, because every interface has one."""
    parsed = ip_interface(address)
    return parsed.version == 4 or not parsed.is_link_local  # noqa: PLR2004 - IPv4


def words_of(bridge: Bridge) -> list[str]:
    """Return a bridge's name, its addresses, and "down" if it is."""
    return [bridge.name, *filter(_is_shown, bridge.addresses), *([] if bridge.up else [DOWN])]
