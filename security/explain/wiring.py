"""Everything below the rules: namespaces, veth pairs, addresses, routes and ARP, as a snapshot shows them. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lab.topology import Node, Topology
from security.explain.result import Kind, Story, Telling
from security.explain.snapshot import Place, Route, Snapshot
from security.policy.compiler import mac_of, wires

REPAIR = "sudo make up repairs it"


@dataclass(frozen=True)
class Fault:
    """Something that no packet gets past."""

    kind: Kind
    why: str
    fix: str = REPAIR

    def end(self, telling: Telling, where: str = "") -> Story:
        """End a story at it; `where` makes it a station of its own."""
        if where:
            telling.hop(where, self.why)
        return telling.end(self.kind, self.why, fix=self.fix)


class Wiring:
    """The lab's links and addresses, held against the topology table."""

    def __init__(self, snapshot: Snapshot, topology: Topology) -> None:
        self.snapshot = snapshot
        self.host = snapshot.host
        self.topology = topology

    def place(self, node: Node) -> Place:
        """Give what is known of a node's namespace."""
        return self.snapshot.namespaces.get(node.namespace, Place(exists=False))

    # --- what is broken ---

    def of_namespace(self, node: Node) -> Fault | None:
        """Look whether a namespace is there."""
        if self.place(node).exists:
            return None
        why = f"there is no namespace {node.namespace}"
        return Fault(Kind.NO_NAMESPACE, why, "sudo make up makes it and starts its program")

    def of_wire(self, node: Node) -> Fault | None:
        """Look at both ends of a veth pair and at the bridge: name the one that is not switched on."""
        place, namespace = self.place(node), node.namespace
        ends = (
            (place, node.interface, f"in namespace {namespace}", f"ip -n {namespace} link"),
            (self.host, node.bridge_interface, "on the host", "ip link"),
            (self.host, node.bridge, "on the host", "ip link"),
        )
        for end, name, where, command in ends:
            if end.link(name) is None:
                return Fault(Kind.LINK_DOWN, f"{name} {where} is missing")
            if not end.is_up(name):
                return Fault(Kind.LINK_DOWN, f"{name} {where} is down", f"sudo {command} set {name} up")
        master = (self.host.link(node.bridge_interface) or {}).get("master", "no bridge")
        if master != node.bridge:
            why = f"{node.bridge_interface} is a port of {master}, not of bridge {node.bridge}"
            fix = f"sudo ip link set {node.bridge_interface} master {node.bridge}"
            return Fault(Kind.UNPLUGGED, why.replace("a port of no bridge", "no port of any bridge"), fix)
        return None

    def of_addresses(self, node: Node) -> Fault | None:
        """Compare a node's MAC and IPv4 address with the table."""
        place, address = self.place(node), str(node.address.ip)
        where, wanted = f"namespace {node.namespace}", self.wanted_mac(node)
        mac = (place.link(node.interface) or {}).get("address")
        if mac != wanted:
            why = f"{node.interface} in {where} has MAC {mac}, the table's is {wanted}: rules and bridge know no other"
            fix = f"sudo ip -n {node.namespace} link set {node.interface} address {wanted}"
            return Fault(Kind.WRONG_ADDRESS, why, fix)
        if not place.has(address):
            fix = (
                f"sudo ip -n {node.namespace} addr add {node.address} dev {node.interface} (or sudo make up)"
            )
            return Fault(Kind.WRONG_ADDRESS, f"{address} is not an address of {where}", fix)
        return None

    def of_bridge(self, node: Node) -> Fault | None:
        """Look whether a bridge has its address: it is the gateway of its nodes."""
        bridge = self.topology.bridge_of(node)
        if not self.host.is_up(bridge.name):
            missing = self.host.link(bridge.name) is None
            fix = REPAIR if missing else f"sudo ip link set {bridge.name} up"
            return Fault(
                Kind.LINK_DOWN, f"{bridge.name} on the host is {'missing' if missing else 'down'}", fix
            )
        if self.host.has(str(bridge.address.ip)):
            return None
        why = f"bridge {bridge.name} has no address {bridge.address}: the host is no neighbour of the nodes"
        return Fault(Kind.WRONG_ADDRESS, why, f"sudo ip addr add {bridge.address} dev {bridge.name}")

    def of_node(self, node: Node) -> Fault | None:
        """Find the first thing that keeps a node from answering ARP."""
        return self.of_namespace(node) or self.of_wire(node) or self.of_addresses(node)

    def shared_with_host(self, node: Node) -> Fault | None:
        """Look whether the host has a node's address as well."""
        address = str(node.address.ip)
        interface = self.host.addresses().get(address)
        if interface is None:
            return None
        both = f"namespace {node.namespace} and of the host ({interface})"
        why = f"{address} is an address of {both}: who answers ARP first gets the packet"
        return Fault(Kind.WRONG_ADDRESS, why, f"sudo ip addr del {self.host.cidr(address)} dev {interface}")

    # --- beside the way ---

    def remarks(self, node: Node) -> Iterator[tuple[str, str]]:
        """Give what is wrong with a node, and decides nothing for a small packet to another namespace."""
        place, namespace = self.place(node), node.namespace
        if not place.exists:
            return
        if not place.is_up("lo"):
            yield (
                f"lo is down in namespace {namespace}: nothing there reaches itself",
                f"sudo ip -n {namespace} link set lo up",
            )
        shared = self.shared_with_host(node)
        if shared:
            yield shared.why, shared.fix
        address = str(node.address.ip)
        for other in self.owners(address) - {namespace}:
            fix = f"sudo ip -n {other} addr del {self.where_it_has(other, address)} (or sudo make up)"
            yield f"{address} is also an address of namespace {other}", fix
        yield from self._small_links(node)
        for pid in self.place(node).stopped:
            yield (
                f"process {pid} in namespace {namespace} is stopped (SIGSTOP): nobody reads what the kernel accepts",
                f"sudo kill -CONT {pid}",
            )

    def _small_links(self, node: Node) -> Iterator[tuple[str, str]]:
        """Compare the MTU of both ends of a wire with the largest on the bridge."""
        largest = max((int(link["mtu"]) for link in self._links_of_bridge(node)), default=0)
        for place, name, command in (
            (self.place(node), node.interface, f"ip -n {node.namespace} link"),
            (self.host, node.bridge_interface, "ip link"),
        ):
            link = place.link(name)
            if link and int(link["mtu"]) < largest:
                mtu = link["mtu"]
                what = f"packets of more than {mtu} bytes are lost at {name}: its MTU is {mtu}, the others' {largest}"
                yield what, f"sudo {command} set {name} mtu {largest}"

    def _links_of_bridge(self, node: Node) -> Iterator[dict[str, int]]:
        names = {other.bridge_interface for other in self.topology.nodes if other.bridge == node.bridge}
        yield from (link for link in self.host.links if link.get("ifname") in names)
        yield from filter(None, [self.place(node).link(node.interface)])

    # --- routes and ARP ---

    def owners(self, address: str) -> set[str]:
        """Give the namespaces that have an address."""
        found = {name for name, place in self.snapshot.namespaces.items() if address in place.addresses()}
        return found | set(self.host.owners.get(address, ()))

    def where_it_has(self, namespace: str, address: str) -> str:
        """Write where an owner has an address, as ip(8) wants it: CIDR dev INTERFACE."""
        seen = self.host.owners.get(address, {}).get(namespace)
        place = self.snapshot.namespaces.get(namespace, Place(exists=False))
        return seen or f"{place.cidr(address)} dev {place.addresses()[address]}"

    def wanted_mac(self, node: Node) -> str:
        """MAC of a node's wire, by the table."""
        return mac_of(wires(self.topology)[node.bridge_interface][0])

    def route(self, telling: Telling, node: Node, own: str, to: str) -> Route | Story:
        """Find a node's way to an address; a route that is not the table's is named."""
        place, where = self.place(node), f"namespace {node.namespace}"
        route, entry, shown = (
            place.route(to, own),
            place.route_in_table(to),
            f"ip -n {node.namespace} route get {to}",
        )
        self._doubt_rules(telling, node, live=to in place.answers or to in place.unanswered)
        if route is None:
            refused = place.unanswered.get(f"{to} from {own}") or place.unanswered.get(to)
            refused = f" (the kernel says: {refused})" if refused else ""
            fix = f"sudo ip -n {node.namespace} route add default via {self.gateway(node)} (or sudo make up)"
            telling.hop(where, f"{own} cannot send to {to}: no route{refused}", shown)
            for rule in place.policy_routing():
                why = f"{where} has no route to {to}{refused}, and a routing rule that is not in the table: {rule}"
                return telling.end(Kind.WRONG_ROUTE, why, fix=self._rule_removal(node, rule))
            return telling.end(Kind.NO_ROUTE, f"{where} has no route to {to}{refused}", fix=fix)
        removal = f"sudo ip -n {node.namespace} route del {entry if entry else route}"
        if route.type:
            telling.hop(
                where,
                f"{own} sends to {to}: a route that is not in the table discards it: {route}",
                shown,
            )
            return telling.end(
                Kind.WRONG_ROUTE,
                f"{where} has a route that is not in the table and discards it: {route}",
                fix=removal,
            )
        if not self.is_own_route(node, route, to):
            through = f"through {route.gateway}" if route.gateway else "directly, it is a neighbour"
            telling.hop(where, f"{own} sends to {to} {through}", shown)
            return route
        through = f"via {route.gateway}" if route.gateway else f"dev {route.interface}"
        telling.hop(where, f"{own} sends to {to} by a route that is not in the table: {through}", shown)
        dead_end = self._dead_end(node, route, to)
        if dead_end:
            why = f"{where} has a route to {to} that is not in the table: {through}; {dead_end}"
            return telling.end(Kind.WRONG_ROUTE, why, fix=removal)
        telling.remark(f"{where} has a route to {to} that is not in the table: {through}", removal)
        return route

    def _doubt_rules(self, telling: Telling, node: Node, *, live: bool) -> None:
        """Name each ip rule of somebody's own; only the kernel can say where it leads."""
        for rule in self.place(node).policy_routing():
            what = f"namespace {node.namespace} has a routing rule that is not in the table: {rule}"
            if live:
                telling.remark(what, self._rule_removal(node, rule))
            else:
                telling.doubt(what)

    @staticmethod
    def _rule_removal(node: Node, rule: str) -> str:
        return f"sudo ip -n {node.namespace} rule del {rule.replace('priority', 'pref', 1).split(' src')[0]}"

    def gateway(self, node: Node) -> str:
        """Address of a node's bridge."""
        return str(self.topology.bridge_of(node).address.ip)

    def is_own_route(self, node: Node, route: Route, to: str) -> bool:
        """Tell whether a route is not what the table gives a node."""
        near = any(
            to == str(other.address.ip) and other.bridge == node.bridge for other in self.topology.nodes
        )
        wanted = "" if near or to == self.gateway(node) else self.gateway(node)
        return (route.interface, route.gateway) != (node.interface, wanted) and route.interface != "lo"

    def _dead_end(self, node: Node, route: Route, to: str) -> str:
        """Say why a route of somebody's own leads nowhere; empty when it may lead on."""
        if route.interface != node.interface:
            return f"{route.interface} is not an interface of the lab"
        if route.gateway in ("", self.gateway(node)):
            return ""
        if not self.owners(route.gateway):
            return f"nobody answers ARP for {route.gateway}"
        return f"{route.gateway} is a node, and no node forwards" if route.gateway != to else ""

    def arp(self, telling: Telling, node: Node, hop: str) -> Story | None:
        """Ask a node's neighbours for the MAC of the next hop, or know it already."""
        place, where = self.place(node), f"namespace {node.namespace}"
        shown = f"ip -n {node.namespace} neigh show {hop}"
        target = self.topology.node_at(hop)
        fault = self.of_node(target) if target else self.of_bridge(node)
        bridge_mac = (self.host.link(node.bridge) or {}).get("address", "")
        real = self.wanted_mac(target) if target else bridge_mac
        entry = place.neighbour(hop)
        shared = self.shared_with_host(target) if target else None
        if entry and shared and entry["lladdr"] == bridge_mac:
            telling.hop(
                f"ARP of {where}", f"{hop} is at {bridge_mac}, the host; the node is at {real}", shown
            )
            return shared.end(telling)
        if entry:
            return self._known(telling, node, entry, real)
        if fault or not (target or self.host.has(hop)):
            telling.hop(f"ARP of {where}", f"who has {hop}? nobody answers", shown)
            return (fault or Fault(Kind.NO_NEIGHBOUR, f"nobody has {hop}")).end(telling)
        if shared:
            telling.hop(
                f"ARP of {where}", f"who has {hop}? two answer: {bridge_mac} (the host), {real}", shown
            )
            return shared.end(telling)
        telling.hop(f"ARP of {where}", f"who has {hop}? it is at {real}", shown)
        return None

    def _known(self, telling: Telling, node: Node, entry: dict[str, str], real: str) -> Story | None:
        hop, mac, where = entry["dst"], entry["lladdr"], f"namespace {node.namespace}"
        how = "permanent" if "PERMANENT" in entry.get("state", ()) else "known already"
        shown = f"ip -n {node.namespace} neigh show {hop}"
        if mac == real:
            telling.hop(f"ARP of {where}", f"{hop} is at {mac} ({how})", shown)
            return None
        telling.hop(f"ARP of {where}", f"{hop} is at {mac} ({how}; its real one is {real})", shown)
        why = f"{where} sends what is for {hop} to MAC {mac} ({how}); its real one is {real}: nobody takes the frame"
        fix = f"sudo ip -n {node.namespace} neigh del {hop} dev {node.interface}"
        return telling.end(Kind.WRONG_ADDRESS, why, fix=fix)
